"""The SQL of opening balances, and what tells the entries that count for themselves."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids
from loyalty.core.rows import fetch
from loyalty.points import models
from loyalty.points.rules import WalletKey

FLOOR: Final = """coalesce(
    (SELECT floor FROM ledger_openings WHERE program_id = :program_id), '00000000-0000-0000-0000-000000000000'::uuid
)"""
"""The least id of a program's entries that no opening stands for."""


async def find(session: AsyncSession, *, program_id: UUID) -> models.LedgerOpening | None:
    """Return a program's opening as it is now, even where it was asked for before in the session."""
    return await session.get(models.LedgerOpening, program_id, populate_existing=True)


async def find_of_wallet(session: AsyncSession, key: WalletKey) -> models.WalletOpening | None:
    return await session.get(models.WalletOpening, (key.program_id, key.member_id, key.unit))


async def lock(session: AsyncSession, *, program_id: UUID) -> None:
    """Let one at a time move a program's opening on."""
    await fetch(session, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"opening of {program_id}")


async def count_straddling(session: AsyncSession, *, program_id: UUID, until: datetime) -> int:
    """Count the wallets in which an entry written before an instant follows one that was written later."""
    found = await session.execute(text(_STRADDLING), {"program_id": program_id, "until": ids.floor(until)})
    return int(found.scalar_one())


async def fold(session: AsyncSession, *, program_id: UUID, until: datetime) -> int:
    """Add up the entries written since the opening and before an instant; return how many there are."""
    values = {"program_id": program_id, "until": ids.floor(until)}
    counted = await session.execute(text(_COUNT), values)
    for statement in (_FOLD_WALLETS, _FOLD_LAPSES, _FOLD_REINSTATED, _DROP_REINSTATED):
        await session.execute(text(statement), values)
    return int(counted.scalar_one())


async def write(session: AsyncSession, opening: models.LedgerOpening) -> None:
    """Move a program's opening to where it is now."""
    await session.merge(opening)
    await session.flush()


async def stream(session: AsyncSession, *, program_id: UUID, until: datetime) -> AsyncIterator[tuple[Any, ...]]:
    """Yield all that stands for entries written before an instant, and the lots and allocations that these made."""
    for statement in (_WALLETS, _LAPSES, _LOTS, _ALLOCATIONS):
        async for row in await session.stream(text(statement), {"program_id": program_id, "until": ids.floor(until)}):
            yield tuple(row)


_OLD: Final = f"program_id = :program_id AND id >= {FLOOR} AND id < :until"
_COUNT: Final = f"SELECT count(*) FROM entries WHERE {_OLD}"  # noqa: S608 -- constants of ours, here and below


def _net(account: str) -> str:
    return f"sum(CASE '{account}' WHEN to_account THEN points WHEN from_account THEN -points ELSE 0 END)"


_STRADDLING: Final = f"""
SELECT count(*) FROM (
    SELECT member_id, unit, count(*) AS entries, max(version) AS version FROM entries WHERE {_OLD}
    GROUP BY member_id, unit
) AS part
LEFT JOIN wallet_openings AS opening ON opening.program_id = :program_id
    AND opening.member_id = part.member_id AND opening.unit = part.unit
WHERE part.version <> part.entries + coalesce(opening.version, 0)
"""  # noqa: S608
_FOLD_WALLETS: Final = f"""
INSERT INTO wallet_openings (program_id, member_id, unit, version, pending, available, held, debt)
SELECT :program_id, member_id, unit, sum(version), sum(pending), sum(available), sum(held), sum(debt) FROM (
    SELECT member_id, unit, version, pending, available, held, debt FROM wallet_openings
    WHERE program_id = :program_id
    UNION ALL
    SELECT member_id, unit, count(*), {_net("pending")}, {_net("available")}, {_net("held")}, -{_net("debt")}
    FROM entries WHERE {_OLD} GROUP BY member_id, unit
) AS part GROUP BY member_id, unit
ON CONFLICT (program_id, member_id, unit) DO UPDATE SET version = excluded.version, pending = excluded.pending,
    available = excluded.available, held = excluded.held, debt = excluded.debt
WHERE wallet_openings.version <> excluded.version
"""  # noqa: S608
_FOLD_LAPSES: Final = f"""
INSERT INTO lapse_openings (program_id, entry_id, lot_id, points)
SELECT :program_id, expired.id, allocation.lot_id, expired.points
FROM (SELECT id, points FROM entries WHERE {_OLD} AND kind = 'expire') AS expired
JOIN allocations AS allocation ON allocation.program_id = :program_id AND allocation.entry_id = expired.id
"""  # noqa: S608
_FOLD_REINSTATED: Final = f"""
UPDATE lapse_openings SET points = lapse_openings.points - back.points FROM (
    SELECT corrects_id, sum(points) AS points FROM entries WHERE {_OLD} AND kind = 'reinstate' GROUP BY corrects_id
) AS back
WHERE lapse_openings.program_id = :program_id AND lapse_openings.entry_id = back.corrects_id
"""  # noqa: S608
_DROP_REINSTATED: Final = "DELETE FROM lapse_openings WHERE program_id = :program_id AND points = 0"

_WALLETS: Final = """
SELECT 'wallet', member_id, unit, version, pending, available, held, debt FROM wallet_openings
WHERE program_id = :program_id ORDER BY member_id, unit COLLATE "C"
"""
_LAPSES: Final = """
SELECT 'lapse', entry_id, lot_id, points FROM lapse_openings WHERE program_id = :program_id ORDER BY entry_id
"""
_LOTS: Final = """
SELECT 'lot', id, entry_id, member_id, unit, granted FROM lots
WHERE program_id = :program_id AND entry_id < :until ORDER BY id
"""
_ALLOCATIONS: Final = """
SELECT 'allocation', entry_id, lot_id, points FROM allocations
WHERE program_id = :program_id AND entry_id < :until ORDER BY entry_id, lot_id
"""
