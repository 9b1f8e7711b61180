from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import paging
from loyalty.core.paging import Page
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.points import models, queries, verification
from loyalty.points.book import Book, Entry
from loyalty.points.rules import EntryKind, Wallet, WalletKey
from loyalty.points.verification import Difference

_NEWS = {
    EntryKind.EARN: "points.earned",
    EntryKind.REFERRAL: "points.earned",
    EntryKind.ACTIVATE: "points.activated",
    EntryKind.SPEND: "points.spent",
    EntryKind.RESTORE: "points.restored",
}


@dataclass(frozen=True)
class Verification:
    """What a check of all books found; `differences` is empty when every wallet holds."""

    wallets: int
    entries: int
    differences: list[Difference]


async def open_wallets(session: AsyncSession, *, keys: Collection[WalletKey], now: datetime) -> None:
    """Give members their empty wallets."""
    await queries.insert_wallets(session, keys, now=now)


async def open_book(session: AsyncSession, *, keys: Collection[WalletKey], now: datetime) -> Book:
    """Lock wallets, opening those that are not there, and return the book to decide on."""
    if not keys:
        return Book([], now=now)
    missing = set(keys) - await queries.find_wallets(session, keys)
    if missing:
        # Before any lock, and in order: who waits here for another's new wallet holds none of its own.
        await queries.insert_wallets(session, missing, now=now)
    wallets = await queries.lock_wallets(session, keys)
    return Book(wallets, now=now)


async def post(session: AsyncSession, book: Book) -> None:
    """Write everything that a book decided, and tell of it."""
    if not book.entries:
        return
    program_id = book.entries[0].wallet.program_id
    await queries.append_entries(session, book.entries)
    await queries.insert_lots(session, book.lots)
    await queries.append_takes(session, program_id=program_id, takes=book.takes)
    await queries.activate_lots(session, program_id=program_id, lots=book.activated)
    if await queries.update_wallets(session, book.moved) != len(book.moved):
        raise AssertionError("a wallet under lock was changed by another")
    await outbox.tell(session, program_id=program_id, events=[_news(entry) for entry in book.entries])


async def spend(session: AsyncSession, book: Book, *, key: WalletKey, points: int, source_id: UUID) -> Entry:
    """Decide a spend from the lots that expire first; raises NotEnoughPoints."""
    at = max(book.now, book.wallets[key].last_at)
    lots = await queries.list_spendable_lots(session, key, points=points, at=at)
    return book.spend(key, lots, points=points, source_id=source_id, occurred_at=book.now)


async def undo_spend(session: AsyncSession, book: Book, *, entry_id: UUID) -> Entry:
    """Decide the return of a spend's points into the very lots they came from; the caller sees that it is once."""
    program_id = next(iter(book.wallets)).program_id
    spent = (await queries.list_entries_by_id(session, program_id=program_id, entry_ids=[entry_id]))[entry_id]
    takes = await queries.list_takes(session, program_id=program_id, entry_id=entry_id)
    key = WalletKey(program_id, spent.member_id, spent.unit)
    return book.restore(key, takes, corrects_id=entry_id, source_id=spent.source_id, occurred_at=book.now)


async def sources_wallets(session: AsyncSession, *, program_id: UUID, source_id: UUID) -> list[WalletKey]:
    """Return the wallets in which a source (an order, a referral) has lots."""
    found = await queries.list_lots_of_source(session, program_id=program_id, source_id=source_id)
    return sorted({key for key, _ in found})


async def activate_source(
    session: AsyncSession, book: Book, *, program_id: UUID, source_id: UUID, occurred_at: datetime
) -> None:
    """Decide that a source's pending points become spendable; its wallets must be in the book."""
    found = await queries.list_lots_of_source(session, program_id=program_id, source_id=source_id)
    for key in sorted({key for key, _ in found}):
        own = [lot for owner, lot in found if owner == key]
        book.activate(key, own, source_id=source_id, occurred_at=occurred_at)


async def wallets(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> list[Wallet]:
    return await queries.list_wallets(session, program_id=program_id, member_ids=[member_id])


async def richest_member(session: AsyncSession, *, program_id: UUID, unit: str) -> UUID | None:
    """Return the member with the most spendable points."""
    return await queries.find_richest_member(session, program_id=program_id, unit=unit)


async def entries(session: AsyncSession, *, key: WalletKey, cursor: str | None, limit: int) -> Page[models.Entry]:
    """List a wallet's entries, newest first."""
    before = paging.last_number(cursor)
    rows = await queries.list_entries(session, key, before=before, limit=limit + 1)
    return paging.page(rows, limit=limit, key=lambda entry: str(entry.version))


async def entries_of(session: AsyncSession, *, program_id: UUID, source_id: UUID) -> list[models.Entry]:
    """Return the entries that a source (an order, a redemption, a referral) caused, oldest first."""
    return await queries.list_entries_of_source(session, program_id=program_id, source_id=source_id)


async def entries_by_id(
    session: AsyncSession, *, program_id: UUID, entry_ids: Collection[UUID]
) -> dict[UUID, models.Entry]:
    return await queries.list_entries_by_id(session, program_id=program_id, entry_ids=entry_ids)


async def verify(session: AsyncSession, *, program_id: UUID) -> Verification:
    """Prove a program's books: each wallet against its entries, lots, allocations and holds."""
    wallets, entries = await verification.count_wallets(session, program_id=program_id)
    return Verification(wallets, entries, await verification.list_differences(session, program_id=program_id))


def _news(entry: Entry) -> Event:
    return Event(
        _NEWS[entry.movement.kind],
        entry.id,
        occurred_at=entry.occurred_at,
        recorded_at=entry.recorded_at,
        member_id=entry.wallet.member_id,
        version=entry.version,
    )
