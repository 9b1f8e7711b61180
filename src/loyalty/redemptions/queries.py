from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import as_stored, fetch_rows, insert_rows
from loyalty.redemptions import models


async def insert_redemptions(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> list[models.Redemption]:
    await insert_rows(session, models.Redemption, rows)
    return [as_stored(models.Redemption, row) for row in rows]


async def list_redemptions_by_id(
    session: AsyncSession, *, program_id: UUID, redemption_ids: Collection[UUID]
) -> list[models.Redemption]:
    ending = "WHERE program_id = $1 AND id = ANY($2::uuid[])"
    return await fetch_rows(session, models.Redemption, ending, program_id, list(redemption_ids))


async def list_redemptions(
    session: AsyncSession, *, program_id: UUID, member_id: UUID, before: UUID | None, limit: int
) -> list[models.Redemption]:
    """Return a member's redemptions, the newest first."""
    redemption = models.Redemption
    query = select(redemption).where(redemption.program_id == program_id, redemption.member_id == member_id)
    if before is not None:
        query = query.where(redemption.id < before)
    return list((await session.execute(query.order_by(redemption.id.desc()).limit(limit))).scalars())


async def insert_grant(
    session: AsyncSession, *, program_id: UUID, redemption_id: UUID, actor: str, reason: str
) -> None:
    await session.execute(
        insert(models.RewardGrant).values(
            program_id=program_id, redemption_id=redemption_id, actor=actor, reason=reason
        )
    )


async def list_grants(
    session: AsyncSession, *, program_id: UUID, redemption_ids: Collection[UUID]
) -> dict[UUID, models.RewardGrant]:
    if not redemption_ids:
        return {}
    rows = await fetch_rows(session, models.RewardGrant, _OF, program_id, list(redemption_ids))
    return {row.redemption_id: row for row in rows}


async def insert_cancellation(
    session: AsyncSession,
    *,
    program_id: UUID,
    redemption_id: UUID,
    entry_id: UUID | None,
    actor: str,
    reason: str | None,
    now: datetime,
) -> None:
    await session.execute(
        insert(models.RedemptionCancellation).values(
            program_id=program_id,
            redemption_id=redemption_id,
            entry_id=entry_id,
            actor=actor,
            reason=reason,
            cancelled_at=now,
            recorded_at=now,
        )
    )


async def list_cancellations(
    session: AsyncSession, *, program_id: UUID, redemption_ids: Collection[UUID]
) -> dict[UUID, models.RedemptionCancellation]:
    rows = await fetch_rows(session, models.RedemptionCancellation, _OF, program_id, list(redemption_ids))
    return {row.redemption_id: row for row in rows}


async def set_owner(session: AsyncSession, *, program_id: UUID, giver: UUID, receiver: UUID) -> None:
    redemption = models.Redemption
    await session.execute(
        update(redemption)
        .where(redemption.program_id == program_id, redemption.member_id == giver)
        .values(member_id=receiver)
    )


async def clear_notes(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> None:
    redemption = models.Redemption
    own = select(redemption.id).where(redemption.program_id == program_id, redemption.member_id == member_id)
    await session.execute(
        update(redemption)
        .where(redemption.program_id == program_id, redemption.member_id == member_id)
        .values(notes={})
    )
    for said in (models.RewardGrant, models.RedemptionCancellation):
        await session.execute(
            update(said).where(said.program_id == program_id, said.redemption_id.in_(own)).values(reason=None)
        )


_OF: Final = "WHERE program_id = $1 AND redemption_id = ANY($2::uuid[])"
