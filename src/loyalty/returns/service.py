from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import idempotency, ids
from loyalty.core.idempotency import Call, Claim
from loyalty.core.rows import at_once
from loyalty.earning import recounting
from loyalty.earning.facts import Purchase
from loyalty.earning.paying import Given, pay_order
from loyalty.earning.recounting import Growth, Recount
from loyalty.earning.rules import Excess
from loyalty.members import service as members
from loyalty.orders import models as order_models
from loyalty.orders import returning
from loyalty.orders import rules as order_rules
from loyalty.orders import service as orders
from loyalty.orders.returning import NewReturn, ReturnKind, WantedLine
from loyalty.orders.rules import Line
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.points import service as points
from loyalty.points import sources
from loyalty.points.book import Book
from loyalty.points.postings import Reversal
from loyalty.points.rules import Source, SourceKind, WalletKey
from loyalty.programs.policies import ActivationKind
from loyalty.programs.rules import Program
from loyalty.rewards import coupons
from loyalty.tenders import service as tenders
from loyalty.tenders.models import OrderTender

_EXISTED = 200
_NEWS = {
    ReturnKind.RETURN: "order.returned",
    ReturnKind.CANCELLATION: "order.cancelled",
    ReturnKind.AMENDMENT: "order.amended",
}


@dataclass(frozen=True)
class Asked:
    """What a storefront says of a return: these lines, this amount, or with neither everything that is left.

    An amendment names the lines that go, if any, and those `added`.
    """

    kind: ReturnKind
    external_id: str | None = None
    lines: tuple[WantedLine, ...] | None = None
    total_minor: int | None = None
    currency: str | None = None
    reason: str | None = None
    returned_at: datetime | None = None
    metadata: dict[str, str] | None = None
    added: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Refund:
    """The points that had paid for an order, and what is left of the lines that they paid for."""

    paid: OrderTender
    left: Sequence[Line]


async def take_back(
    session: AsyncSession, *, program: Program, call: Call, order_id: UUID, asked: Asked, actor: str, now: datetime
) -> Claim:
    """Record that something of an order went back or was added, and settle what it earns now; once per key.

    Once per external id, too. Locks the order, then limits, then the buyer's wallets. Raises OrderNotFound,
    OrderCancelled, ReturnExceedsOrder, OrderTooLarge, ReturnDiffers.
    """
    claim = await idempotency.claim(session, call=call, resource_id=ids.new(), now=now)
    if claim.replayed:
        return claim
    digest = returning.digest_return(
        kind=asked.kind,
        lines=asked.lines,
        total_minor=asked.total_minor,
        currency=asked.currency,
        metadata=asked.metadata or {},
        added=asked.added,
    )
    order = await orders.lock(session, program_id=program.id, order_id=order_id)
    there, (bought, earlier), paid, counted = await at_once(
        session,
        orders.same_return(
            session, program_id=program.id, order_id=order_id, external_id=asked.external_id, content_digest=digest
        ),
        orders.bought(session, program_id=program.id, order_id=order_id),
        tenders.find(session, program_id=program.id, order_id=order_id),
        recounting.look(session, program_id=program.id, order_id=order_id, zone=program.rules.zone),
    )
    if there is not None:
        await idempotency.repoint(session, claim, resource_id=there, status=_EXISTED)
        return Claim(call, there, _EXISTED, replayed=False)
    at = asked.returned_at or now
    order_rules.check_placed(at, now=now, late_days=program.rules.late_order_days)
    orders.check_returnable(order, returned_at=at)
    if asked.currency is not None:
        order_rules.check_currency(asked.currency, accepted=(order.currency,))
    lines = returning.plan(bought, lines=asked.lines, total_minor=asked.total_minor)
    returning.check_added(bought, asked.added)
    made = NewReturn(
        id=claim.resource_id,
        order_id=order_id,
        number=len(earlier) + 1,
        external_id=asked.external_id,
        content_digest=digest,
        kind=asked.kind,
        lines=lines,
        reason=asked.reason,
        actor=actor,
        returned_at=at,
        recorded_at=now,
        metadata=asked.metadata or {},
        added=asked.added,
    )
    paid_by = set() if counted is None else counted.paid_by
    _, earned_in = await at_once(
        session,
        orders.take_back(session, made, program_id=program.id, first=len(bought) + 1),
        sources.earned_in(session, program_id=program.id, source_id=order_id, entry_ids=paid_by),
    )
    after = returning.after(bought, lines)
    placed = [own.remaining() for own in after if not own.amended]
    if paid is not None:
        placed = tenders.left_on(paid, placed)
    left = [*placed, *(own.remaining() for own in after if own.amended), *made.added]
    if order.customer_id is not None:
        recount = Recount()
        if counted is not None:
            recount = await recounting.recount(
                session,
                counted,
                program_id=program.id,
                buyer=order.customer_id,
                purchase=Purchase.of(order, left),
                earlier=[(row.id, row.kind == ReturnKind.AMENDMENT) for row in earlier],
                growth=await _growth(session, program_id=program.id, buyer=order.customer_id, made=made),
            )
        await _settle(
            session,
            program=program,
            order=order,
            buyer=order.customer_id,
            made=made,
            counted=recount,
            earned_in=earned_in,
            refund=None if paid is None else Refund(paid, placed),
        )
    if not any(line.quantity or line.total_minor for line in left):
        await coupons.undo_uses(session, program_id=program.id, order_id=order_id, return_id=made.id, now=now)
    await _tell(session, program_id=program.id, order=order, made=made)
    return claim


