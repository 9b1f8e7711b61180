from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.checkout import counting, couponing, paying, quoting, rules
from loyalty.checkout.rules import Basket
from loyalty.core import idempotency, ids
from loyalty.core.idempotency import Call, Claim
from loyalty.core.signing import Keyring
from loyalty.members import customers, merging
from loyalty.members.errors import CustomerNotFound
from loyalty.orders import rules as order_rules
from loyalty.orders import service as orders
from loyalty.orders.rules import NewOrder
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.points import service as points
from loyalty.points import sources
from loyalty.programs.policies import ActivationKind
from loyalty.programs.rules import Program
from loyalty.quotes import service as quotes
from loyalty.rewards import coupons

GUEST_EMAIL: Final = "loyalty:order-email"
_EXISTED: Final = 200


async def place(
    session: AsyncSession, *, program: Program, call: Call, basket: Basket, keyring: Keyring, now: datetime
) -> Claim:
    """Record an order and all it causes, once per key and once per external id. The claim's resource is the order.

    Raises CurrencyNotAccepted, PlacedOutOfTime, CustomerNotFound, OrderDiffers; and where points pay for it
    PointsBesideGiftCard, PointsDoNotPay, PointsNeedAMember, PointsBelowFloor, PointsAboveCeiling, MemberMayNotBurn,
    NotEnoughPoints, HoldNotFound, HoldEnded, CaptureExceedsHold; with coupons what `couponing.apply` raises; and
    where it names a quote QuoteNotFound, QuoteIsForOther, QuoteExpired, QuoteDiffers.
    """
    claim = await idempotency.claim(session, call=call, resource_id=ids.new(), now=now)
    if claim.replayed:
        return claim
    guest = keyring.digests(GUEST_EMAIL, basket.email) if basket.email and not _names_customer(basket) else ()
    order = await _new_order(
        session, program_id=program.id, order_id=claim.resource_id, basket=basket, guest=guest, now=now
    )
    recorded = await orders.record(
        session, program_id=program.id, order=order, email_digests=guest, placed_at=basket.placed_at
    )
    if not recorded.is_new:
        await idempotency.repoint(session, claim, resource_id=recorded.order_id, status=_EXISTED)
        return Claim(call, recorded.order_id, _EXISTED, replayed=False)
    order_rules.check_currency(order.currency, accepted=program.rules.currencies)
    order_rules.check_placed(order.placed_at, now=now, late_days=program.rules.late_order_days)
    order, discounts = await couponing.apply(session, program=program, order=order, codes=basket.coupons, now=now)
    tender = await paying.tender(session, program=program, order=order, basket=basket, discounts=discounts)
    if tender is not None:
        order = replace(order, lines=tuple(tender.on(order.lines)))
    if tender is not None or discounts:
        await orders.set_lines(session, order, program_id=program.id)
    counted = await counting.count(
        session, program=program, order=order, now=now, tender=tender, hold_id=basket.hold_id
    )
    await coupons.use_on(
        session,
        discounts,
        program_id=program.id,
        order_id=order.id,
        external_order_id=order.external_id,
        now=now,
    )
    if basket.quote_id is not None:
        await quotes.check(
            session,
            program_id=program.id,
            quote_id=basket.quote_id,
            customer_id=order.customer_id,
            content_digest=rules.quoted_content(basket),
            figures=quoting.figures_of(
                program, awards=counted.awards if counted else (), tender=tender, discounts=discounts, now=now
            ),
            now=now,
        )
    await _tell(
        session,
        program_id=program.id,
        what="order.recorded",
        order_id=order.id,
        customer_id=order.customer_id,
        at=order.placed_at,
        now=now,
    )
    return claim


