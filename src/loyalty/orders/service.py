from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids, paging
from loyalty.core.paging import Page
from loyalty.core.rows import at_once
from loyalty.orders import models, queries, return_queries, rules
from loyalty.orders.errors import (
    ClaimNotProven,
    DeliveredBeforePlaced,
    OrderAlreadyDelivered,
    OrderAlreadyPaid,
    OrderCancelled,
    OrderDiffers,
    OrderHasABuyer,
    OrderNotFound,
    PaidBeforePlaced,
    ReturnDiffers,
    ReturnedBeforePlaced,
)
from loyalty.orders.returning import BoughtLine, NewReturn, ReturnKind
from loyalty.orders.rules import Line, LineKind, NewOrder, Recorded


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
    """Return an order with its lines; raises OrderNotFound."""
    found = await listed(session, program_id=program_id, order_ids=[order_id])
    if not found:
        raise OrderNotFound
    return found[order_id]


async def listed(
    session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]
) -> dict[UUID, tuple[models.Order, list[models.OrderLine]]]:
    """Return those of these orders that are there, with their lines."""
    rows, lines = await at_once(
        session,
        queries.list_orders_by_id(session, program_id=program_id, order_ids=order_ids),
        queries.list_lines(session, program_id=program_id, order_ids=order_ids),
    )
    found: dict[UUID, tuple[models.Order, list[models.OrderLine]]] = {row.id: (row, []) for row in rows}
    for line in lines:
        found[line.order_id][1].append(line)
    return found


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
    if order.cancelled_at is not None:
        raise OrderCancelled
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


async def deliver(
    session: AsyncSession, *, program_id: UUID, order_id: UUID, delivered_at: datetime, now: datetime
) -> models.Order:
    """Mark an order as delivered, once; the order stays locked until the transaction ends."""
    order = await queries.lock_order(session, program_id=program_id, order_id=order_id)
    if order.cancelled_at is not None:
        raise OrderCancelled
    if order.delivered_at is not None:
        raise OrderAlreadyDelivered
    if delivered_at < order.placed_at:
        raise DeliveredBeforePlaced
    await queries.set_delivered(session, program_id=program_id, order_id=order_id, delivered_at=delivered_at, now=now)
    return order


