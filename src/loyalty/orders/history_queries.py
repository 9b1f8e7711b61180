"""The SQL of what was bought over time."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.orders import models
from loyalty.orders.rules import Stretch


async def count_placed(session: AsyncSession, stretch: Stretch, *, program_id: UUID) -> int:
    found = await session.execute(
        select(func.count()).select_from(models.Order).where(*_within(stretch, program_id=program_id))
    )
    return int(found.scalar_one())


async def list_placed(
    session: AsyncSession, stretch: Stretch, *, program_id: UUID, after: tuple[datetime, UUID], limit: int
) -> list[models.Order]:
    order = models.Order
    found = await session.execute(
        select(order)
        .where(*_within(stretch, program_id=program_id), tuple_(order.placed_at, order.id) > tuple_(*after))
        .order_by(order.placed_at, order.id)
        .limit(limit)
    )
    return list(found.scalars())


async def list_lines(session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]) -> list[models.OrderLine]:
    """Return the lines that orders were placed with, without what amendments have added."""
    line = models.OrderLine
    found = await session.execute(
        select(line)
        .where(line.program_id == program_id, line.order_id.in_(list(order_ids)), line.amendment_id.is_(None))
        .order_by(line.order_id, line.line)
    )
    return list(found.scalars())


async def rank_orders(
    session: AsyncSession, *, program_id: UUID, customer_ids: Collection[UUID], order_ids: Collection[UUID]
) -> dict[UUID, int]:
    """Number the orders of customers from 1, and return the numbers of those asked for."""
    order = models.Order
    number = func.row_number().over(partition_by=order.customer_id, order_by=(order.placed_at, order.id))
    ranked = (
        select(order.id, number.label("number"))
        .where(
            order.program_id == program_id,
            order.customer_id.in_(list(customer_ids)),
            order.cancelled_at.is_(None),
        )
        .subquery()
    )
    found = await session.execute(select(ranked.c.id, ranked.c.number).where(ranked.c.id.in_(list(order_ids))))
    return {row[0]: row[1] for row in found}


def _within(stretch: Stretch, *, program_id: UUID) -> list[ColumnElement[Any]]:
    order = models.Order
    return [
        order.program_id == program_id,
        order.placed_at >= stretch.since,
        order.placed_at < stretch.until,
        order.id < stretch.before,
        order.customer_id.is_not(None),
        order.cancelled_at.is_(None),
    ]
