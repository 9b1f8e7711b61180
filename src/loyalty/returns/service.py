from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import idempotency, ids
from loyalty.core.idempotency import Call, Claim
from loyalty.earning import models as earning_models
from loyalty.earning import service as earning
from loyalty.earning.facts import Purchase
from loyalty.earning.rules import Excess
from loyalty.earning.service import Regained
from loyalty.orders import models as order_models
from loyalty.orders import returning
from loyalty.orders import rules as order_rules
from loyalty.orders import service as orders
from loyalty.orders.returning import NewReturn, ReturnKind, WantedLine
from loyalty.orders.rules import Line
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.points import models as point_models
from loyalty.points import service as points
from loyalty.points.postings import Reversal
from loyalty.points.rules import Source, SourceKind, WalletKey
from loyalty.programs.rules import Program
from loyalty.rewards import coupons
from loyalty.tenders import service as tenders
from loyalty.tenders.models import OrderTender, TenderRefund

_EXISTED = 200


@dataclass(frozen=True)
class Asked:
    """What a storefront says of a return: these lines, this amount, or with neither everything that is left."""

    kind: ReturnKind
    external_id: str | None = None
    lines: tuple[WantedLine, ...] | None = None
    total_minor: int | None = None
    currency: str | None = None
    reason: str | None = None
    returned_at: datetime | None = None
    metadata: dict[str, str] | None = None


@dataclass(frozen=True)
class View:
    """A return with everything that it caused."""

    made: order_models.OrderReturn
    currency: str
    lines: list[order_models.OrderReturnLine]
    reversals: list[earning_models.OrderAwardReversal]
    entries: list[point_models.Entry]
    refund: TenderRefund | None
    coupons: list[str]


async def take_back(
    session: AsyncSession, *, program: Program, call: Call, order_id: UUID, asked: Asked, actor: str, now: datetime
) -> Claim:
    """Record that something of an order went back, and reverse what it no longer earns; once per key and external id.

    Locks the order, then the buyer's wallets. Raises OrderNotFound, OrderCancelled, ReturnExceedsOrder, ReturnDiffers.
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
    )
    await orders.lock_row(session, program_id=program.id, order_id=order_id)
    there = await orders.same_return(
        session, program_id=program.id, order_id=order_id, external_id=asked.external_id, content_digest=digest
    )
    if there is not None:
        await idempotency.repoint(session, claim, resource_id=there, status=_EXISTED)
        return Claim(call, there, _EXISTED, replayed=False)
    at = asked.returned_at or now
    order_rules.check_placed(at, now=now, late_days=program.rules.late_order_days)
    order, bought = await orders.lock(session, program_id=program.id, order_id=order_id, returned_at=at)
    if asked.currency is not None:
        order_rules.check_currency(asked.currency, accepted=(order.currency,))
    lines = returning.plan(bought, lines=asked.lines, total_minor=asked.total_minor)
    made = NewReturn(
        id=claim.resource_id,
        order_id=order_id,
        external_id=asked.external_id,
        content_digest=digest,
        kind=asked.kind,
        lines=lines,
        reason=asked.reason,
        actor=actor,
        returned_at=at,
        recorded_at=now,
        metadata=asked.metadata or {},
    )
    await orders.take_back(session, made, program_id=program.id)
    left = [own.remaining() for own in returning.after(bought, lines)]
    paid = await tenders.find(session, program_id=program.id, order_id=order_id)
    if paid is not None:
        left = tenders.left_on(paid, left)
    counted: tuple[list[Excess], Regained] | None = None
    if order.customer_id is not None:
        counted = await earning.recount(
            session,
            program_id=program.id,
            order_id=order_id,
            buyer=order.customer_id,
            purchase=Purchase.of(order, left),
            zone=program.rules.zone,
        )
    await _settle(session, program=program, order=order, made=made, counted=counted, paid=paid, left=left, now=now)
    if not any(line.quantity or line.total_minor for line in left):
        await coupons.undo_uses(session, program_id=program.id, order_id=order_id, return_id=made.id, now=now)
    await _tell(session, program_id=program.id, order=order, made=made)
    return claim


async def view(session: AsyncSession, *, program_id: UUID, return_id: UUID) -> View:
    """Return a return with what it took back, all from stored rows."""
    made, lines = await orders.get_return(session, program_id=program_id, return_id=return_id)
    return (await _views(session, program_id=program_id, order_id=made.order_id, found=[(made, lines)]))[0]


async def listing(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> list[View]:
    """Return everything that went back of an order, oldest first; raises OrderNotFound."""
    found = await orders.returns(session, program_id=program_id, order_id=order_id)
    return await _views(session, program_id=program_id, order_id=order_id, found=found)


async def _views(
    session: AsyncSession,
    *,
    program_id: UUID,
    order_id: UUID,
    found: Sequence[tuple[order_models.OrderReturn, list[order_models.OrderReturnLine]]],
) -> list[View]:
    order, _ = await orders.get(session, program_id=program_id, order_id=order_id)
    reversals = await earning.reversals(session, program_id=program_id, order_id=order_id)
    discounts = await coupons.discounts(session, program_id=program_id, order_id=order_id)
    refunds = await tenders.refunds(session, program_id=program_id, order_id=order_id)
    return [
        View(
            made,
            order.currency,
            lines,
            [row for row in reversals if row.return_id == made.id],
            await points.entries_of(session, program_id=program_id, source_id=made.id),
            refunds.get(made.id),
            [own.code for own in discounts if own.return_id == made.id],
        )
        for made, lines in found
    ]


async def _settle(
    session: AsyncSession,
    *,
    program: Program,
    order: order_models.Order,
    made: NewReturn,
    counted: tuple[list[Excess], Regained] | None,
    paid: OrderTender | None,
    left: Sequence[Line],
    now: datetime,
) -> None:
    """Give back the points that had paid, then take back what each rule gave too much, by the program's policy."""
    if order.customer_id is None or counted is None:
        return
    excess, regained = counted
    if not excess and paid is None:
        return
    keys = {owed.unit: WalletKey(program.id, order.customer_id, owed.unit) for owed in excess}
    earned_in = await points.earned_in(session, program_id=program.id, source_id=order.id)
    wallets = {*keys.values(), *earned_in}
    if paid is not None:
        wallets.add(WalletKey(program.id, order.customer_id, paid.unit))
        wallets.add(await points.wallet_of(session, program_id=program.id, entry_id=paid.entry_id))
    book = await points.open_book(session, program=program, keys=wallets, now=now)
    refund = None
    if paid is not None:
        refund = await tenders.give_back(session, book, paid, return_id=made.id, left=left, owner=order.customer_id)
    await points.load_source(session, book, source_id=order.id)
    await points.load(session, book, list(wallets))
    taken: list[tuple[Excess, Reversal]] = []
    for owed in excess:
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
    await points.post(session, book)
    if refund is not None:
        await tenders.record_refund(session, refund)
    await earning.record_reversals(
        session, program_id=program.id, order_id=order.id, return_id=made.id, reversals=taken, regained=regained
    )


async def _tell(session: AsyncSession, *, program_id: UUID, order: order_models.Order, made: NewReturn) -> None:
    what = "order.cancelled" if made.kind is ReturnKind.CANCELLATION else "order.returned"
    event = Event(
        what, order.id, occurred_at=made.returned_at, recorded_at=made.recorded_at, customer_id=order.customer_id
    )
    await outbox.tell(session, program_id=program_id, events=[event])
