from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.tenders import models


async def insert_tender(session: AsyncSession, row: models.OrderTender) -> None:
    session.add(row)
    await session.flush()


async def insert_refund(session: AsyncSession, row: models.TenderRefund) -> None:
    session.add(row)
    await session.flush()


async def find_tender(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> models.OrderTender | None:
    own = models.OrderTender
    found = await session.execute(select(own).where(own.program_id == program_id, own.order_id == order_id))
    return found.scalar_one_or_none()


async def list_refunds(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> list[models.TenderRefund]:
    own = models.TenderRefund
    found = await session.execute(
        select(own).where(own.program_id == program_id, own.order_id == order_id).order_by(own.return_id)
    )
    return list(found.scalars())
