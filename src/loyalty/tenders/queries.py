from collections.abc import Collection
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import fetch_rows
from loyalty.tenders import models


async def insert_tender(session: AsyncSession, row: models.OrderTender) -> None:
    session.add(row)
    await session.flush()


async def insert_refund(session: AsyncSession, row: models.TenderRefund) -> None:
    session.add(row)
    await session.flush()


async def list_tenders(
    session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]
) -> dict[UUID, models.OrderTender]:
    ending = "WHERE program_id = $1 AND order_id = ANY($2::uuid[])"
    rows = await fetch_rows(session, models.OrderTender, ending, program_id, list(order_ids))
    return {row.order_id: row for row in rows}


async def list_refunds(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> list[models.TenderRefund]:
    ending = "WHERE program_id = $1 AND order_id = $2 ORDER BY return_id"
    return await fetch_rows(session, models.TenderRefund, ending, program_id, order_id)
