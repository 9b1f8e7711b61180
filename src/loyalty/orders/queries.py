from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import fetch, fetch_rows, insert_new_rows, insert_rows
from loyalty.orders import models
from loyalty.orders.errors import OrderNotFound
from loyalty.orders.rules import NewOrder, Recorded


async def insert_order(session: AsyncSession, order: NewOrder, *, program_id: UUID) -> bool:
    """Record an order; False if its external id is there already (a parallel one is waited for)."""
    new = await insert_new_rows(session, models.Order, [_row(order, program_id)], returning="id")
    if new:
        await insert_rows(session, models.OrderLine, _lines(order, program_id))
    return bool(new)


async def insert_orders(session: AsyncSession, orders: Sequence[NewOrder], *, program_id: UUID) -> None:
    """Record many orders known to be new, in order of external id, so that two batches never wait for each other."""
    rows = sorted((_row(order, program_id) for order in orders), key=lambda row: str(row["external_id"]))
    await insert_rows(session, models.Order, rows)
    await insert_rows(session, models.OrderLine, [line for order in orders for line in _lines(order, program_id)])


async def list_orders_by_id(
    session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]
) -> list[models.Order]:
    ending = "WHERE program_id = $1 AND id = ANY($2::uuid[])"
    return await fetch_rows(session, models.Order, ending, program_id, list(order_ids))


async def lock_order(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> models.Order:
    ending = "WHERE program_id = $1 AND id = $2 FOR NO KEY UPDATE"
    found = await fetch_rows(session, models.Order, ending, program_id, order_id)
    if not found:
        raise OrderNotFound
    return found[0]


async def list_recorded(
    session: AsyncSession, *, program_id: UUID, external_ids: Collection[str]
) -> dict[str, Recorded]:
    """Return those of these orders that are there, by external id."""
    found = await fetch(
        session,
        """
        SELECT external_id, id, customer_id, email_digest, content_digest, placed_at FROM orders
        WHERE program_id = $1 AND external_id = ANY($2::text[])
        """,
        program_id,
        list(external_ids),
    )
    return {row[0]: Recorded(*row[1:]) for row in found}


async def list_lines(session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]) -> list[models.OrderLine]:
    ending = "WHERE program_id = $1 AND order_id = ANY($2::uuid[]) ORDER BY order_id, line"
    return await fetch_rows(session, models.OrderLine, ending, program_id, list(order_ids))


async def count_orders(session: AsyncSession, *, program_id: UUID, customer_ids: Collection[UUID]) -> dict[UUID, int]:
    """Count the orders of customers that were not cancelled; who has none is left out."""
    found = await fetch(
        session,
        """
        SELECT customer_id, count(*) FROM orders
        WHERE program_id = $1 AND customer_id = ANY($2::uuid[]) AND cancelled_at IS NULL GROUP BY customer_id
        """,
        program_id,
        list(customer_ids),
    )
    return dict(found)


async def list_orders(
    session: AsyncSession, *, program_id: UUID, customer_id: UUID | None, before: UUID | None, limit: int
) -> list[models.Order]:
    """Return orders, the last recorded first."""
    order = models.Order
    query = select(order).where(order.program_id == program_id)
    if customer_id is not None:
        query = query.where(order.customer_id == customer_id)
    if before is not None:
        query = query.where(order.id < before)
    return list((await session.execute(query.order_by(order.id.desc()).limit(limit))).scalars())


async def customers_with_paid_orders(
    session: AsyncSession, *, program_id: UUID, customer_ids: Collection[UUID], other_than: Collection[UUID] = ()
) -> set[UUID]:
    """Return which of these customers have a paid order, not counting the ones named."""
    found = await fetch(
        session,
        """
        SELECT id FROM unnest($2::uuid[]) AS customer (id) WHERE EXISTS (
            SELECT 1 FROM orders WHERE program_id = $1 AND customer_id = customer.id
                AND paid_at IS NOT NULL AND cancelled_at IS NULL AND orders.id <> ALL ($3::uuid[])
        )
        """,
        program_id,
        list(customer_ids),
        list(other_than),
    )
    return {row[0] for row in found}


