from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.transfers import models
from loyalty.transfers.errors import TransferNotFound


async def insert_transfer(session: AsyncSession, transfer: models.Transfer) -> None:
    session.add(transfer)
    await session.flush()


async def get_transfer(session: AsyncSession, *, program_id: UUID, transfer_id: UUID) -> models.Transfer:
    own = models.Transfer
    found = await session.execute(select(own).where(own.program_id == program_id, own.id == transfer_id))
    row = found.scalar_one_or_none()
    if row is None:
        raise TransferNotFound
    return row
