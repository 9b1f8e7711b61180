from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, literal, select, text
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.books import models
from loyalty.core import ids
from loyalty.points import models as points

_WALLET = "('pending', 'available', 'held', 'debt')"


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
    found = await session.execute(
        text(
            f"""
            SELECT date_trunc('month', recorded_at AT TIME ZONE :zone)::date AS month,
                CASE WHEN to_account IN {_WALLET} THEN from_account ELSE to_account END AS account,
                sum(CASE WHEN to_account IN {_WALLET} THEN points ELSE -points END)::bigint
            FROM entries
            WHERE program_id = :program_id AND unit = :unit
                AND (to_account IN {_WALLET}) <> (from_account IN {_WALLET})
            GROUP BY 1, 2 ORDER BY 1, 2
            """  # noqa: S608 -- a constant of ours
        ),
        {"program_id": program_id, "unit": unit, "zone": zone},
    )
    return [(row[0], row[1], row[2]) for row in found]


async def sum_by_cohort(
    session: AsyncSession, *, program_id: UUID, unit: str, zone: str
) -> list[tuple[date, str, int]]:
    """Return what was put into and taken out of lots: by local month of earning and counter-account."""
    found = await session.execute(
        text(
            f"""
            WITH touched AS (
                SELECT lot.earned_at, lot.entry_id, lot.granted AS points FROM lots AS lot
                WHERE lot.program_id = :program_id AND lot.unit = :unit
                UNION ALL
                SELECT lot.earned_at, allocation.entry_id, allocation.points FROM allocations AS allocation
                JOIN lots AS lot ON lot.program_id = :program_id AND lot.id = allocation.lot_id
                WHERE allocation.program_id = :program_id AND lot.unit = :unit
            )
            SELECT date_trunc('month', t.earned_at AT TIME ZONE :zone)::date AS month,
                CASE WHEN e.to_account = 'debt' THEN 'debt' WHEN e.to_account IN {_WALLET} THEN e.from_account
                    ELSE e.to_account END AS account,
                sum(t.points)::bigint
            FROM touched AS t JOIN entries AS e ON e.program_id = :program_id AND e.id = t.entry_id
            GROUP BY 1, 2 ORDER BY 1, 2
            """  # noqa: S608 -- a constant of ours
        ),
        {"program_id": program_id, "unit": unit, "zone": zone},
    )
    return [(row[0], row[1], row[2]) for row in found]


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
