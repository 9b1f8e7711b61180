from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.db import insert_rows
from loyalty.referrals import models
from loyalty.referrals.codes import CodeKind
from loyalty.referrals.rules import Campaign, Claim, Completed, PaidSide, State, Touch, Waiting


async def find_active_campaign(session: AsyncSession, *, program_id: UUID) -> models.ReferralCampaign | None:
    campaign = models.ReferralCampaign
    found = await session.execute(
        select(campaign).where(campaign.program_id == program_id, campaign.retired_at.is_(None))
    )
    return found.scalar_one_or_none()


async def retire_campaigns(session: AsyncSession, *, program_id: UUID, now: datetime) -> None:
    campaign = models.ReferralCampaign
    await session.execute(
        update(campaign).where(campaign.program_id == program_id, campaign.retired_at.is_(None)).values(retired_at=now)
    )


async def insert_campaign(session: AsyncSession, campaign: models.ReferralCampaign) -> None:
    session.add(campaign)
    await session.flush()


async def insert_code(
    session: AsyncSession, *, program_id: UUID, code: str, member_id: UUID, kind: CodeKind, now: datetime
) -> bool:
    """Add a member's primary code; False if it is or ever was somebody's."""
    added = await session.execute(
        insert(models.ReferralCode)
        .values(
            program_id=program_id,
            code=code,
            member_id=member_id,
            issued_to=member_id,
            kind=str(kind),
            is_primary=True,
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=["program_id", "code"])
        .returning(models.ReferralCode.code)
    )
    return added.first() is not None


async def insert_codes(session: AsyncSession, *, program_id: UUID, codes: Sequence[tuple[str, UUID, datetime]]) -> None:
    """Add generated primary codes of new members; a code that is taken makes this raise."""
    await insert_rows(
        session,
        models.ReferralCode,
        [
            {
                "program_id": program_id,
                "code": code,
                "member_id": member_id,
                "issued_to": member_id,
                "kind": str(CodeKind.GENERATED),
                "is_primary": True,
                "created_at": at,
                "retired_at": None,
            }
            for code, member_id, at in codes
        ],
    )


