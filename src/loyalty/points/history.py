"""What is in the books, as it is read again."""

from collections import defaultdict
from collections.abc import Collection
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import paging
from loyalty.core.paging import Page
from loyalty.points import models, queries
from loyalty.points.rules import EntryKind, Source, SourceKind, WalletKey

_SOURCES = {
    EntryKind.EARN: SourceKind.ORDER,
    EntryKind.ACTIVATE: SourceKind.ORDER,
    EntryKind.REFERRAL: SourceKind.REFERRAL,
    EntryKind.SPEND: SourceKind.REDEMPTION,
    EntryKind.RESTORE: SourceKind.REDEMPTION,
}
"""What the first entries stood for, which did not say so themselves."""


async def entries(session: AsyncSession, *, key: WalletKey, cursor: str | None, limit: int) -> Page[models.Entry]:
    """List a wallet's entries since its program's opening, newest first."""
    before = paging.last_number(cursor)
    rows = await queries.list_entries(session, key, before=before, limit=limit + 1)
    return paging.page(rows, limit=limit, key=lambda entry: str(entry.version))


async def entries_of(
    session: AsyncSession, *, program_id: UUID, source_ids: Collection[UUID]
) -> defaultdict[UUID, list[models.Entry]]:
    """Return the entries that each source (an order, a redemption, a referral) caused, oldest first.

    Those of detached months are not among them.
    """
    found: defaultdict[UUID, list[models.Entry]] = defaultdict(list)
    for entry in await queries.list_entries_of_sources(session, program_id=program_id, source_ids=source_ids):
        found[entry.source_id].append(entry)
    return found


async def entries_by_id(
    session: AsyncSession, *, program_id: UUID, entry_ids: Collection[UUID]
) -> dict[UUID, models.Entry]:
    return await queries.list_entries_by_id(session, program_id=program_id, entry_ids=entry_ids)


def source_of(entry: models.Entry) -> Source:
    """Return what an entry stands for."""
    kind = SourceKind(entry.source_type) if entry.source_type else _SOURCES[EntryKind(entry.kind)]
    return Source(kind, entry.source_id)
