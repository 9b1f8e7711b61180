from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, literal, select, text
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.books import models
from loyalty.core import ids
from loyalty.points import models as points
from loyalty.points.opening_queries import FLOOR

_WALLET: Final = "('pending', 'available', 'held', 'debt')"


async def find_last_seal(session: AsyncSession, *, program_id: UUID) -> models.LedgerSeal | None:
    seal = models.LedgerSeal
    query = select(seal).where(seal.program_id == program_id).order_by(seal.until.desc()).limit(1)
    return (await session.execute(query)).scalar_one_or_none()


async def list_seals(
    session: AsyncSession, *, program_id: UUID, after: datetime | None, limit: int
) -> list[models.LedgerSeal]:
    """Return seals, oldest first."""
    seal = models.LedgerSeal
    query = select(seal).where(seal.program_id == program_id)
    if after is not None:
        query = query.where(seal.until > after)
    return list((await session.execute(query.order_by(seal.until).limit(limit))).scalars())


async def insert_seal(session: AsyncSession, seal: models.LedgerSeal) -> None:
    """Add a seal; one that another worker has made meanwhile makes this raise."""
    session.add(seal)
    await session.flush()


async def find_seal(session: AsyncSession, *, program_id: UUID, until: datetime) -> models.LedgerSeal | None:
    return await session.get(models.LedgerSeal, (program_id, until))


async def find_first_entry(session: AsyncSession, *, program_id: UUID) -> UUID | None:
    entry = points.Entry
    query = select(entry.id).where(entry.program_id == program_id).order_by(entry.id).limit(1)
    return (await session.execute(query)).scalar_one_or_none()


async def stream_entries(
    session: AsyncSession, *, program_id: UUID, since: datetime, until: datetime
) -> AsyncIterator[tuple[Any, ...]]:
    """Yield the entries whose ids were made in a period, in order of id, each with its allocations in order of lot."""
    entry, allocation = points.Entry, points.Allocation
    taken = (
        select(
            func.string_agg(
                func.concat(allocation.lot_id, ":", allocation.points),
                aggregate_order_by(literal(","), allocation.lot_id),
            )
        )
        .where(allocation.program_id == program_id, allocation.entry_id == entry.id)
        .scalar_subquery()
    )
    columns = (
        entry.id, entry.member_id, entry.unit, entry.version, entry.kind, entry.from_account, entry.to_account,
        entry.points, entry.balance_after, entry.available_after, entry.source_type, entry.source_id,
        entry.corrects_id, entry.occurred_at, entry.recorded_at, taken,
    )  # fmt: skip
    found = await session.stream(
        select(*columns)
        .where(entry.program_id == program_id, entry.id >= ids.floor(since), entry.id < ids.floor(until))
        .order_by(entry.id)
    )
    async for row in found:
        yield tuple(row)


async def sum_by_month(session: AsyncSession, *, program_id: UUID, unit: str, zone: str) -> list[tuple[date, str, int]]:
    """Return what moved into (above zero) and out of wallets: by local month of recording and counter-account."""
    return await _sum(session, _BY_MONTH, "month_openings", program_id=program_id, unit=unit, zone=zone)


async def sum_by_cohort(
    session: AsyncSession, *, program_id: UUID, unit: str, zone: str
) -> list[tuple[date, str, int]]:
    """Return what was put into and taken out of lots: by local month of earning and counter-account."""
    return await _sum(session, _BY_COHORT, "cohort_openings", program_id=program_id, unit=unit, zone=zone)


async def _sum(
    session: AsyncSession, moved: str, opened: str, *, program_id: UUID, unit: str, zone: str
) -> list[tuple[date, str, int]]:
    found = await session.execute(
        text(
            f"""
            SELECT month, account, sum(points)::bigint FROM (
                SELECT unit, month, account, points FROM ({moved}) AS moved
                UNION ALL
                SELECT unit, month, account, points FROM {opened} WHERE program_id = :program_id
            ) AS part WHERE unit = :unit GROUP BY 1, 2 ORDER BY 1, 2
            """  # noqa: S608 -- constants of ours
        ),
        {"program_id": program_id, "unit": unit, "zone": zone, "until": _LAST},
    )
    return [(row[0], row[1], row[2]) for row in found]