async def pay(
    session: AsyncSession, *, program: Program, call: Call, order_id: UUID, paid_at: datetime | None, now: datetime
) -> Claim:
    """Mark a placed order as paid, once: its pending points become spendable, and it may complete a referral.

    Raises OrderNotFound, OrderAlreadyPaid, PaidBeforePlaced, PlacedOutOfTime.
    """
    claim = await idempotency.claim(session, call=call, resource_id=order_id, now=now)
    if claim.replayed:
        return claim
    at = paid_at or now
    order_rules.check_placed(at, now=now, late_days=program.rules.late_order_days)
    buyer = (await orders.get(session, program_id=program.id, order_id=order_id))[0].customer_id
    if buyer is not None:
        await customers.lock(session, program_id=program.id, customer_ids=[buyer])
    order = await orders.pay(session, program_id=program.id, order_id=order_id, paid_at=at, now=now)
    waiting = await counting.lock_waiting(
        session, program_id=program.id, order_id=order_id, customer_id=order.customer_id
    )
    left = await orders.left_minor(session, program_id=program.id, order_id=order_id)
    completed = waiting if waiting is not None and left > 0 and counting.completes(waiting, order, left) else None
    pending = await sources.wallets(session, program_id=program.id, source_id=order_id)
    keys = [*pending, *(completed.wallets(program.id) if completed else [])]
    book = await points.open_book(session, program=program, keys=keys, now=now)
    if program.rules.activation.kind is not ActivationKind.DELIVERY or order.delivered_at is not None:
        begins = program.rules.starts_at(at)
        await sources.activate(session, book, source=counting.source_of(order_id), occurred_at=at, at=begins)
    await counting.settle(session, book, program_id=program.id, completed=completed, order_id=order_id, at=at)
    await _tell(
        session,
        program_id=program.id,
        what="order.paid",
        order_id=order_id,
        customer_id=order.customer_id,
        at=at,
        now=now,
    )
    return claim


async def deliver(
    session: AsyncSession, *, program: Program, call: Call, order_id: UUID, delivered_at: datetime | None, now: datetime
) -> Claim:
    """Mark an order as delivered, once: points that waited for it become spendable, if the order is paid.

    Raises OrderNotFound, OrderCancelled, OrderAlreadyDelivered, DeliveredBeforePlaced, PlacedOutOfTime.
    """
    claim = await idempotency.claim(session, call=call, resource_id=order_id, now=now)
    if claim.replayed:
        return claim
    at = delivered_at or now
    order_rules.check_placed(at, now=now, late_days=program.rules.late_order_days)
    order = await orders.deliver(session, program_id=program.id, order_id=order_id, delivered_at=at, now=now)
    if order.paid_at is not None:
        keys = await sources.wallets(session, program_id=program.id, source_id=order_id)
        book = await points.open_book(session, program=program, keys=keys, now=now)
        await sources.activate(session, book, source=counting.source_of(order_id), occurred_at=at)
        await points.post(session, book)
    await _tell(
        session,
        program_id=program.id,
        what="order.delivered",
        order_id=order_id,
        customer_id=order.customer_id,
        at=at,
        now=now,
    )
    return claim


def _names_customer(basket: Basket) -> bool:
    return basket.customer_id is not None or basket.external_customer_id is not None


async def _new_order(
    session: AsyncSession, *, program_id: UUID, order_id: UUID, basket: Basket, guest: tuple[bytes, ...], now: datetime
) -> NewOrder:
    customer_id = await _customer(session, program_id=program_id, basket=basket, now=now)
    digest = guest[0] if guest else None
    return rules.new_order(
        basket,
        order_id=order_id,
        customer_id=customer_id,
        email_digest=digest,
        content_digest=rules.placed_content(basket),
        now=now,
    )


async def _customer(session: AsyncSession, *, program_id: UUID, basket: Basket, now: datetime) -> UUID | None:
    """Return the buyer, created if new, and locked."""
    customer_id = basket.customer_id
    if customer_id is None and basket.external_customer_id is not None:
        customer_id = await customers.ensure(
            session, program_id=program_id, external_id=basket.external_customer_id, now=now
        )
    if customer_id is None:
        return None
    stands = await merging.lock_heir(session, program_id=program_id, customer_id=customer_id)
    if stands is None:
        raise CustomerNotFound
    return stands


async def _tell(
    session: AsyncSession,
    *,
    program_id: UUID,
    what: str,
    order_id: UUID,
    customer_id: UUID | None,
    at: datetime,
    now: datetime,
) -> None:
    event = Event(what, order_id, occurred_at=at, recorded_at=now, customer_id=customer_id)
    await outbox.tell(session, program_id=program_id, events=[event])
