from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, DateTime, Text, Uuid, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.db import insert_rows
from loyalty.points import models
from loyalty.points.book import Entry, NewLot
from loyalty.points.rules import Lot, Take, Wallet, WalletKey


async def insert_wallets(session: AsyncSession, keys: Collection[WalletKey], *, now: datetime) -> None:
    """Open empty wallets; one that exists stays as it is."""
    await session.execute(
        insert(models.Wallet)
        .values(
            [
                {
                    "program_id": key.program_id,
                    "member_id": key.member_id,
                    "unit": key.unit,
                    "pending": 0,
                    "available": 0,
                    "held": 0,
                    "debt": 0,
                    "version": 0,
                    "last_at": now,
                }
                for key in sorted(keys)
            ]
        )
        .on_conflict_do_nothing()
    )


async def lock_wallets(session: AsyncSession, keys: Collection[WalletKey]) -> list[Wallet]:
    """Lock wallets of one program, always in order of member and unit, so that two books never wait for each other."""
    wallet = models.Wallet
    wanted = set(keys)
    found = await session.execute(
        select(*_WALLET_COLUMNS)
        .where(
            wallet.program_id == next(iter(wanted)).program_id,
            wallet.member_id.in_({key.member_id for key in wanted}),
            wallet.unit.in_({key.unit for key in wanted}),
        )
        .order_by(wallet.member_id, wallet.unit)
        .with_for_update()
    )
    wallets = [_wallet(row) for row in found]
    return [wallet for wallet in wallets if wallet.key in wanted]


async def list_wallets(session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]) -> list[Wallet]:
    wallet = models.Wallet
    found = await session.execute(
        select(*_WALLET_COLUMNS)
        .where(wallet.program_id == program_id, wallet.member_id.in_(list(member_ids)))
        .order_by(wallet.member_id, wallet.unit)
    )
    return [_wallet(row) for row in found]


async def find_richest_member(session: AsyncSession, *, program_id: UUID, unit: str) -> UUID | None:
    wallet = models.Wallet
    found = await session.execute(
        select(wallet.member_id)
        .where(wallet.program_id == program_id, wallet.unit == unit)
        .order_by(wallet.available.desc(), wallet.member_id)
        .limit(1)
    )
    return found.scalar_one_or_none()


async def list_spendable_lots(session: AsyncSession, key: WalletKey, *, points: int, at: datetime) -> list[Lot]:
    """Return the first-expiring lots that together cover `points`, or all there are."""
    lot = models.Lot
    free = lot.remaining - lot.reserved
    before = func.sum(free).over(order_by=(lot.expires_at.asc().nulls_last(), lot.id)) - free
    candidates = (
        select(*_LOT_COLUMNS, before.label("before"))
        .where(*_of(lot, key), lot.remaining > 0, lot.activated_at.is_not(None))
        .where(lot.expires_at.is_(None) | (lot.expires_at > at))
        .subquery()
    )
    found = await session.execute(select(candidates).where(candidates.c.before < points))
    return [Lot(*row[:5]) for row in found]


async def list_lots_of_source(
    session: AsyncSession, *, program_id: UUID, source_id: UUID
) -> list[tuple[WalletKey, Lot]]:
    lot = models.Lot
    found = await session.execute(
        select(*_LOT_COLUMNS, lot.member_id, lot.unit)
        .where(lot.program_id == program_id, lot.source_id == source_id)
        .order_by(lot.id)
    )
    return [(WalletKey(program_id, row[5], row[6]), Lot(*row[:5])) for row in found]


async def list_takes(session: AsyncSession, *, program_id: UUID, entry_id: UUID) -> list[Take]:
    allocation = models.Allocation
    found = await session.execute(
        select(allocation.lot_id, allocation.points)
        .where(allocation.program_id == program_id, allocation.entry_id == entry_id)
        .order_by(allocation.lot_id)
    )
    return [Take(*row) for row in found]


async def append_entries(session: AsyncSession, entries: Sequence[Entry]) -> None:
    await insert_rows(
        session,
        models.Entry,
        [
            {
                "program_id": entry.wallet.program_id,
                "id": entry.id,
                "member_id": entry.wallet.member_id,
                "unit": entry.wallet.unit,
                "version": entry.version,
                "kind": str(entry.movement.kind),
                "from_account": str(entry.movement.source),
                "to_account": str(entry.movement.target),
                "points": entry.movement.points,
                "balance_after": entry.balance_after,
                "available_after": entry.available_after,
                "source_id": entry.source_id,
                "corrects_id": entry.corrects_id,
                "occurred_at": entry.occurred_at,
                "recorded_at": entry.recorded_at,
            }
            for entry in entries
        ],
    )


