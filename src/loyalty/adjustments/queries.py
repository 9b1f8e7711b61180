from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.adjustments import models
from loyalty.adjustments.errors import AdjustmentNotFound
from loyalty.adjustments.rules import Asked


async def insert_adjustment(session: AsyncSession, asked: Asked, *, adjustment_id: UUID, now: datetime) -> bool:
    """Record an adjustment; False if its external id is there already (a parallel one is waited for)."""
    added = await session.execute(
        insert(models.Adjustment)
        .values(
            program_id=asked.wallet.program_id,
            id=adjustment_id,
            external_id=asked.external_id,
            content_digest=asked.content_digest,
            member_id=asked.wallet.member_id,
            unit=asked.wallet.unit,
            kind=str(asked.kind),
            points=asked.points,
            lot_id=asked.lot_id,
            reason=asked.reason,
            actor=asked.actor,
            adjusted_at=now,
            notes=asked.metadata,
        )
        .on_conflict_do_nothing(index_elements=["program_id", "external_id"])
        .returning(models.Adjustment.id)
    )
    return added.first() is not None


async def find_by_external_id(session: AsyncSession, *, program_id: UUID, external_id: str) -> models.Adjustment | None:
    own = models.Adjustment
    found = await session.execute(select(own).where(own.program_id == program_id, own.external_id == external_id))
    return found.scalar_one_or_none()


async def get_adjustment(session: AsyncSession, *, program_id: UUID, adjustment_id: UUID) -> models.Adjustment:
    own = models.Adjustment
    found = await session.execute(select(own).where(own.program_id == program_id, own.id == adjustment_id))
    row = found.scalar_one_or_none()
    if row is None:
        raise AdjustmentNotFound
    return row


async def list_adjustments(
    session: AsyncSession, *, program_id: UUID, member_id: UUID, before: UUID | None, limit: int
) -> list[models.Adjustment]:
    """Return a member's adjustments, the newest first."""
    own = models.Adjustment
    query = select(own).where(own.program_id == program_id, own.member_id == member_id)
    if before is not None:
        query = query.where(own.id < before)
    return list((await session.execute(query.order_by(own.id.desc()).limit(limit))).scalars())
