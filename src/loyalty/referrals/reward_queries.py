"""The SQL of referrals that an order completes."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import fetch, fetch_rows, insert_rows
from loyalty.referrals import models
from loyalty.referrals.rules import Completed, PaidSide, State


async def lock_waiting_referrals(
    session: AsyncSession, *, program_id: UUID, referee_ids: Collection[UUID]
) -> list[tuple[UUID, UUID, UUID, datetime, UUID]]:
    """Lock the referrals of these referees that still wait for their order, in order of referee.

    Returns of each its id, referee, advocate, when it was attributed, and its campaign.
    """
    found = await fetch(
        session,
        """
        SELECT id, referee_id, advocate_id, attributed_at, campaign_id FROM referrals
        WHERE program_id = $1 AND referee_id = ANY($2::uuid[]) AND state = $3 AND ended_at IS NULL
        ORDER BY referee_id FOR NO KEY UPDATE
        """,
        program_id,
        list(referee_ids),
        str(State.SIGNED_UP),
    )
    return [tuple(row) for row in found]


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


async def list_referrals_qualified_by(
    session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]
) -> list[tuple[models.Referral, list[models.ReferralReward]]]:
    ending = "WHERE program_id = $1 AND qualifying_order_id = ANY($2::uuid[])"
    referrals = await fetch_rows(session, models.Referral, ending, program_id, list(order_ids))
    if not referrals:
        return []
    ending = "WHERE program_id = $1 AND referral_id = ANY($2::uuid[]) ORDER BY side"
    rewards = await fetch_rows(session, models.ReferralReward, ending, program_id, [row.id for row in referrals])
    return [(row, [own for own in rewards if own.referral_id == row.id]) for row in referrals]