async def lock(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> models.Order:
    """Lock an order, before anything is asked about what happened to it. Raises OrderNotFound."""
    return await queries.lock_order(session, program_id=program_id, order_id=order_id)


def check_returnable(order: models.Order, *, returned_at: datetime) -> None:
    """Raise OrderCancelled, ReturnedBeforePlaced for an order that nothing can go back of."""
    if order.cancelled_at is not None:
        raise OrderCancelled
    if returned_at < order.placed_at:
        raise ReturnedBeforePlaced


async def bought(
    session: AsyncSession, *, program_id: UUID, order_id: UUID
) -> tuple[list[BoughtLine], list[models.OrderReturn]]:
    """Return the lines of an order that is locked, each with what went back of it, and the returns so far."""
    earlier, gone, lines = await at_once(
        session,
        return_queries.list_returns(session, program_id=program_id, order_id=order_id),
        return_queries.list_lines_of_returns(session, program_id=program_id, order_id=order_id),
        queries.list_lines(session, program_id=program_id, order_ids=[order_id]),
    )
    return [
        BoughtLine(
            own.line,
            line_of(own),
            sum(line.quantity for line in gone if line.line == own.line),
            sum(line.total_minor for line in gone if line.line == own.line),
            own.amendment_id is not None,
        )
        for own in lines
    ], earlier


async def set_lines(session: AsyncSession, order: NewOrder, *, program_id: UUID) -> None:
    """Write what the lines of an order just recorded come to, now that coupons and points have been counted."""
    await queries.set_lines(session, order, program_id=program_id)


def line_of(row: models.OrderLine) -> Line:
    return Line(
        row.sku,
        row.quantity,
        row.total_minor,
        row.category,
        row.brand,
        LineKind(row.kind),
        row.discount_minor,
        row.tax_minor,
        row.points_minor,
    )


async def numbers(session: AsyncSession, *, program_id: UUID, customer_ids: Collection[UUID]) -> dict[UUID, int]:
    """Return how many orders customers have that were not cancelled; who has none is left out."""
    return await queries.count_orders(session, program_id=program_id, customer_ids=customer_ids)


async def take_back(session: AsyncSession, made: NewReturn, *, program_id: UUID, first: int) -> None:
    """Record a return of an order that is locked, `first` being the number of the first line that it adds.

    Raises ReturnDiffers if its external id is another order's.
    """
    if not await return_queries.insert_return(session, made, program_id=program_id):
        there = await return_queries.find_return(session, program_id=program_id, external_id=str(made.external_id))
        raise ReturnDiffers(return_id=ids.public("ret", there.id if there else made.id))
    if made.kind is ReturnKind.CANCELLATION:
        await queries.set_cancelled(session, program_id=program_id, order_id=made.order_id, at=made.returned_at)
    await return_queries.append_lines(
        session, made.added, program_id=program_id, order_id=made.order_id, amendment_id=made.id, first=first
    )


async def same_return(
    session: AsyncSession, *, program_id: UUID, order_id: UUID, external_id: str | None, content_digest: bytes
) -> UUID | None:
    """Return the return recorded under this external id, if there is one; raises ReturnDiffers if it says other."""
    there = None
    if external_id is not None:
        there = await return_queries.find_return(session, program_id=program_id, external_id=external_id)
    if there is None:
        return None
    if there.order_id != order_id or there.content_digest != content_digest:
        raise ReturnDiffers(return_id=ids.public("ret", there.id))
    return there.id


async def returns(
    session: AsyncSession, *, program_id: UUID, order_id: UUID
) -> list[tuple[models.OrderReturn, list[models.OrderReturnLine]]]:
    """Return what went back of an order, oldest first."""
    found, lines = await at_once(
        session,
        return_queries.list_returns(session, program_id=program_id, order_id=order_id),
        return_queries.list_lines_of_returns(session, program_id=program_id, order_id=order_id),
    )
    return [(row, [line for line in lines if line.return_id == row.id]) for row in found]


async def get_return(
    session: AsyncSession, *, program_id: UUID, return_id: UUID
) -> tuple[models.OrderReturn, list[models.OrderReturnLine]]:
    return await at_once(
        session,
        return_queries.get_return(session, program_id=program_id, return_id=return_id),
        return_queries.list_return_lines(session, program_id=program_id, return_id=return_id),
    )


async def hand_over(session: AsyncSession, *, program_id: UUID, buyer: UUID, becomes: UUID) -> None:
    """Make one customer's orders another's."""
    await queries.set_buyer(session, program_id=program_id, buyer=buyer, becomes=becomes)


async def claim(
    session: AsyncSession, *, program_id: UUID, order_id: UUID, customer_id: UUID, email_digests: Collection[bytes]
) -> tuple[models.Order, list[Line]] | None:
    """Give a guest's order the buyer who made it; the order stays locked. None if it is theirs already.

    Returns the order with what is left of its lines. `email_digests` are those of the buyer's address under every
    secret in use; an order that kept one must fit. Raises OrderNotFound, OrderCancelled, OrderHasABuyer,
    ClaimNotProven.
    """
    order = await queries.lock_order(session, program_id=program_id, order_id=order_id)
    if order.customer_id == customer_id:
        return None
    if order.customer_id is not None:
        raise OrderHasABuyer
    if order.email_digest is not None and order.email_digest not in email_digests:
        raise ClaimNotProven
    check_returnable(order, returned_at=order.placed_at)
    left, _ = await bought(session, program_id=program_id, order_id=order_id)
    await queries.set_customer(session, program_id=program_id, order_id=order_id, customer_id=customer_id)
    return order, [own.remaining() for own in left]


async def forget(session: AsyncSession, *, program_id: UUID, customer_id: UUID) -> None:
    """Clear what a customer's orders may say of the person: hashed e-mail, reasons, and the storefront's metadata."""
    await queries.clear_personal(session, program_id=program_id, customer_id=customer_id)


async def external_ids(session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]) -> dict[UUID, str]:
    """Return the storefront's own ids of those of these that are orders."""
    return await queries.list_external_ids(session, program_id=program_id, order_ids=order_ids)


async def left_minor(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> int:
    """Return what an order comes to, with what was added to it and without what went back."""
    lines, gone = await at_once(
        session,
        queries.list_lines(session, program_id=program_id, order_ids=[order_id]),
        return_queries.list_returns(session, program_id=program_id, order_id=order_id),
    )
    return sum(line.total_minor for line in lines) - sum(row.total_minor for row in gone)
