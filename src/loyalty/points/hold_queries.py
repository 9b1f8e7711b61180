"""The SQL of holds."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.db import insert_rows
from loyalty.points import models
from loyalty.points.errors import HoldNotFound
from loyalty.points.postings import EndedHold
from loyalty.points.rules import Hold, Reservation, WalletKey


async def list_live_holds(session: AsyncSession, keys: Collection[WalletKey]) -> list[Hold]:
    """Return the holds of these wallets of one program that have not ended, with what they have locked."""
    hold = models.Hold
    found = await session.execute(
        select(hold.id, hold.member_id, hold.unit, hold.points, hold.expires_at)
        .where(
            hold.program_id == next(iter(keys)).program_id,
            hold.member_id.in_({key.member_id for key in keys}),
            hold.unit.in_({key.unit for key in keys}),
            hold.ended_at.is_(None),
        )
        .order_by(hold.id)
    )
    return await _holds(session, next(iter(keys)).program_id, list(found))


async def _holds(session: AsyncSession, program_id: UUID, rows: Sequence[Any]) -> list[Hold]:
    if not rows:
        return []
    own = models.HoldReservation
    found = await session.execute(
        select(own.hold_id, own.lot_id, own.points)
        .where(own.program_id == program_id, own.hold_id.in_([row.id for row in rows]))
        .order_by(own.lot_id)
    )
    reserved: dict[UUID, list[Reservation]] = {}
    for hold_id, lot_id, points in found:
        reserved.setdefault(hold_id, []).append(Reservation(lot_id, points))
    return [
        Hold(
            row.id,
            WalletKey(program_id, row.member_id, row.unit),
            row.points,
            row.expires_at,
            tuple(reserved.get(row.id, ())),
        )
        for row in rows
    ]


async def insert_holds(session: AsyncSession, holds: Sequence[Hold], *, now: datetime) -> None:
    await insert_rows(
        session,
        models.Hold,
        [
            {
                "program_id": hold.wallet.program_id,
                "id": hold.id,
                "member_id": hold.wallet.member_id,
                "unit": hold.wallet.unit,
                "points": hold.points,
                "captured": 0,
                "created_at": now,
                "expires_at": hold.expires_at,
                "metadata": hold.notes,
            }
            for hold in holds
        ],
    )
    await insert_rows(
        session,
        models.HoldReservation,
        [
            {
                "program_id": hold.wallet.program_id,
                "hold_id": hold.id,
                "lot_id": reservation.lot_id,
                "points": reservation.points,
            }
            for hold in holds
            for reservation in hold.reservations
        ],
    )


async def end_holds(session: AsyncSession, holds: Sequence[EndedHold], *, program_id: UUID) -> None:
    for ended in holds:
        await session.execute(
            update(models.Hold)
            .where(models.Hold.program_id == program_id, models.Hold.id == ended.id)
            .values(captured=ended.captured, ended_at=ended.ended_at, ended_by=ended.ended_by)
        )


async def get_hold(session: AsyncSession, *, program_id: UUID, hold_id: UUID) -> models.Hold:
    hold = models.Hold
    query = select(hold).where(hold.program_id == program_id, hold.id == hold_id)
    found = await session.execute(query, execution_options={"populate_existing": True})
    row = found.scalar_one_or_none()
    if row is None:
        raise HoldNotFound
    return row


async def find_live_hold(session: AsyncSession, *, program_id: UUID, hold_id: UUID) -> Hold | None:
    hold = models.Hold
    found = await session.execute(
        select(hold.id, hold.member_id, hold.unit, hold.points, hold.expires_at).where(
            hold.program_id == program_id, hold.id == hold_id, hold.ended_at.is_(None)
        )
    )
    return next(iter(await _holds(session, program_id, list(found))), None)
