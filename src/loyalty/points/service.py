from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.points import hold_queries, lot_queries, queries, rules, verification
from loyalty.points.book import Book
from loyalty.points.errors import LotNotFound, MemberHasLiveHolds
from loyalty.points.postings import Entry, Lapse
from loyalty.points.rules import Account, EntryKind, Hold, Lot, Source, WalletKey
from loyalty.points.verification import Difference
from loyalty.programs.rules import Program

_NEWS = {
    EntryKind.EARN: "points.earned",
    EntryKind.REFERRAL: "points.earned",
    EntryKind.ACTIVATE: "points.activated",
    EntryKind.SPEND: "points.spent",
    EntryKind.RESTORE: "points.restored",
    EntryKind.EXPIRE: "points.expired",
    EntryKind.REINSTATE: "points.reinstated",
    EntryKind.EXTEND: "points.extended",
    EntryKind.HOLD: "points.held",
    EntryKind.CAPTURE: "points.captured",
    EntryKind.RELEASE: "points.released",
    EntryKind.REVERSE: "points.reversed",
    EntryKind.REPAY: "points.repaid",
    EntryKind.WRITE_OFF: "points.written_off",
    EntryKind.FORFEIT: "points.forfeited",
    EntryKind.ADJUST: "points.adjusted",
    EntryKind.TRANSFER: "points.transferred",
    EntryKind.MERGE: "points.merged",
}


@dataclass(frozen=True)
class Verification:
    """What a check of all books found; `differences` is empty when every wallet holds."""

    wallets: int
    entries: int
    differences: list[Difference]


async def open_wallets(session: AsyncSession, *, keys: Collection[WalletKey], now: datetime) -> None:
    """Give new members their empty wallets."""
    await queries.insert_wallets(session, keys, now=now)


async def open_book(session: AsyncSession, *, program: Program, keys: Collection[WalletKey], now: datetime) -> Book:
    """Lock wallets, opening those that are not there, settle what is due in them, and return the book to decide on."""
    if not keys:
        return Book([], now=now, rules=program.rules)
    found = await queries.lock_wallets(session, keys, if_all_there=True)
    if not found:
        # Before any lock, and in order: who waits here for another's new wallet holds none of its own.
        await queries.ensure_wallets(session, keys, now=now)
        found = await queries.lock_wallets(session, keys)
    book = Book(found, now=now, rules=program.rules)
    due = [wallet.key for wallet in found if wallet.is_due(max(now, wallet.last_at))]
    if not due:
        return book
    await _load_dated(session, book, due)
    await settle(session, book, due)
    await post(session, book)
    return Book(book.wallets.values(), now=now, rules=program.rules)


async def open_settled(session: AsyncSession, *, program: Program, keys: Collection[WalletKey], now: datetime) -> Book:
    """Lock wallets, and return the book of those that are there and in which nothing is due."""
    found = await queries.lock_wallets(session, keys) if keys else []
    settled = [wallet for wallet in found if not wallet.is_due(max(now, wallet.last_at))]
    return Book(settled, now=now, rules=program.rules)


async def load(session: AsyncSession, book: Book, keys: Collection[WalletKey]) -> None:
    """Let a book know all lots of these wallets that have points."""
    if keys:
        book.lots.know(await lot_queries.list_lots(session, keys))


async def know_due(session: AsyncSession, book: Book) -> None:
    """Let a book that moves along time know what may become due on its way."""
    if dated := [key for key, wallet in book.wallets.items() if wallet.next_due_at is not None]:
        await _load_dated(session, book, dated)
        for hold in await _load_live_holds(session, book, dated):
            book.live_holds.setdefault(hold.wallet, []).append(hold)


async def post(session: AsyncSession, book: Book) -> None:
    """Write everything that a book decided, and tell of it."""
    if not book.wallets:
        return
    program_id = next(iter(book.wallets)).program_id
    await queries.update_wallets(session, book.moved)
    await lot_queries.update_lots(session, book.lots.changed)
    await hold_queries.end_holds(session, book.ended_holds, program_id=program_id)
    await queries.append_entries(session, book.entries)
    await lot_queries.insert_lots(session, book.lots.new)
    await lot_queries.append_takes(session, program_id=program_id, takes=book.takes)
    await hold_queries.insert_holds(session, book.new_holds, now=book.now)
    await outbox.tell(session, program_id=program_id, events=[_news(entry) for entry in book.entries])


async def spend(
    session: AsyncSession,
    book: Book,
    *,
    key: WalletKey,
    points: int,
    source: Source,
    kind: EntryKind = EntryKind.SPEND,
    target: Account = Account.REDEEMED,
) -> Entry:
    """Decide a spend from the lots that expire first; raises NotEnoughPoints."""
    await load_spendable(session, book, {key: points})
    return book.spend(key, points=points, source=source, occurred_at=book.now, kind=kind, target=target)


async def get_lot(session: AsyncSession, *, program_id: UUID, lot_id: UUID) -> Lot:
    """Return one lot; raises LotNotFound."""
    found = await lot_queries.list_lots_by_id(session, program_id=program_id, lot_ids=[lot_id])
    if not found:
        raise LotNotFound
    return found[0]


async def lapses(session: AsyncSession, *, program_id: UUID, lot_id: UUID) -> list[Lapse]:
    """Return what has expired of a lot and was not given back since, oldest first."""
    return await lot_queries.list_lapses(session, program_id=program_id, lot_ids=[lot_id])


