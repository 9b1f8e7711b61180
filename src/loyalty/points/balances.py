"""Wallets as they stand now: what is due is seen, but not written."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids, paging
from loyalty.core.paging import Page
from loyalty.points import lot_queries, queries
from loyalty.points.book import Book
from loyalty.points.postings import Entry
from loyalty.points.rules import Lot, Wallet, WalletKey
from loyalty.points.service import settle
from loyalty.points.shelf import expiring, starting
from loyalty.programs.rules import Program


@dataclass(frozen=True)
class View:
    """A wallet as it stands: which of its points expire when, and which become spendable when, the next first.

    `due` are the entries that time has caused and nobody has written yet, `lots` what they leave of those lots that
    have dates.
    """

    wallet: Wallet
    expiring: list[tuple[datetime, int]]
    starting: list[tuple[datetime, int]]
    lots: list[Lot]
    due: list[Entry]


async def wallets(session: AsyncSession, *, program: Program, member_id: UUID, now: datetime) -> list[View]:
    """Return a member's wallets as they stand now, with what is due but not yet written; nothing is written here."""
    return (await wallets_of(session, program=program, member_ids=[member_id], now=now))[member_id]


async def wallets_of(
    session: AsyncSession, *, program: Program, member_ids: Collection[UUID], now: datetime
) -> defaultdict[UUID, list[View]]:
    """Return members' wallets as they stand now, with what is due but not yet written; nothing is written here."""
    found = await queries.list_wallets(session, program_id=program.id, member_ids=member_ids)
    book = Book(found, now=now, rules=program.rules)
    if dated := [wallet.key for wallet in found if wallet.next_due_at is not None]:
        book.lots.know(await lot_queries.list_dated_lots(session, dated))
    if due := [wallet.key for wallet in found if wallet.is_due(max(now, wallet.last_at))]:
        await settle(session, book, due)
    zone = program.rules.zone
    caused: defaultdict[WalletKey, list[Entry]] = defaultdict(list)
    for entry in book.entries:
        caused[entry.wallet].append(entry)
    views: defaultdict[UUID, list[View]] = defaultdict(list)
    for key, wallet in book.wallets.items():
        lots = book.lots.of(key)
        views[key.member_id].append(View(wallet, expiring(lots, wallet, zone), starting(lots), lots, caused[key]))
    return views


async def lots(
    session: AsyncSession, *, program: Program, key: WalletKey, cursor: str | None, limit: int, now: datetime
) -> Page[tuple[Lot, datetime | None]]:
    """List a wallet's lots and when each ends as things stand now, spent ones included, the newest first."""
    before = paging.last_id(cursor)
    rows = await lot_queries.page_lots(session, key, before=before, limit=limit + 1)
    cut = paging.page(rows, limit=limit, key=lambda lot: ids.encode(lot.id))
    views = await wallets(session, program=program, member_id=key.member_id, now=now)
    view = next((view for view in views if view.wallet.key == key), None)
    if view is None:
        return Page([], cut.has_more, cut.next_cursor)
    settled = {lot.id: lot for lot in view.lots}
    shown = [settled.get(lot.id, lot) for lot in cut.data]
    return Page([(lot, lot.ends_at(view.wallet, program.rules.zone)) for lot in shown], cut.has_more, cut.next_cursor)
