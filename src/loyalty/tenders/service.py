from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.orders.rules import Line
from loyalty.points import holding
from loyalty.points import service as points
from loyalty.points.book import Book
from loyalty.points.errors import HoldEnded
from loyalty.points.rules import Source, SourceKind, WalletKey
from loyalty.programs.policies import Refund
from loyalty.tenders import models, queries, rules
from loyalty.tenders.rules import Tender


async def take(
    session: AsyncSession, book: Book, tender: Tender, *, key: WalletKey, order_id: UUID, hold_id: UUID | None
) -> UUID:
    """Decide the spend of what pays for an order, out of a hold if one is named; return its entry.

    The wallet must be in the book; the hold must be of it. Raises NotEnoughPoints, HoldEnded.
    """
    source = Source(SourceKind.ORDER, order_id)
    if hold_id is None:
        return (await points.spend(session, book, key=key, points=tender.points, source=source)).id
    live = await holding.live_hold(session, book, hold_id=hold_id)
    if live is None:
        session.expire_all()
        ended = await holding.get_hold(session, program_id=key.program_id, hold_id=hold_id)
        raise HoldEnded(ended_by=str(ended.ended_by))
    return book.capture(live, points=tender.points, source=source).id


async def record(
    session: AsyncSession, tender: Tender, *, key: WalletKey, order_id: UUID, entry_id: UUID, refund: Refund
) -> None:
    """Record what of an order is paid with points; comes after the book is posted."""
    row = models.OrderTender(
        program_id=key.program_id,
        order_id=order_id,
        unit=key.unit,
        points=tender.points,
        value_minor=tender.value_minor,
        total_minor=tender.total_minor,
        refund=str(refund),
        entry_id=entry_id,
    )
    await queries.insert_tender(session, row)


async def listed(
    session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]
) -> dict[UUID, models.OrderTender]:
    """Return what of these orders was paid with points, where anything was."""
    return await queries.list_tenders(session, program_id=program_id, order_ids=order_ids)


async def find(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> models.OrderTender | None:
    """Return what of an order was paid with points, if anything."""
    return (await listed(session, program_id=program_id, order_ids=[order_id])).get(order_id)


async def refunds(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> dict[UUID, models.TenderRefund]:
    """Return what of an order's points went back, by return."""
    rows = await queries.list_refunds(session, program_id=program_id, order_id=order_id)
    return {row.return_id: row for row in rows}


def left_on(row: models.OrderTender, lines: Sequence[Line]) -> list[Line]:
    """Return what is left of an order's lines, each with its part of what is still paid with points."""
    return rules.left_on(_tender(row), lines, by=Refund(row.refund))


async def give_back(
    session: AsyncSession,
    book: Book,
    row: models.OrderTender,
    *,
    return_id: UUID,
    left: Sequence[Line],
    owner: UUID,
) -> models.TenderRefund:
    """Decide what of an order's points goes back with a return, into the very lots they came from.

    `left` is what the return leaves of the order. The wallets of the spend and of the owner must be in the book.
    """
    paid = _tender(row)
    returned = paid.total_minor - sum(line.total_minor for line in left)
    before = await refunds(session, program_id=row.program_id, order_id=row.order_id)
    due = rules.refunded(paid, returned_minor=returned, by=Refund(row.refund))
    gone = sum(own.points for own in before.values())
    back = due.points - gone
    value = due.value_minor - sum(own.value_minor for own in before.values())
    entry_id = None
    if back:
        source = Source(SourceKind.RETURN, return_id)
        entry = await points.undo_spend(
            session, book, entry_id=row.entry_id, source=source, owner=owner, part=(back, gone)
        )
        entry_id = entry.id
    return models.TenderRefund(
        program_id=row.program_id,
        return_id=return_id,
        order_id=row.order_id,
        points=back,
        value_minor=value,
        entry_id=entry_id,
    )


async def record_refund(session: AsyncSession, refund: models.TenderRefund) -> None:
    """Record what went back; comes after the book is posted."""
    await queries.insert_refund(session, refund)


def _tender(row: models.OrderTender) -> Tender:
    return Tender(row.points, row.value_minor, row.total_minor)