async def merge(
    session: AsyncSession, *, program: Program, giver: UUID, receiver: UUID, source: Source, now: datetime
) -> None:
    """Move everything in one member's wallets into another's. Raises MemberHasLiveHolds."""
    own = await queries.list_wallets(session, program_id=program.id, member_ids=[giver])
    pairs = [(wallet.key, WalletKey(program.id, receiver, wallet.key.unit)) for wallet in own]
    keys = [key for pair in pairs for key in pair]
    book = await open_book(session, program=program, keys=keys, now=now)
    if any(book.wallets[key].held for key, _ in pairs):
        raise MemberHasLiveHolds
    await load(session, book, keys)
    for key, into in pairs:
        book.merge(key, into, source=source)
    await post(session, book)


async def wallet_of(session: AsyncSession, *, program_id: UUID, entry_id: UUID) -> WalletKey:
    """Return the wallet that a spend was from; after a merge it is not the one of whoever holds the rest now."""
    takes = await lot_queries.list_takes(session, program_id=program_id, entry_id=entry_id)
    return (await get_lot(session, program_id=program_id, lot_id=takes[0].lot_id)).wallet


async def undo_spend(
    session: AsyncSession, book: Book, *, entry_id: UUID, source: Source, owner: UUID, part: tuple[int, int] | None
) -> Entry:
    """Decide the return of a spend's points into the very lots they came from; the caller sees that it is once.

    A part is so many points beyond so many that came back before, those of the newest lots first. Where the owner's
    wallet is another one since a merge, they go on into it.
    """
    program_id = next(iter(book.wallets)).program_id
    takes = await lot_queries.list_takes(session, program_id=program_id, entry_id=entry_id)
    if part is not None:
        points, before = part
        newest_first = sorted(takes, key=lambda take: take.lot_id, reverse=True)
        takes = list(rules.part_of(newest_first, after=before, points=points))
    lot_ids = [take.lot_id for take in takes]
    book.lots.know(await lot_queries.list_lots_by_id(session, program_id=program_id, lot_ids=lot_ids))
    key = book.lots.get(takes[0].lot_id).wallet
    restored = book.restore(key, takes, corrects_id=entry_id, source=source)
    if key.member_id != owner:
        await load(session, book, list(book.wallets))
        book.merge(key, WalletKey(program_id, owner, key.unit), source=source)
    return restored


async def settle_due(session: AsyncSession, *, program: Program, now: datetime, limit: int) -> int:
    """Do what time has caused in at most `limit` wallets of a program; return how many were looked at."""
    due = await queries.list_due_wallets(session, program_id=program.id, now=now, limit=limit)
    await open_book(session, program=program, keys=due, now=now)
    return len(due)


async def lock_due(session: AsyncSession, *, program_id: UUID, until: datetime, members: Collection[UUID]) -> None:
    """Lock every wallet in which something is due until an instant, and these members', in the order for wallets."""
    due = await queries.list_due_wallets(session, program_id=program_id, now=until, limit=None)
    own = await queries.list_wallets(session, program_id=program_id, member_ids=members) if members else []
    if keys := {*due, *(wallet.key for wallet in own)}:
        await queries.lock_wallets(session, keys)


async def next_due(session: AsyncSession, *, program_id: UUID) -> datetime | None:
    """Return before when nothing is due in any wallet of a program; null when nothing ever is."""
    return await queries.find_next_due(session, program_id=program_id)


async def _load_dated(session: AsyncSession, book: Book, keys: Collection[WalletKey]) -> None:
    """Let a book know all lots of these wallets that time may yet change, but for those that only a hold has."""
    book.lots.know(await lot_queries.list_dated_lots(session, keys))
    book.lots.know(await lot_queries.list_spent_idle_lots(session, keys))


async def settle(session: AsyncSession, book: Book, keys: Collection[WalletKey]) -> None:
    """Decide what time has caused in these wallets, whose dated lots the book knows."""
    holds = await _load_live_holds(session, book, keys)
    for key in keys:
        book.settle(key, [hold for hold in holds if hold.wallet == key])


async def _load_live_holds(session: AsyncSession, book: Book, keys: Collection[WalletKey]) -> list[Hold]:
    """Return the holds of these wallets that have not ended, their lots known to the book."""
    holds = await hold_queries.list_live_holds(session, keys)
    if lot_ids := {reservation.lot_id for hold in holds for reservation in hold.reservations}:
        program_id = next(iter(keys)).program_id
        book.lots.know(await lot_queries.list_lots_by_id(session, program_id=program_id, lot_ids=lot_ids))
    return holds


async def load_spendable(session: AsyncSession, book: Book, wanted: Mapping[WalletKey, int]) -> None:
    """Let a book know the lots that so many points of each of these wallets would be spent from."""
    if wanted:
        wallets = [book.wallets[key] for key in wanted]
        sought = [(wallet, wanted[wallet.key], max(book.now, wallet.last_at)) for wallet in wallets]
        book.lots.know(await lot_queries.list_spendable_lots(session, sought, zone=book.rules.zone))


async def richest_member(session: AsyncSession, *, program_id: UUID, unit: str) -> UUID | None:
    """Return the member with the most spendable points."""
    return await queries.find_richest_member(session, program_id=program_id, unit=unit)


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
