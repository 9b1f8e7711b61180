"""Opening balances: what stands for entries that are taken off, so that the rest still prove every wallet."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids
from loyalty.points import models, opening_queries
from loyalty.points.errors import EntriesStraddle
from loyalty.points.rules import WalletKey


async def find(session: AsyncSession, *, program_id: UUID) -> models.LedgerOpening | None:
    """Return up to when a program's entries are stood for, None if all count for themselves."""
    return await opening_queries.find(session, program_id=program_id)


async def of_wallet(session: AsyncSession, key: WalletKey) -> models.WalletOpening | None:
    """Return what stands for a wallet's first entries, None if all of them are there."""
    return await opening_queries.find_of_wallet(session, key)


async def lock(session: AsyncSession, *, program_id: UUID) -> models.LedgerOpening | None:
    """Let nobody else move a program's opening on in this transaction; return it as it is."""
    await opening_queries.lock(session, program_id=program_id)
    return await opening_queries.find(session, program_id=program_id)


async def fold(session: AsyncSession, *, program_id: UUID, until: datetime) -> int:
    """Let openings of wallets and lapses stand for all entries written before an instant; return how many joined.

    They count for themselves until `write`. Raises EntriesStraddle.
    """
    if wallets := await opening_queries.count_straddling(session, program_id=program_id, until=until):
        raise EntriesStraddle(wallets=wallets)
    return await opening_queries.fold(session, program_id=program_id, until=until)


async def write(
    session: AsyncSession, *, program_id: UUID, until: datetime, entries: int, digest: bytes, now: datetime
) -> None:
    """Say from when on entries count for themselves; the openings must stand for all before."""
    opening = models.LedgerOpening(
        program_id=program_id,
        until=until,
        floor=ids.floor(until),
        entries=entries,
        digest=digest,
        opened_at=now,
    )
    await opening_queries.write(session, opening)


def rows(session: AsyncSession, *, program_id: UUID, until: datetime) -> AsyncIterator[tuple[Any, ...]]:
    """Yield all that stands for a program's entries, and what these did to lots, always in the same order."""
    return opening_queries.stream(session, program_id=program_id, until=until)