async def insert_lots(session: AsyncSession, lots: Sequence[NewLot]) -> None:
    await insert_rows(
        session,
        models.Lot,
        [
            {
                "program_id": lot.wallet.program_id,
                "id": lot.id,
                "member_id": lot.wallet.member_id,
                "unit": lot.wallet.unit,
                "entry_id": lot.entry_id,
                "source_id": lot.source_id,
                "granted": lot.points,
                "remaining": lot.points,
                "reserved": 0,
                "earned_at": lot.earned_at,
                "activated_at": lot.activated_at,
                "expires_at": lot.expires_at,
            }
            for lot in lots
        ],
    )


async def append_takes(session: AsyncSession, *, program_id: UUID, takes: Sequence[tuple[UUID, Take]]) -> None:
    """Record which lots the entries touched, and change what remains in them."""
    if not takes:
        return
    await insert_rows(
        session,
        models.Allocation,
        [
            {"program_id": program_id, "entry_id": entry_id, "lot_id": take.lot_id, "points": take.points}
            for entry_id, take in takes
        ],
    )
    totals: dict[UUID, int] = {}
    for _, take in takes:
        totals[take.lot_id] = totals.get(take.lot_id, 0) + take.points
    await session.execute(
        text(
            """
            UPDATE lots SET remaining = lots.remaining + change.points
            FROM unnest(:lot_ids, :points) AS change (lot_id, points)
            WHERE lots.program_id = :program_id AND lots.id = change.lot_id
            """
        ).bindparams(bindparam("lot_ids", type_=ARRAY(Uuid())), bindparam("points", type_=ARRAY(BigInteger()))),
        {"program_id": program_id, "lot_ids": list(totals), "points": list(totals.values())},
    )


async def activate_lots(session: AsyncSession, *, program_id: UUID, lots: Sequence[tuple[UUID, datetime]]) -> None:
    if not lots:
        return
    await session.execute(
        text(
            """
            UPDATE lots SET activated_at = change.at
            FROM unnest(:lot_ids, :instants) AS change (lot_id, at)
            WHERE lots.program_id = :program_id AND lots.id = change.lot_id
            """
        ).bindparams(
            bindparam("lot_ids", type_=ARRAY(Uuid())), bindparam("instants", type_=ARRAY(DateTime(timezone=True)))
        ),
        {"program_id": program_id, "lot_ids": [lot for lot, _ in lots], "instants": [at for _, at in lots]},
    )


async def update_wallets(session: AsyncSession, moved: Sequence[tuple[Wallet, Wallet]]) -> int:
    """Write balances, each only over the version it was decided on; return how many were written."""
    if not moved:
        return 0
    wallets = [after for _, after in moved]
    result = await session.execute(
        text(
            """
            UPDATE wallets SET pending = new.pending, available = new.available, held = new.held, debt = new.debt,
                version = new.version, last_at = new.last_at
            FROM unnest(:member_ids, :units, :were, :pending, :available, :held, :debt, :versions, :last_at)
                AS new (member_id, unit, was, pending, available, held, debt, version, last_at)
            WHERE wallets.program_id = :program_id AND wallets.member_id = new.member_id AND wallets.unit = new.unit
                AND wallets.version = new.was
            RETURNING 1
            """
        ).bindparams(
            bindparam("member_ids", type_=ARRAY(Uuid())),
            bindparam("units", type_=ARRAY(Text())),
            bindparam("last_at", type_=ARRAY(DateTime(timezone=True))),
            *(
                bindparam(name, type_=ARRAY(BigInteger()))
                for name in ("were", "pending", "available", "held", "debt", "versions")
            ),
        ),
        {
            "program_id": wallets[0].key.program_id,
            "member_ids": [wallet.key.member_id for wallet in wallets],
            "units": [wallet.key.unit for wallet in wallets],
            "were": [before.version for before, _ in moved],
            "pending": [wallet.pending for wallet in wallets],
            "available": [wallet.available for wallet in wallets],
            "held": [wallet.held for wallet in wallets],
            "debt": [wallet.debt for wallet in wallets],
            "versions": [wallet.version for wallet in wallets],
            "last_at": [wallet.last_at for wallet in wallets],
        },
    )
    return len(result.all())