async def set_paid(
    session: AsyncSession, *, program_id: UUID, order_id: UUID, paid_at: datetime, now: datetime
) -> None:
    await session.execute(
        update(models.Order)
        .where(models.Order.program_id == program_id, models.Order.id == order_id)
        .values(paid_at=paid_at, payment_recorded_at=now)
    )


def _row(order: NewOrder, program_id: UUID) -> dict[str, Any]:
    return {
        "program_id": program_id,
        "id": order.id,
        "external_id": order.external_id,
        "customer_id": order.customer_id,
        "email_digest": order.email_digest,
        "content_digest": order.content_digest,
        "currency": order.currency,
        "total_minor": order.total_minor,
        "channel": order.channel,
        "placed_at": order.placed_at,
        "recorded_at": order.recorded_at,
        "paid_at": order.placed_at if order.paid else None,
        "payment_recorded_at": order.recorded_at if order.paid else None,
        "paid_when_placed": order.paid,
        "imported": order.imported,
        "store": order.store,
        "payment_method": order.payment_method,
        "metadata": order.metadata,
    }


def _lines(order: NewOrder, program_id: UUID) -> list[dict[str, Any]]:
    return [
        {"program_id": program_id, "order_id": order.id, "line": number, **vars(line)}
        for number, line in enumerate(order.lines, start=1)
    ]


async def set_cancelled(session: AsyncSession, *, program_id: UUID, order_id: UUID, at: datetime) -> None:
    await session.execute(
        update(models.Order)
        .where(models.Order.program_id == program_id, models.Order.id == order_id)
        .values(cancelled_at=at)
    )


async def set_delivered(
    session: AsyncSession, *, program_id: UUID, order_id: UUID, delivered_at: datetime, now: datetime
) -> None:
    await session.execute(
        update(models.Order)
        .where(models.Order.program_id == program_id, models.Order.id == order_id)
        .values(
            delivered_at=delivered_at,
            delivery_recorded_at=now,
            paid_when_delivered=models.Order.paid_at.is_not(None),
        )
    )


async def set_buyer(session: AsyncSession, *, program_id: UUID, buyer: UUID, becomes: UUID) -> None:
    order = models.Order
    await session.execute(
        update(order).where(order.program_id == program_id, order.customer_id == buyer).values(customer_id=becomes)
    )


async def set_customer(session: AsyncSession, *, program_id: UUID, order_id: UUID, customer_id: UUID) -> None:
    order = models.Order
    await session.execute(
        update(order).where(order.program_id == program_id, order.id == order_id).values(customer_id=customer_id)
    )


async def clear_personal(session: AsyncSession, *, program_id: UUID, customer_id: UUID) -> None:
    order = models.Order
    await session.execute(
        update(order)
        .where(order.program_id == program_id, order.customer_id == customer_id)
        .values(email_digest=None, notes={})
    )
    made = models.OrderReturn
    own = select(order.id).where(order.program_id == program_id, order.customer_id == customer_id)
    await session.execute(
        update(made).where(made.program_id == program_id, made.order_id.in_(own)).values(reason=None, notes={})
    )


async def list_external_ids(session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]) -> dict[UUID, str]:
    order = models.Order
    found = await session.execute(
        select(order.id, order.external_id).where(order.program_id == program_id, order.id.in_(list(order_ids)))
    )
    return {row[0]: row[1] for row in found}


async def set_lines(session: AsyncSession, order: NewOrder, *, program_id: UUID) -> None:
    """Write the amounts of an order's lines, and its total."""
    own = models.OrderLine
    for number, line in enumerate(order.lines, start=1):
        await session.execute(
            update(own)
            .where(own.program_id == program_id, own.order_id == order.id, own.line == number)
            .values(
                total_minor=line.total_minor,
                discount_minor=line.discount_minor,
                tax_minor=line.tax_minor,
                points_minor=line.points_minor,
            )
        )
    await session.execute(
        update(models.Order)
        .where(models.Order.program_id == program_id, models.Order.id == order.id)
        .values(total_minor=order.total_minor)
    )
