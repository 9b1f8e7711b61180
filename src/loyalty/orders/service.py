from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids, paging
from loyalty.core.paging import Page
from loyalty.orders import models, queries, rules
from loyalty.orders.errors import OrderAlreadyPaid, OrderDiffers, PaidBeforePlaced
from loyalty.orders.rules import NewOrder, Recorded


@dataclass(frozen=True)
class Outcome:
    """The order there is now under this external id; `is_new` is False when an equal one was there before."""

    order_id: UUID
    is_new: bool


async def record(
    session: AsyncSession,
    *,
    program_id: UUID,
    order: NewOrder,
    email_digests: Collection[bytes],
    placed_at: datetime | None,
) -> Outcome:
    """Record an order once under its external id; the same again is the same order, another one is refused."""
    if await queries.insert_order(session, order, program_id=program_id):
        return Outcome(order.id, is_new=True)
    there = (await queries.list_recorded(session, program_id=program_id, external_ids=[order.external_id]))[
        order.external_id
    ]
    if not rules.is_same(there, order, email_digests=email_digests, placed_at=placed_at):
        raise OrderDiffers(order_id=ids.public("ord", there.id))
    return Outcome(there.id, is_new=False)


async def record_many(session: AsyncSession, *, program_id: UUID, orders: Sequence[NewOrder]) -> None:
    """Record orders known to be new."""
    await queries.insert_orders(session, orders, program_id=program_id)


async def recorded(session: AsyncSession, *, program_id: UUID, external_ids: Collection[str]) -> dict[str, Recorded]:
    """Return those of these orders that are recorded."""
    return await queries.list_recorded(session, program_id=program_id, external_ids=external_ids)


async def get(
    session: AsyncSession, *, program_id: UUID, order_id: UUID
) -> tuple[models.Order, list[models.OrderLine]]:
    order = await queries.get_order(session, program_id=program_id, order_id=order_id)
    return order, await queries.list_lines(session, program_id=program_id, order_id=order_id)


async def page(
    session: AsyncSession, *, program_id: UUID, customer_id: UUID | None, cursor: str | None, limit: int
) -> Page[models.Order]:
    """List orders, the last recorded first."""
    before = paging.last_id(cursor)
    rows = await queries.list_orders(
        session, program_id=program_id, customer_id=customer_id, before=before, limit=limit + 1
    )
    return paging.page(rows, limit=limit, key=lambda order: ids.encode(order.id))


async def pay(
    session: AsyncSession, *, program_id: UUID, order_id: UUID, paid_at: datetime, now: datetime
) -> models.Order:
    """Mark a placed order as paid, once; the order stays locked until the transaction ends."""
    order = await queries.lock_order(session, program_id=program_id, order_id=order_id)
    if order.paid_at is not None:
        raise OrderAlreadyPaid
    if paid_at < order.placed_at:
        raise PaidBeforePlaced
    await queries.set_paid(session, program_id=program_id, order_id=order_id, paid_at=paid_at, now=now)
    return order


async def have_bought(
    session: AsyncSession, *, program_id: UUID, customer_ids: Collection[UUID], other_than: Collection[UUID] = ()
) -> set[UUID]:
    """Return which of these customers have a paid order, apart from the ones named."""
    return await queries.customers_with_paid_orders(
        session, program_id=program_id, customer_ids=customer_ids, other_than=other_than
    )