async def demote_codes(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> None:
    code = models.ReferralCode
    await session.execute(
        update(code).where(code.program_id == program_id, code.member_id == member_id).values(is_primary=False)
    )


async def find_code_owners(session: AsyncSession, *, program_id: UUID, codes: Collection[str]) -> dict[str, UUID]:
    """Return whose live codes these are."""
    code = models.ReferralCode
    found = await session.execute(
        select(code.code, code.member_id).where(
            code.program_id == program_id, code.code.in_(list(codes)), code.retired_at.is_(None)
        )
    )
    return {row.code: row.member_id for row in found}


async def list_codes(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> list[models.ReferralCode]:
    """Return a member's live codes, the primary one first."""
    code = models.ReferralCode
    found = await session.execute(
        select(code)
        .where(code.program_id == program_id, code.member_id == member_id, code.retired_at.is_(None))
        .order_by(code.is_primary.desc(), code.created_at, code.code)
    )
    return list(found.scalars())


async def get_first_code(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> str:
    """Return the code that a member got on joining, whosever it has become by a merge."""
    code = models.ReferralCode
    found = await session.execute(
        select(code.code)
        .where(code.program_id == program_id, code.issued_to == member_id, code.kind == str(CodeKind.GENERATED))
        .order_by(code.created_at, code.code)
        .limit(1)
    )
    return found.scalar_one()


async def primary_codes(session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]) -> dict[UUID, str]:
    code = models.ReferralCode
    found = await session.execute(
        select(code.member_id, code.code).where(
            code.program_id == program_id,
            code.member_id.in_(list(member_ids)),
            code.is_primary,
            code.retired_at.is_(None),
        )
    )
    return {row.member_id: row.code for row in found}


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


async def list_touches(session: AsyncSession, *, program_id: UUID, referee_id: UUID) -> list[models.ReferralTouch]:
    touch = models.ReferralTouch
    found = await session.execute(
        select(touch).where(touch.program_id == program_id, touch.referee_id == referee_id).order_by(touch.position)
    )
    return list(found.scalars())


async def find_live_referral(session: AsyncSession, *, program_id: UUID, referee_id: UUID) -> models.Referral | None:
    referral = models.Referral
    found = await session.execute(
        select(referral).where(
            referral.program_id == program_id, referral.referee_id == referee_id, referral.ended_at.is_(None)
        )
    )
    return found.scalar_one_or_none()


async def lock_waiting_referrals(
    session: AsyncSession, *, program_id: UUID, referee_ids: Collection[UUID]
) -> list[models.Referral]:
    """Lock the referrals of these referees that still wait for their order, in order of referee."""
    referral = models.Referral
    found = await session.execute(
        select(referral)
        .where(
            referral.program_id == program_id,
            referral.referee_id.in_(list(referee_ids)),
            referral.state == str(State.SIGNED_UP),
            referral.ended_at.is_(None),
        )
        .order_by(referral.referee_id)
        .with_for_update(key_share=True)
    )
    return list(found.scalars())


async def get_campaigns(
    session: AsyncSession, *, program_id: UUID, campaign_ids: Collection[UUID]
) -> dict[UUID, Campaign]:
    campaign = models.ReferralCampaign
    found = await session.execute(
        select(campaign).where(campaign.program_id == program_id, campaign.id.in_(list(campaign_ids)))
    )
    return {row.id: as_campaign(row) for row in found.scalars()}


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


async def set_completed(session: AsyncSession, *, program_id: UUID, completed: Sequence[Completed]) -> None:
    referral = models.Referral
    for done in completed:
        rewarded = done.state is State.REWARDED
        await session.execute(
            update(referral)
            .where(referral.program_id == program_id, referral.id == done.referral_id)
            .values(
                state=str(done.state),
                qualified_at=done.at,
                qualifying_order_id=done.order_id,
                approved_at=done.at if rewarded else None,
                rewarded_at=done.at if rewarded else None,
                ended_at=None if rewarded else done.at,
                settled_recorded_at=done.recorded_at,
            )
        )


async def insert_rewards(session: AsyncSession, *, program_id: UUID, sides: Sequence[PaidSide]) -> None:
    """Record what each side got. A second payment of a side raises."""
    await insert_rows(
        session,
        models.ReferralReward,
        [
            {
                "program_id": program_id,
                "referral_id": paid.referral_id,
                "side": str(paid.side),
                "member_id": paid.member_id,
                "entry_id": paid.entry_id,
                "points": paid.points,
                "refused": paid.refused,
            }
            for paid in sides
        ],
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


async def list_referrals_qualified_by(
    session: AsyncSession, *, program_id: UUID, order_id: UUID
) -> list[tuple[models.Referral, list[models.ReferralReward]]]:
    referral, reward = models.Referral, models.ReferralReward
    found = await session.execute(
        select(referral).where(referral.program_id == program_id, referral.qualifying_order_id == order_id)
    )
    referrals = list(found.scalars())
    if not referrals:
        return []
    paid: Any = await session.execute(
        select(reward)
        .where(reward.program_id == program_id, reward.referral_id.in_([row.id for row in referrals]))
        .order_by(reward.side)
    )
    rewards = list(paid.scalars())
    return [(row, [own for own in rewards if own.referral_id == row.id]) for row in referrals]


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


async def hand_over_codes(session: AsyncSession, *, program_id: UUID, giver: UUID, receiver: UUID) -> None:
    """Let one member's codes lead to another, whose own primary one stays primary."""
    code = models.ReferralCode
    await session.execute(
        update(code)
        .where(code.program_id == program_id, code.member_id == giver)
        .values(member_id=receiver, is_primary=False)
    )