async def _growth(session: AsyncSession, *, program_id: UUID, buyer: UUID, made: NewReturn) -> Growth:
    """Tell to what an order's points may come: an amendment adds to them, if its buyer is free to earn."""
    if made.kind is not ReturnKind.AMENDMENT:
        return Growth.UP_TO_LAST_AMENDMENT
    standing = await members.find_standing(session, program_id=program_id, customer_id=buyer)
    return Growth.FREE if standing is not None and standing.may_earn_at(made.returned_at) else Growth.NONE


def _give(book: Book, given: Iterable[Given], *, order: order_models.Order, made: NewReturn) -> dict[UUID, UUID]:
    """Credit what an order earns more: what an amendment adds begins with it, what a return gives back is as it was."""
    occurred_at, paid_at, dates = made.returned_at, order.paid_at, None
    delivered = order.delivered_at is not None or order.imported
    if made.kind is ReturnKind.AMENDMENT:
        paid_at = None if paid_at is None else max(paid_at, made.returned_at)
    else:
        occurred_at = order.placed_at
    if paid_at is not None and made.kind is not ReturnKind.AMENDMENT:
        on_delivery = book.rules.activation.kind is ActivationKind.DELIVERY
        began = order.delivered_at if on_delivery and order.delivered_at else paid_at
        dates = book.rules.expiry.dates_from(book.rules.starts_at(paid_at) or began, book.rules.zone)
    return pay_order(
        book,
        given,
        order_id=order.id,
        occurred_at=occurred_at,
        paid_at=paid_at,
        delivered=delivered,
        dates=dates if delivered or book.rules.activation.kind is not ActivationKind.DELIVERY else None,
    )


async def _settle(
    session: AsyncSession,
    *,
    program: Program,
    order: order_models.Order,
    buyer: UUID,
    made: NewReturn,
    counted: Recount,
    earned_in: set[WalletKey],
    refund: Refund | None,
) -> None:
    """Give back the points that had paid, take back what each rule gave too much, by policy, and give what it lacks."""
    if not counted.excess and not counted.lacks and refund is None:
        return
    units = {owed.unit for owed in counted.excess} | {lack.unit for lack in counted.lacks}
    keys = {unit: WalletKey(program.id, buyer, unit) for unit in units}
    wallets = {*keys.values(), *earned_in}
    if refund is not None:
        wallets.add(WalletKey(program.id, buyer, refund.paid.unit))
        wallets.add(await points.wallet_of(session, program_id=program.id, entry_id=refund.paid.entry_id))
    book = await points.open_book(session, program=program, keys=wallets, now=made.recorded_at)
    back = None
    if refund is not None:
        back = await tenders.give_back(session, book, refund.paid, return_id=made.id, left=refund.left, owner=buyer)
    excess = Counter[WalletKey]()
    for owed in counted.excess:
        excess[keys[owed.unit]] += owed.points
    await at_once(
        session,
        sources.load(session, book, source_id=order.id),
        points.load_spendable(session, book, excess),
    )
    taken: list[tuple[Excess, Reversal]] = []
    for owed in counted.excess:
        reversal = book.reverse(
            keys[owed.unit],
            points=owed.points,
            source=Source(SourceKind.RETURN, made.id),
            occurred_at=made.returned_at,
            earned_by=order.id,
            policy=program.rules.clawback,
            earned_in=[key for key in earned_in if key.unit == owed.unit],
        )
        taken.append((owed, reversal))
    given = [Given(own.rule_id, keys[own.unit], own.anew) for own in counted.lacks]
    paid = _give(book, given, order=order, made=made)
    await points.post(session, book)
    if back is not None:
        await tenders.record_refund(session, back)
    await recounting.record(
        session,
        counted,
        program_id=program.id,
        order_id=order.id,
        return_id=made.id,
        reversals=taken,
        paid=paid,
    )


async def _tell(session: AsyncSession, *, program_id: UUID, order: order_models.Order, made: NewReturn) -> None:
    what = _NEWS[made.kind]
    event = Event(
        what, order.id, occurred_at=made.returned_at, recorded_at=made.recorded_at, customer_id=order.customer_id
    )
    await outbox.tell(session, program_id=program_id, events=[event])
