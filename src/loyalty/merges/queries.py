from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.merges import models
from loyalty.merges.errors import MergeNotFound


async def insert_merge(session: AsyncSession, merge: models.MemberMerge) -> None:
    session.add(merge)
    await session.flush()


async def get_merge(session: AsyncSession, *, program_id: UUID, merge_id: UUID) -> models.MemberMerge:
    own = models.MemberMerge
    found = await session.execute(select(own).where(own.program_id == program_id, own.id == merge_id))
    row = found.scalar_one_or_none()
    if row is None:
        raise MergeNotFound
    return row
