"""The SQL of referrals that an order completes."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import change_rows, fetch, fetch_rows, insert_rows
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
    """Complete referrals that are locked."""
    if completed:
        rewarded_at = [done.at if done.state is State.REWARDED else None for done in completed]
        await change_rows(
            session,
            models.Referral,
            """
            UPDATE referrals SET state = new.state, qualified_at = new.at, qualifying_order_id = new.order_id,
                approved_at = new.rewarded_at, rewarded_at = new.rewarded_at, ended_at = new.ended_at,
                settled_recorded_at = new.recorded_at
            FROM unnest($2::uuid[], $3::text[], $4::timestamptz[], $5::uuid[], $6::timestamptz[], $7::timestamptz[],
                $8::timestamptz[]) AS new (id, state, at, order_id, rewarded_at, ended_at, recorded_at)
            WHERE referrals.program_id = $1 AND referrals.id = new.id RETURNING 1
            """,
            program_id,
            [done.referral_id for done in completed],
            [str(done.state) for done in completed],
            [done.at for done in completed],
            [done.order_id for done in completed],
            rewarded_at,
            [done.at if at is None else None for done, at in zip(completed, rewarded_at, strict=True)],
            [done.recorded_at for done in completed],
            expected=len(completed),
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
