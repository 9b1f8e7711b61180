from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import change_rows, fetch, fetch_rows, insert_rows
from loyalty.points import models
from loyalty.points.postings import Entry
from loyalty.points.rules import Wallet, WalletKey


async def insert_wallets(session: AsyncSession, keys: Collection[WalletKey], *, now: datetime) -> None:
    """Open empty wallets, none of which is there."""
    empty = {"pending": 0, "available": 0, "held": 0, "debt": 0, "version": 0, "last_at": now}
    rows = [{"program_id": key.program_id, "member_id": key.member_id, "unit": key.unit} | empty for key in keys]
    await insert_rows(session, models.Wallet, rows)


async def ensure_wallets(session: AsyncSession, keys: Collection[WalletKey], *, now: datetime) -> None:
    """Open empty wallets of one program; one that exists stays as it is."""
    ordered = sorted(keys)
    await fetch(
        session,
        """
        INSERT INTO wallets (program_id, member_id, unit, pending, available, held, debt, version, last_at)
        SELECT $1, member_id, unit, 0, 0, 0, 0, 0, $2
        FROM unnest($3::uuid[], $4::text[]) WITH ORDINALITY AS new (member_id, unit, position) ORDER BY position
        ON CONFLICT DO NOTHING RETURNING 1
        """,
        ordered[0].program_id,
        now,
        [key.member_id for key in ordered],
        [key.unit for key in ordered],
    )


async def lock_wallets(
    session: AsyncSession, keys: Collection[WalletKey], *, if_all_there: bool = False
) -> list[Wallet]:
    """Lock wallets of one program, always in order of member and unit, so that two books never wait for each other.

    Or none of them, where all are to be there and are not.
    """
    wanted = sorted(set(keys))
    found = await fetch(
        session,
        """
        SELECT program_id, member_id, unit, pending, available, held, debt, version, last_at, next_due_at, active_at
        FROM wallets WHERE program_id = $1 AND member_id = ANY($2::uuid[]) AND unit = ANY($3::text[])
            AND $4::bigint <= (
                SELECT count(*) FROM wallets AS own
                WHERE $4::bigint > 0 AND own.program_id = $1 AND own.member_id = ANY($2::uuid[])
                    AND (own.member_id, own.unit) IN (SELECT * FROM unnest($2::uuid[], $3::text[]))
            )
        ORDER BY member_id, unit FOR NO KEY UPDATE
        """,
        wanted[0].program_id,
        [key.member_id for key in wanted],
        [key.unit for key in wanted],
        len(wanted) if if_all_there else 0,
    )
    wallets, keys = [_wallet(row) for row in found], set(wanted)
    return [wallet for wallet in wallets if wallet.key in keys]


async def list_wallets(session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]) -> list[Wallet]:
    if not member_ids:
        return []
    found = await fetch(
        session,
        """
        SELECT program_id, member_id, unit, pending, available, held, debt, version, last_at, next_due_at, active_at
        FROM wallets WHERE program_id = $1 AND member_id = ANY($2::uuid[]) ORDER BY member_id, unit
        """,
        program_id,
        list(member_ids),
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


async def list_due_wallets(
    session: AsyncSession, *, program_id: UUID, now: datetime, limit: int | None
) -> list[WalletKey]:
    """Return wallets in which something may be due, the longest waiting first."""
    wallet = models.Wallet
    found = await session.execute(
        select(wallet.program_id, wallet.member_id, wallet.unit)
        .where(wallet.program_id == program_id, wallet.next_due_at <= now)
        .order_by(wallet.next_due_at, wallet.member_id)
        .limit(limit)
    )
    return [WalletKey(*row) for row in found]


async def find_next_due(session: AsyncSession, *, program_id: UUID) -> datetime | None:
    """Return before when nothing is due in any wallet of a program."""
    wallet = models.Wallet
    query = select(func.min(wallet.next_due_at)).where(wallet.program_id == program_id)
    return (await session.execute(query)).scalar_one()


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
                "source_type": str(entry.source.kind),
                "source_id": entry.source.id,
                "corrects_id": entry.corrects_id,
                "occurred_at": entry.occurred_at,
                "recorded_at": entry.recorded_at,
            }
            for entry in entries
        ],
    )


async def update_wallets(session: AsyncSession, moved: Sequence[tuple[Wallet, Wallet]]) -> None:
    """Write balances, each only over the version it was decided on.

    Members are named once more by themselves: the planner would read all of a small program's wallets to join them.
    """
    if not moved:
        return
    wallets = [after for _, after in moved]
    await change_rows(
        session,
        models.Wallet,
        """
        UPDATE wallets SET pending = new.pending, available = new.available, held = new.held, debt = new.debt,
            version = new.version, last_at = new.last_at, next_due_at = new.next_due_at, active_at = new.active_at
        FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
            $9::bigint[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[])
            AS new (member_id, unit, was, pending, available, held, debt, version, last_at, next_due_at, active_at)
        WHERE wallets.program_id = $1 AND wallets.member_id = ANY($2::uuid[])
            AND wallets.member_id = new.member_id AND wallets.unit = new.unit AND wallets.version = new.was
        RETURNING 1
        """,
        wallets[0].key.program_id,
        [wallet.key.member_id for wallet in wallets],
        [wallet.key.unit for wallet in wallets],
        [before.version for before, _ in moved],
        [wallet.pending for wallet in wallets],
        [wallet.available for wallet in wallets],
        [wallet.held for wallet in wallets],
        [wallet.debt for wallet in wallets],
        [wallet.version for wallet in wallets],
        [wallet.last_at for wallet in wallets],
        [wallet.next_due_at for wallet in wallets],
        [wallet.active_at for wallet in wallets],
        expected=len(wallets),
    )


async def list_entries(session: AsyncSession, key: WalletKey, *, before: int | None, limit: int) -> list[models.Entry]:
    """Return a wallet's entries since its program's opening, newest first, below a version."""
    entry, opening = models.Entry, models.LedgerOpening
    floor = select(opening.floor).where(opening.program_id == key.program_id).scalar_subquery()
    query = select(entry).where(*_of(entry, key), entry.id >= func.coalesce(floor, UUID(int=0)))
    if before is not None:
        query = query.where(entry.version < before)
    return list(
        (
            await session.execute(query.order_by(entry.version.desc()).limit(select(literal(limit)).scalar_subquery()))
        ).scalars()
    )


async def list_entries_of_sources(
    session: AsyncSession, *, program_id: UUID, source_ids: Collection[UUID]
) -> list[models.Entry]:
    """Return what sources caused, in order of id."""
    ending = "WHERE program_id = $1 AND source_id = ANY($2::uuid[]) ORDER BY id"
    return await fetch_rows(session, models.Entry, ending, program_id, list(source_ids))


async def list_entries_by_id(
    session: AsyncSession, *, program_id: UUID, entry_ids: Collection[UUID]
) -> dict[UUID, models.Entry]:
    if not entry_ids:
        return {}
    ending = "WHERE program_id = $1 AND id = ANY($2::uuid[]) ORDER BY id"
    return {row.id: row for row in await fetch_rows(session, models.Entry, ending, program_id, list(entry_ids))}


def _wallet(row: Any) -> Wallet:
    return Wallet(WalletKey(*row[:3]), *row[3:])


def _of(table: Any, key: WalletKey) -> tuple[Any, ...]:
    return (table.program_id == key.program_id, table.member_id == key.member_id, table.unit == key.unit)
