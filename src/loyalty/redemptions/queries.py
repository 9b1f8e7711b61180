from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.redemptions import models
from loyalty.redemptions.errors import RedemptionNotFound


async def insert_redemption(
    session: AsyncSession,
    *,
    program_id: UUID,
    redemption_id: UUID,
    member_id: UUID,
    reward_id: UUID,
    unit: str,
    points: int,
    entry_id: UUID | None,
    metadata: dict[str, str],
    now: datetime,
) -> None:
    await session.execute(
        insert(models.Redemption).values(
            program_id=program_id,
            id=redemption_id,
            member_id=member_id,
            reward_id=reward_id,
            unit=unit,
            points=points,
            entry_id=entry_id,
            redeemed_at=now,
            recorded_at=now,
            notes=metadata,
        )
    )


async def get_redemption(
    session: AsyncSession, *, program_id: UUID, redemption_id: UUID, member_id: UUID | None
) -> models.Redemption:
    """Return a redemption; with a member named, only that member's own."""
    redemption = models.Redemption
    query = select(redemption).where(redemption.program_id == program_id, redemption.id == redemption_id)
    if member_id is not None:
        query = query.where(redemption.member_id == member_id)
    row = (await session.execute(query, execution_options={"populate_existing": True})).scalar_one_or_none()
    if row is None:
        raise RedemptionNotFound
    return row


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
    grant = models.RewardGrant
    found = await session.execute(
        select(grant).where(grant.program_id == program_id, grant.redemption_id.in_(list(redemption_ids)))
    )
    return {row.redemption_id: row for row in found.scalars()}


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
    cancellation = models.RedemptionCancellation
    found = await session.execute(
        select(cancellation).where(
            cancellation.program_id == program_id, cancellation.redemption_id.in_(list(redemption_ids))
        )
    )
    return {row.redemption_id: row for row in found.scalars()}


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
