"""The SQL of lots."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Date,
    DateTime,
    SmallInteger,
    Uuid,
    bindparam,
    case,
    cast,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from loyalty.core.db import insert_rows
from loyalty.points import models
from loyalty.points.postings import Lapse
from loyalty.points.rules import EntryKind, Lot, Source, SourceKind, Take, Wallet, WalletKey
from loyalty.programs.policies import Period


async def list_spendable_lots(
    session: AsyncSession, wallet: Wallet, *, points: int, at: datetime, zone: ZoneInfo
) -> list[Lot]:
    """Return lots among which the first-expiring ones are that cover `points`, or all there are.

    Of lots that end by idleness after the same period, the one idle since an earlier day ends first.
    """
    lot, key = models.Lot, wallet.key
    free = lot.remaining - lot.reserved
    period = (lot.idle_days, lot.idle_months)
    began_at = func.coalesce(lot.activates_at, lot.earned_at)
    idle_since = cast(
        func.timezone(zone.key, func.greatest(began_at, literal(wallet.active_at, DateTime(timezone=True)))), Date
    )
    idle_first = case(((lot.idle_days > 0) | (lot.idle_months > 0), idle_since))
    before = func.sum(free).over(partition_by=period, order_by=(lot.expires_at, idle_first, lot.id)) - free
    candidates = (
        select(*_LOT_COLUMNS, before.label("before"))
        .where(*_of(lot, key), lot.remaining > 0, lot.activated_at.is_not(None))
        .where(lot.expires_at.is_(None) | (lot.expires_at > at))
        .subquery()
    )
    found = await session.execute(select(candidates).where(candidates.c.before < points))
    return [_lot(row) for row in found]


async def list_lots(session: AsyncSession, keys: Collection[WalletKey]) -> list[Lot]:
    """Return all lots of these wallets of one program that still have points."""
    lot = models.Lot
    found = await session.execute(
        select(*_LOT_COLUMNS)
        .where(
            lot.program_id == next(iter(keys)).program_id,
            lot.member_id.in_({key.member_id for key in keys}),
            lot.unit.in_({key.unit for key in keys}),
            lot.remaining > 0,
        )
        .order_by(lot.id)
    )
    lots = [_lot(row) for row in found]
    return [lot for lot in lots if lot.wallet in keys]


async def list_spent_idle_lots(session: AsyncSession, keys: Collection[WalletKey]) -> list[Lot]:
    """Return the lots of these wallets of one program that have no points left and still would end by idleness."""
    lot = models.Lot
    found = await session.execute(
        select(*_LOT_COLUMNS)
        .where(
            lot.program_id == next(iter(keys)).program_id,
            lot.member_id.in_({key.member_id for key in keys}),
            lot.unit.in_({key.unit for key in keys}),
            lot.remaining == 0,
            (lot.idle_days > 0) | (lot.idle_months > 0),
        )
        .order_by(lot.id)
    )
    lots = [_lot(row) for row in found]
    return [lot for lot in lots if lot.wallet in keys]


async def list_lots_of_source(session: AsyncSession, *, program_id: UUID, source_id: UUID) -> list[Lot]:
    lot = models.Lot
    found = await session.execute(
        select(*_LOT_COLUMNS).where(lot.program_id == program_id, lot.source_id == source_id).order_by(lot.id)
    )
    return [_lot(row) for row in found]


async def list_lots_by_id(session: AsyncSession, *, program_id: UUID, lot_ids: Collection[UUID]) -> list[Lot]:
    lot = models.Lot
    found = await session.execute(
        select(*_LOT_COLUMNS).where(lot.program_id == program_id, lot.id.in_(list(lot_ids))).order_by(lot.id)
    )
    return [_lot(row) for row in found]


async def list_takes(session: AsyncSession, *, program_id: UUID, entry_id: UUID) -> list[Take]:
    allocation = models.Allocation
    found = await session.execute(
        select(allocation.lot_id, allocation.points)
        .where(allocation.program_id == program_id, allocation.entry_id == entry_id)
        .order_by(allocation.lot_id)
    )
    return [Take(*row) for row in found]


async def insert_lots(session: AsyncSession, lots: Sequence[Lot]) -> None:
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
                "source_type": str(lot.source.kind),
                "source_id": lot.source.id,
                "granted": lot.granted,
                "remaining": lot.remaining,
                "reserved": lot.reserved,
                "earned_at": lot.earned_at,
                "activates_at": lot.activates_at,
                "activated_at": lot.activated_at,
                "expires_at": lot.expires_at,
                "idle_days": lot.idle.days if lot.idle else 0,
                "idle_months": lot.idle.months if lot.idle else 0,
            }
            for lot in lots
        ],
    )


async def append_takes(session: AsyncSession, *, program_id: UUID, takes: Sequence[tuple[UUID, Take]]) -> None:
    """Record which lots the entries touched."""
    await insert_rows(
        session,
        models.Allocation,
        [
            {"program_id": program_id, "entry_id": entry_id, "lot_id": take.lot_id, "points": take.points}
            for entry_id, take in takes
        ],
    )


async def update_lots(session: AsyncSession, lots: Sequence[Lot]) -> None:
    """Write what changed about lots whose wallets are locked."""
    if not lots:
        return
    await session.execute(
        text(
            """
            UPDATE lots SET remaining = new.remaining, reserved = new.reserved, activates_at = new.activates_at,
                activated_at = new.activated_at, expires_at = new.expires_at,
                idle_days = new.idle_days, idle_months = new.idle_months
            FROM unnest(:ids, :remaining, :reserved, :activates_at, :activated_at, :expires_at, :idle_days,
                :idle_months)
                AS new (id, remaining, reserved, activates_at, activated_at, expires_at, idle_days, idle_months)
            WHERE lots.program_id = :program_id AND lots.id = new.id
            """
        ).bindparams(
            bindparam("ids", type_=ARRAY(Uuid())),
            *(bindparam(name, type_=ARRAY(BigInteger())) for name in ("remaining", "reserved")),
            *(bindparam(name, type_=ARRAY(SmallInteger())) for name in ("idle_days", "idle_months")),
            *(
                bindparam(name, type_=ARRAY(DateTime(timezone=True)))
                for name in ("activates_at", "activated_at", "expires_at")
            ),
        ),
        {
            "program_id": lots[0].wallet.program_id,
            "ids": [lot.id for lot in lots],
            "remaining": [lot.remaining for lot in lots],
            "reserved": [lot.reserved for lot in lots],
            "activates_at": [lot.activates_at for lot in lots],
            "activated_at": [lot.activated_at for lot in lots],
            "expires_at": [lot.expires_at for lot in lots],
            "idle_days": [lot.idle.days if lot.idle else 0 for lot in lots],
            "idle_months": [lot.idle.months if lot.idle else 0 for lot in lots],
        },
    )


_LOT_COLUMNS: tuple[Any, ...] = (
    models.Lot.id,
    models.Lot.program_id,
    models.Lot.member_id,
    models.Lot.unit,
    models.Lot.entry_id,
    models.Lot.source_type,
    models.Lot.source_id,
    models.Lot.granted,
    models.Lot.remaining,
    models.Lot.reserved,
    models.Lot.earned_at,
    models.Lot.activates_at,
    models.Lot.activated_at,
    models.Lot.expires_at,
    models.Lot.idle_days,
    models.Lot.idle_months,
)


def _lot(row: Any) -> Lot:
    return Lot(
        row.id,
        WalletKey(row.program_id, row.member_id, row.unit),
        row.entry_id,
        Source(SourceKind(row.source_type), row.source_id),
        row.granted,
        row.remaining,
        row.reserved,
        row.earned_at,
        row.activates_at,
        row.activated_at,
        row.expires_at,
        Period(row.idle_days, row.idle_months) if row.idle_days or row.idle_months else None,
    )


def _of(table: Any, key: WalletKey) -> tuple[Any, ...]:
    return (table.program_id == key.program_id, table.member_id == key.member_id, table.unit == key.unit)


async def list_lapses(session: AsyncSession, *, program_id: UUID, lot_ids: Collection[UUID]) -> list[Lapse]:
    """Return what has expired of lots and was not given back since, oldest first."""
    allocation, expired, back = models.Allocation, models.Entry, aliased(models.Entry)
    returned = (
        select(func.coalesce(func.sum(back.points), 0))
        .where(
            back.program_id == program_id,
            back.member_id == expired.member_id,
            back.unit == expired.unit,
            back.corrects_id == expired.id,
            back.kind == str(EntryKind.REINSTATE),
        )
        .scalar_subquery()
    )
    found = await session.execute(
        select(expired.id, allocation.lot_id, expired.points - returned)
        .join(allocation, (allocation.program_id == expired.program_id) & (allocation.entry_id == expired.id))
        .where(
            expired.program_id == program_id,
            expired.kind == str(EntryKind.EXPIRE),
            allocation.program_id == program_id,
            allocation.lot_id.in_(list(lot_ids)),
        )
        .order_by(expired.id)
    )
    return [lapse for lapse in (Lapse(row[0], row[1], int(row[2])) for row in found) if lapse.points > 0]


async def page_lots(session: AsyncSession, key: WalletKey, *, before: UUID | None, limit: int) -> list[Lot]:
    """Return a wallet's lots, spent ones included, the newest first."""
    lot = models.Lot
    query = select(*_LOT_COLUMNS).where(*_of(lot, key))
    if before is not None:
        query = query.where(lot.id < before)
    return [_lot(row) for row in await session.execute(query.order_by(lot.id.desc()).limit(limit))]