async def list_entries(session: AsyncSession, key: WalletKey, *, before: int | None, limit: int) -> list[models.Entry]:
    """Return a wallet's entries, newest first, below a version."""
    entry = models.Entry
    query = select(entry).where(*_of(entry, key))
    if before is not None:
        query = query.where(entry.version < before)
    return list((await session.execute(query.order_by(entry.version.desc()).limit(limit))).scalars())


async def list_entries_of_source(session: AsyncSession, *, program_id: UUID, source_id: UUID) -> list[models.Entry]:
    entry = models.Entry
    found = await session.execute(
        select(entry).where(entry.program_id == program_id, entry.source_id == source_id).order_by(entry.id)
    )
    return list(found.scalars())


async def list_entries_by_id(
    session: AsyncSession, *, program_id: UUID, entry_ids: Collection[UUID]
) -> dict[UUID, models.Entry]:
    entry = models.Entry
    found = await session.execute(select(entry).where(entry.program_id == program_id, entry.id.in_(list(entry_ids))))
    return {row.id: row for row in found.scalars()}


@dataclass(frozen=True)
class Difference:
    """Two figures of one wallet that should be equal and are not."""

    member_id: UUID
    unit: str
    check: str
    expected: int
    found: int


async def list_differences(session: AsyncSession, *, program_id: UUID) -> list[Difference]:
    """Compare every wallet of a program with its entries, lots, allocations and holds; return what does not agree."""
    # Right after a bulk load the planner knows nothing of the tables and would loop over them for minutes.
    await session.execute(text("SET LOCAL enable_nestloop = off"))
    found = await session.execute(text(_VERIFY), {"program_id": program_id})
    return [Difference(*row) for row in found]


async def count_wallets(session: AsyncSession, *, program_id: UUID) -> tuple[int, int]:
    """Return how many wallets and entries a program has."""
    wallets = select(func.count()).select_from(models.Wallet).where(models.Wallet.program_id == program_id)
    entries = select(func.count()).select_from(models.Entry).where(models.Entry.program_id == program_id)
    row = (await session.execute(select(wallets.scalar_subquery(), entries.scalar_subquery()))).one()
    return row[0], row[1]


