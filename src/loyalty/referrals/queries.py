from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import fetch_rows, insert_rows
from loyalty.referrals import models
from loyalty.referrals.rules import Campaign, Claim, State, Touch, Waiting


async def find_active_campaign(session: AsyncSession, *, program_id: UUID) -> models.ReferralCampaign | None:
    found = await fetch_rows(
        session, models.ReferralCampaign, "WHERE program_id = $1 AND retired_at IS NULL", program_id
    )
    return found[0] if found else None


async def retire_campaigns(session: AsyncSession, *, program_id: UUID, now: datetime) -> None:
    campaign = models.ReferralCampaign
    await session.execute(
        update(campaign).where(campaign.program_id == program_id, campaign.retired_at.is_(None)).values(retired_at=now)
    )


async def insert_campaign(session: AsyncSession, campaign: models.ReferralCampaign) -> None:
    session.add(campaign)
    await session.flush()


async def insert_click(
    session: AsyncSession,
    *,
    program_id: UUID,
    click_id: UUID,
    code: str,
    channel: str | None,
    kind: str,
    clicked_at: datetime,
) -> None:
    await session.execute(
        insert(models.ReferralClick).values(
            program_id=program_id, id=click_id, code=code, channel=channel, kind=kind, clicked_at=clicked_at
        )
    )


async def insert_referrals(
    session: AsyncSession,
    *,
    program_id: UUID,
    bindings: Sequence[tuple[Waiting, Claim, datetime]],
) -> None:
    """Bind referees to advocates: (referral, winning claim, when)."""
    await insert_rows(
        session,
        models.Referral,
        [
            {
                "program_id": program_id,
                "id": waiting.id,
                "referee_id": waiting.referee_id,
                "advocate_id": waiting.advocate_id,
                "campaign_id": waiting.campaign.id,
                "code": claim.code,
                "method": str(claim.method),
                "channel": claim.channel,
                "click_id": claim.click_id,
                "state": str(State.SIGNED_UP),
                "attributed_at": at,
                "recorded_at": at,
                "qualified_at": None,
                "qualifying_order_id": None,
                "approved_at": None,
                "rewarded_at": None,
                "settled_recorded_at": None,
                "ended_at": None,
            }
            for waiting, claim, at in bindings
        ],
    )


async def insert_touches(session: AsyncSession, *, program_id: UUID, touches: Mapping[UUID, Sequence[Touch]]) -> None:
    await insert_rows(
        session,
        models.ReferralTouch,
        [
            {
                "program_id": program_id,
                "referee_id": referee_id,
                "position": position,
                "method": str(touch.claim.method),
                "code": touch.claim.code,
                "outcome": touch.outcome,
                "reason": touch.reason,
            }
            for referee_id, own in touches.items()
            for position, touch in enumerate(own, start=1)
        ],
    )


async def list_touches(
    session: AsyncSession, *, program_id: UUID, referee_ids: Collection[UUID]
) -> list[models.ReferralTouch]:
    ending = "WHERE program_id = $1 AND referee_id = ANY($2::uuid[]) ORDER BY referee_id, position"
    return await fetch_rows(session, models.ReferralTouch, ending, program_id, list(referee_ids))


async def list_live_referrals(
    session: AsyncSession, *, program_id: UUID, referee_ids: Collection[UUID]
) -> list[models.Referral]:
    ending = "WHERE program_id = $1 AND referee_id = ANY($2::uuid[]) AND ended_at IS NULL"
    return await fetch_rows(session, models.Referral, ending, program_id, list(referee_ids))


async def get_campaigns(
    session: AsyncSession, *, program_id: UUID, campaign_ids: Collection[UUID]
) -> dict[UUID, Campaign]:
    ending = "WHERE program_id = $1 AND id = ANY($2::uuid[])"
    rows = await fetch_rows(session, models.ReferralCampaign, ending, program_id, list(campaign_ids))
    return {row.id: as_campaign(row) for row in rows}


def as_campaign(row: models.ReferralCampaign) -> Campaign:
    return Campaign(
        row.id,
        row.window_days,
        row.unit,
        row.advocate_points,
        row.referee_points,
        row.minimum_minor,
        row.minimum_currency,
    )


async def list_referrals(
    session: AsyncSession, *, program_id: UUID, advocate_id: UUID | None, before: UUID | None, limit: int
) -> list[models.Referral]:
    """Return referrals, the last recorded first."""
    referral = models.Referral
    query = select(referral).where(referral.program_id == program_id)
    if advocate_id is not None:
        query = query.where(referral.advocate_id == advocate_id)
    if before is not None:
        query = query.where(referral.id < before)
    return list((await session.execute(query.order_by(referral.id.desc()).limit(limit))).scalars())


async def lock_referrals_of(
    session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]
) -> list[models.Referral]:
    """Lock every referral in which one of these members is referee or advocate, in order of id."""
    referral, named = models.Referral, list(member_ids)
    found = await session.execute(
        select(referral)
        .where(referral.program_id == program_id)
        .where(referral.referee_id.in_(named) | referral.advocate_id.in_(named))
        .order_by(referral.id)
        .with_for_update(key_share=True)
    )
    return list(found.scalars())


async def void_referral(
    session: AsyncSession, *, program_id: UUID, referral_id: UUID, reason: str, now: datetime
) -> None:
    referral = models.Referral
    await session.execute(
        update(referral)
        .where(referral.program_id == program_id, referral.id == referral_id)
        .values(state="voided", ended_at=now, ended_reason=reason)
    )


async def set_referee(session: AsyncSession, *, program_id: UUID, referral_id: UUID, referee_id: UUID) -> None:
    referral = models.Referral
    await session.execute(
        update(referral)
        .where(referral.program_id == program_id, referral.id == referral_id)
        .values(referee_id=referee_id)
    )


async def hand_over_advocacy(session: AsyncSession, *, program_id: UUID, giver: UUID, receiver: UUID) -> None:
    """Make one member's live referrals of others another's."""
    referral = models.Referral
    await session.execute(
        update(referral)
        .where(referral.program_id == program_id, referral.advocate_id == giver, referral.ended_at.is_(None))
        .values(advocate_id=receiver)
    )