async def fold_months(session: AsyncSession, *, program_id: UUID, zone: str, until: datetime) -> None:
    """Let openings of months and cohorts stand for the entries written since the opening and before an instant."""
    for moved, opened in ((_BY_MONTH, "month_openings"), (_BY_COHORT, "cohort_openings")):
        await session.execute(
            text(
                f"""
                INSERT INTO {opened} AS opened (program_id, unit, month, account, points)
                SELECT :program_id, unit, month, account, points FROM ({moved}) AS moved
                ON CONFLICT (program_id, unit, month, account) DO UPDATE SET points = opened.points + excluded.points
                """  # noqa: S608 -- constants of ours
            ),
            {"program_id": program_id, "zone": zone, "until": ids.floor(until)},
        )


async def stream_month_openings(session: AsyncSession, *, program_id: UUID) -> AsyncIterator[tuple[Any, ...]]:
    """Yield all rows of a program's opened months and cohorts, in order of their keys."""
    for opened in ("month_openings", "cohort_openings"):
        query = f"""
            SELECT '{opened}', unit, month, account, points FROM {opened} WHERE program_id = :program_id
            ORDER BY unit COLLATE "C", month, account COLLATE "C"
        """  # noqa: S608 -- constants of ours
        async for row in await session.stream(text(query), {"program_id": program_id}):
            yield tuple(row)


_LAST: Final = UUID(int=(1 << 128) - 1)
_BY_MONTH: Final = f"""
SELECT unit, date_trunc('month', recorded_at AT TIME ZONE :zone)::date AS month,
    CASE WHEN to_account IN {_WALLET} THEN from_account ELSE to_account END AS account,
    sum(CASE WHEN to_account IN {_WALLET} THEN points ELSE -points END) AS points
FROM entries
WHERE program_id = :program_id AND id >= {FLOOR} AND id < :until
    AND (to_account IN {_WALLET}) <> (from_account IN {_WALLET})
GROUP BY 1, 2, 3
"""  # noqa: S608 -- constants of ours
_BY_COHORT: Final = f"""
SELECT t.unit, date_trunc('month', t.earned_at AT TIME ZONE :zone)::date AS month,
    CASE WHEN e.to_account = 'debt' THEN 'debt' WHEN e.to_account IN {_WALLET} THEN e.from_account
        ELSE e.to_account END AS account,
    sum(t.points) AS points
FROM (
    SELECT unit, earned_at, entry_id, granted AS points FROM lots WHERE program_id = :program_id
    UNION ALL
    SELECT lot.unit, lot.earned_at, allocation.entry_id, allocation.points FROM allocations AS allocation
    JOIN lots AS lot ON lot.program_id = :program_id AND lot.id = allocation.lot_id
    WHERE allocation.program_id = :program_id
) AS t
JOIN entries AS e ON e.program_id = :program_id AND e.id = t.entry_id
WHERE e.id >= {FLOOR} AND e.id < :until
GROUP BY 1, 2, 3
"""  # noqa: S608 -- constants of ours


async def sum_wallets(session: AsyncSession, *, program_id: UUID, unit: str) -> tuple[int, int]:
    """Return what all wallets of a unit hold, and what is owed to the program."""
    wallet = points.Wallet
    held = func.coalesce(func.sum(wallet.pending + wallet.available + wallet.held), 0)
    found = await session.execute(
        select(held, func.coalesce(func.sum(wallet.debt), 0)).where(
            wallet.program_id == program_id, wallet.unit == unit
        )
    )
    row = found.one()
    return int(row[0]), int(row[1])


async def sum_lots(session: AsyncSession, *, program_id: UUID, unit: str) -> int:
    """Return what remains in all lots of a unit."""
    lot = points.Lot
    query = select(func.coalesce(func.sum(lot.remaining), 0)).where(lot.program_id == program_id, lot.unit == unit)
    return int((await session.execute(query)).scalar_one())
