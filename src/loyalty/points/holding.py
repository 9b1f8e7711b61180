"""Points locked for a time: holds, decided on in a book and read again."""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.points import hold_queries, lot_queries, models
from loyalty.points.book import Book
from loyalty.points.errors import HoldNotFound
from loyalty.points.postings import Entry
from loyalty.points.rules import Hold, WalletKey
from loyalty.points.service import load_spendable


async def hold(
    session: AsyncSession,
    book: Book,
    *,
    key: WalletKey,
    points: int,
    hold_id: UUID,
    expires_at: datetime,
    notes: dict[str, str],
) -> Entry:
    """Decide to lock points for a time; raises NotEnoughPoints."""
    await load_spendable(session, book, {key: points})
    return book.hold(key, points=points, hold_id=hold_id, expires_at=expires_at, notes=notes)


async def live_holds(session: AsyncSession, book: Book, *, hold_ids: Collection[UUID]) -> dict[UUID, Hold]:
    """Return those of these holds that have not ended, their lots known to the book; their wallets must be in it."""
    program_id = next(iter(book.wallets)).program_id
    found = await hold_queries.list_live_holds_by_id(session, program_id=program_id, hold_ids=hold_ids)
    if found:
        lot_ids = [reservation.lot_id for hold in found for reservation in hold.reservations]
        book.lots.know(await lot_queries.list_lots_by_id(session, program_id=program_id, lot_ids=lot_ids))
    return {hold.id: hold for hold in found}


async def live_hold(session: AsyncSession, book: Book, *, hold_id: UUID) -> Hold | None:
    """Return a hold that has not ended, its lots known to the book; its wallet must be in the book."""
    return (await live_holds(session, book, hold_ids=[hold_id])).get(hold_id)


async def list_holds(session: AsyncSession, *, program_id: UUID, hold_ids: Collection[UUID]) -> dict[UUID, models.Hold]:
    return await hold_queries.list_holds(session, program_id=program_id, hold_ids=hold_ids)


def holds_of(book: Book, there: Mapping[UUID, models.Hold]) -> dict[UUID, models.Hold]:
    """Return the holds that a book made, and those of `there` that it ended, as they are stored once it is posted."""
    made = {own.id: hold_queries.new_hold(own, now=book.now) for own in book.new_holds}
    ended = {own.id: hold_queries.ended_hold(there[own.id], own) for own in book.ended_holds if own.id in there}
    return made | ended


async def get_hold(session: AsyncSession, *, program_id: UUID, hold_id: UUID) -> models.Hold:
    """Return one hold; raises HoldNotFound."""
    found = (await list_holds(session, program_id=program_id, hold_ids=[hold_id])).get(hold_id)
    if found is None:
        raise HoldNotFound
    return found
