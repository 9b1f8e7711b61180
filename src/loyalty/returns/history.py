"""What returns and amendments caused, all from stored rows."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import at_once
from loyalty.earning import models as earning_models
from loyalty.earning import recounting
from loyalty.earning.recounting import Changed
from loyalty.orders import models as order_models
from loyalty.orders import service as orders
from loyalty.orders.returning import ReturnKind
from loyalty.points import history as points_history
from loyalty.points import models as point_models
from loyalty.points.rules import EntryKind
from loyalty.rewards import coupons
from loyalty.rewards.discounts import Effect
from loyalty.rewards.models import CouponDiscount
from loyalty.tenders import service as tenders
from loyalty.tenders.models import TenderRefund

_AT_ONCE = {
    EntryKind.REVERSE,
    EntryKind.RESTORE,
    EntryKind.WRITE_OFF,
    EntryKind.FORFEIT,
    EntryKind.REINSTATE,
    EntryKind.REPAY,
    EntryKind.MERGE,
}
"""What a return does to wallets by itself; what becomes of its points later is not told again with it."""


@dataclass(frozen=True)
class View:
    """A return or an amendment with everything that it caused; `kept_minor` of its worth a gift card had paid."""

    made: order_models.OrderReturn
    currency: str
    lines: list[order_models.OrderReturnLine]
    added: list[order_models.OrderLine]
    reversals: list[earning_models.OrderAwardReversal]
    additions: list[earning_models.OrderAwardAddition]
    entries: list[point_models.Entry]
    refund: TenderRefund | None
    coupons: list[str]
    kept_minor: int


@dataclass(frozen=True)
class _History:
    """An order, and all that happened to it which returns tell of."""

    order: order_models.Order
    bought: list[order_models.OrderLine]
    changed: Changed
    discounts: list[CouponDiscount]
    refunds: dict[UUID, TenderRefund]
    entries: defaultdict[UUID, list[point_models.Entry]]


async def view(session: AsyncSession, *, program_id: UUID, order_id: UUID, return_id: UUID) -> View:
    """Return a return of an order with what it took back."""
    made, history = await at_once(
        session,
        orders.get_return(session, program_id=program_id, return_id=return_id),
        _history(session, program_id=program_id, order_id=order_id, return_ids=[return_id]),
    )
    return (await _views(session, program_id=program_id, history=history, found=[made]))[0]


async def listing(
    session: AsyncSession, *, program_id: UUID, order_id: UUID, kinds: Collection[ReturnKind]
) -> list[View]:
    """Return what happened to an order, the oldest first; raises OrderNotFound."""
    found = await orders.returns(session, program_id=program_id, order_id=order_id)
    found = [(made, lines) for made, lines in found if made.kind in kinds]
    return_ids = [made.id for made, _ in found]
    history = await _history(session, program_id=program_id, order_id=order_id, return_ids=return_ids)
    return await _views(session, program_id=program_id, history=history, found=found)


async def _history(
    session: AsyncSession, *, program_id: UUID, order_id: UUID, return_ids: Collection[UUID]
) -> _History:
    (order, bought), changed, (discounts, refunds), entries = await at_once(
        session,
        orders.get(session, program_id=program_id, order_id=order_id),
        recounting.changes(session, program_id=program_id, order_id=order_id),
        at_once(
            session,
            coupons.discounts(session, program_id=program_id, order_ids=[order_id]),
            tenders.refunds(session, program_id=program_id, order_id=order_id),
        ),
        points_history.entries_of(session, program_id=program_id, source_ids=return_ids),
    )
    return _History(order, bought, changed, discounts[order_id], refunds, entries)


async def _views(
    session: AsyncSession,
    *,
    program_id: UUID,
    history: _History,
    found: Sequence[tuple[order_models.OrderReturn, list[order_models.OrderReturnLine]]],
) -> list[View]:
    bought, discounts = history.bought, history.discounts
    gift_minor = sum(sum(own.line_minor) for own in discounts if own.effect == Effect.TENDER)
    kept = await _kept(session, history.order, bought, gift_minor=gift_minor)
    views = []
    for made, lines in found:
        additions = [row for row in history.changed.additions if row.return_id == made.id]
        given = {row.entry_id for row in additions if row.entry_id is not None}
        views.append(
            View(
                made,
                history.order.currency,
                lines,
                [line for line in bought if line.amendment_id == made.id],
                [row for row in history.changed.reversals if row.return_id == made.id],
                additions,
                [
                    *(own for own in history.entries[made.id] if own.kind in _AT_ONCE),
                    *(await points_history.entries_by_id(session, program_id=program_id, entry_ids=given)).values(),
                ],
                history.refunds.get(made.id),
                [own.code for own in discounts if own.return_id == made.id],
                kept.get(made.id, 0),
            )
        )
    return views


async def _kept(
    session: AsyncSession, order: order_models.Order, bought: Sequence[order_models.OrderLine], *, gift_minor: int
) -> dict[UUID, int]:
    """Return, by return, what of its worth is not for money to give back: money goes first, then what gift cards paid.

    These are good again once everything went back.
    """
    if not gift_minor:
        return {}
    money = sum(line.total_minor for line in bought if line.amendment_id is None) - gift_minor
    kept, gone = {}, 0
    for made, _ in await orders.returns(session, program_id=order.program_id, order_id=order.id):
        money += sum(line.total_minor for line in bought if line.amendment_id == made.id)
        kept[made.id] = made.total_minor - (min(gone + made.total_minor, money) - min(gone, money))
        gone += made.total_minor
    return kept