_VERIFY = """
WITH postings AS (
    SELECT member_id, unit, to_account AS account, points FROM entries WHERE program_id = :program_id
    UNION ALL
    SELECT member_id, unit, from_account, -points FROM entries WHERE program_id = :program_id
), accounts AS (
    SELECT member_id, unit,
        coalesce(sum(points) FILTER (WHERE account = 'pending'), 0) AS pending,
        coalesce(sum(points) FILTER (WHERE account = 'available'), 0) AS available,
        coalesce(sum(points) FILTER (WHERE account = 'held'), 0) AS held,
        -coalesce(sum(points) FILTER (WHERE account = 'debt'), 0) AS debt
    FROM postings GROUP BY member_id, unit
), chain AS (
    SELECT member_id, unit, count(*) AS entries, max(version) AS version,
        count(*) FILTER (WHERE version <> position OR balance_after <> running) AS broken
    FROM (
        SELECT member_id, unit, version, balance_after,
            row_number() OVER own AS position,
            sum(
                (CASE WHEN to_account IN ('pending', 'available', 'held', 'debt') THEN points ELSE 0 END)
                - (CASE WHEN from_account IN ('pending', 'available', 'held', 'debt') THEN points ELSE 0 END)
            ) OVER own AS running
        FROM entries WHERE program_id = :program_id
        WINDOW own AS (PARTITION BY member_id, unit ORDER BY version)
    ) AS numbered
    GROUP BY member_id, unit
), taken AS (
    SELECT lot_id, sum(points) AS points FROM allocations WHERE program_id = :program_id GROUP BY lot_id
), reserved AS (
    SELECT r.lot_id, sum(r.points) AS points FROM hold_reservations AS r
    JOIN holds AS h ON h.program_id = r.program_id AND h.id = r.hold_id
    WHERE r.program_id = :program_id AND h.program_id = :program_id AND h.ended_at IS NULL GROUP BY r.lot_id
), lot_sums AS (
    SELECT l.member_id, l.unit,
        sum(l.remaining) FILTER (WHERE l.activated_at IS NULL) AS pending,
        sum(l.remaining - l.reserved) FILTER (WHERE l.activated_at IS NOT NULL) AS available,
        sum(l.reserved) AS held,
        count(*) FILTER (WHERE l.remaining <> l.granted + coalesce(t.points, 0)) AS lots_off,
        count(*) FILTER (WHERE l.reserved <> coalesce(r.points, 0)) AS reservations_off,
        count(*) FILTER (WHERE e.id IS NULL OR e.points <> l.granted) AS grants_off
    FROM lots AS l
    LEFT JOIN taken AS t ON t.lot_id = l.id
    LEFT JOIN reserved AS r ON r.lot_id = l.id
    LEFT JOIN entries AS e ON e.program_id = :program_id AND e.id = l.entry_id
        AND e.member_id = l.member_id AND e.unit = l.unit
    WHERE l.program_id = :program_id
    GROUP BY l.member_id, l.unit
), spends AS (
    SELECT e.member_id, e.unit, count(*) AS off FROM (
        SELECT e.id, e.member_id, e.unit,
            (CASE WHEN e.kind = 'spend' THEN -e.points ELSE e.points END) AS expected,
            coalesce(sum(a.points), 0) AS allocated
        FROM entries AS e
        LEFT JOIN allocations AS a ON a.program_id = :program_id AND a.entry_id = e.id
        WHERE e.program_id = :program_id AND e.kind IN ('spend', 'restore')
        GROUP BY e.id, e.member_id, e.unit, e.kind, e.points
    ) AS e WHERE e.expected <> e.allocated GROUP BY e.member_id, e.unit
), grants AS (
    SELECT e.member_id, e.unit, count(*) AS off FROM entries AS e
    LEFT JOIN lots AS l ON l.program_id = :program_id AND l.entry_id = e.id
    WHERE e.program_id = :program_id AND e.kind IN ('earn', 'referral') AND l.id IS NULL
    GROUP BY e.member_id, e.unit
)
SELECT w.member_id, w.unit, c.name, c.expected, c.found
FROM wallets AS w
LEFT JOIN accounts AS a ON a.member_id = w.member_id AND a.unit = w.unit
LEFT JOIN chain AS n ON n.member_id = w.member_id AND n.unit = w.unit
LEFT JOIN lot_sums AS l ON l.member_id = w.member_id AND l.unit = w.unit
LEFT JOIN spends AS s ON s.member_id = w.member_id AND s.unit = w.unit
LEFT JOIN grants AS g ON g.member_id = w.member_id AND g.unit = w.unit
CROSS JOIN LATERAL (VALUES
    ('pending_is_sum_of_entries', coalesce(a.pending, 0)::bigint, w.pending),
    ('available_is_sum_of_entries', coalesce(a.available, 0)::bigint, w.available),
    ('held_is_sum_of_entries', coalesce(a.held, 0)::bigint, w.held),
    ('debt_is_sum_of_entries', coalesce(a.debt, 0)::bigint, w.debt),
    ('pending_is_sum_of_lots', coalesce(l.pending, 0)::bigint, w.pending),
    ('available_is_sum_of_lots', coalesce(l.available, 0)::bigint, w.available),
    ('held_is_sum_of_lots', coalesce(l.held, 0)::bigint, w.held),
    ('version_counts_entries', coalesce(n.entries, 0)::bigint, w.version),
    ('versions_and_balances_chain', 0::bigint, coalesce(n.broken, 0)::bigint),
    ('lots_match_allocations', 0::bigint, coalesce(l.lots_off, 0)::bigint),
    ('lots_match_holds', 0::bigint, coalesce(l.reservations_off, 0)::bigint),
    ('lots_match_grants', 0::bigint, coalesce(l.grants_off, 0)::bigint),
    ('spends_are_allocated', 0::bigint, coalesce(s.off, 0)::bigint),
    ('grants_have_lots', 0::bigint, coalesce(g.off, 0)::bigint)
) AS c (name, expected, found)
WHERE w.program_id = :program_id AND c.expected <> c.found
ORDER BY w.member_id, w.unit, c.name
"""

_WALLET_COLUMNS: tuple[Any, ...] = (
    models.Wallet.program_id,
    models.Wallet.member_id,
    models.Wallet.unit,
    models.Wallet.pending,
    models.Wallet.available,
    models.Wallet.held,
    models.Wallet.debt,
    models.Wallet.version,
    models.Wallet.last_at,
)
_LOT_COLUMNS: tuple[Any, ...] = (
    models.Lot.id,
    models.Lot.remaining,
    models.Lot.reserved,
    models.Lot.expires_at,
    models.Lot.activated_at,
)


def _wallet(row: Any) -> Wallet:
    return Wallet(WalletKey(*row[:3]), *row[3:])


def _of(table: Any, key: WalletKey) -> tuple[Any, ...]:
    return (table.program_id == key.program_id, table.member_id == key.member_id, table.unit == key.unit)
