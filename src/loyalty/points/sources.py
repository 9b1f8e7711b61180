"""What a source (an order, a referral) has made: its lots, in whatever wallet they are."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.points import lot_queries
from loyalty.points.book import Book
from loyalty.points.rules import Source, WalletKey


async def load(session: AsyncSession, book: Book, *, source_id: UUID) -> None:
    """Let a book know all lots that a source has made, in whatever wallet, and what expired of them."""
    program_id = next(iter(book.wallets)).program_id
    found = await lot_queries.list_lots_of_source(session, program_id=program_id, source_id=source_id)
    book.lots.know(found)
    if any(lot.expires_at is not None for lot in found):
        expired = await lot_queries.list_lapses(session, program_id=program_id, lot_ids=[lot.id for lot in found])
        book.lapses.update((lapse.entry_id, lapse) for lapse in expired)


async def wallets(session: AsyncSession, *, program_id: UUID, source_id: UUID) -> list[WalletKey]:
    """Return the wallets in which a source (an order, a referral) has lots."""
    found = await lot_queries.list_lots_of_source(session, program_id=program_id, source_id=source_id)
    return sorted({lot.wallet for lot in found})


async def earned_in(
    session: AsyncSession, *, program_id: UUID, source_id: UUID, entry_ids: Collection[UUID]
) -> set[WalletKey]:
    """Return the wallets into which a source has earned by these entries; after a merge not its owner's alone."""
    found = await lot_queries.list_lots_of_source(session, program_id=program_id, source_id=source_id)
    return {lot.wallet for lot in found if lot.entry_id in entry_ids}


async def activate(
    session: AsyncSession,
    book: Book,
    *,
    source: Source,
    occurred_at: datetime,
    at: datetime | None = None,
) -> None:
    """Decide that a source's points that wait for an event become spendable, now or `at` an instant.

    Its wallets must be in the book.
    """
    if not book.wallets:
        return
    program_id = next(iter(book.wallets)).program_id
    found = await lot_queries.list_lots_of_source(session, program_id=program_id, source_id=source.id)
    book.lots.know(found)
    for key in sorted({lot.wallet for lot in found}):
        if at is None or at <= book.now:
            book.activate(key, source=source, occurred_at=occurred_at, begins_at=at)
        else:
            book.schedule(key, source=source, activates_at=at)
