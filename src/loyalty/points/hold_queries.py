"""The SQL of holds."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import as_stored, at_once, change_rows, fetch, fetch_rows, insert_rows
from loyalty.points import models
from loyalty.points.postings import EndedHold
from loyalty.points.rules import Hold, Reservation, WalletKey


async def list_live_holds(session: AsyncSession, keys: Collection[WalletKey]) -> list[Hold]:
    """Return the holds of these wallets of one program that have not ended, with what they have locked."""
    found = await fetch(
        session,
        f"""
        {_LIVE} AND member_id = ANY($2::uuid[]) AND unit = ANY($3::text[]) ORDER BY id
        """,
        next(iter(keys)).program_id,
        list({key.member_id for key in keys}),
        list({key.unit for key in keys}),
    )
    program_id = next(iter(keys)).program_id
    reserved = await _reservations(session, program_id, [row[0] for row in found]) if found else {}
    return _holds(program_id, found, reserved)


async def _reservations(
    session: AsyncSession, program_id: UUID, hold_ids: Collection[UUID]
) -> dict[UUID, list[Reservation]]:
    found = await fetch(
        session,
        """
        SELECT hold_id, lot_id, points FROM hold_reservations
        WHERE program_id = $1 AND hold_id = ANY($2::uuid[]) ORDER BY lot_id
        """,
        program_id,
        list(hold_ids),
    )
    reserved: dict[UUID, list[Reservation]] = {}
    for hold_id, lot_id, points in found:
        reserved.setdefault(hold_id, []).append(Reservation(lot_id, points))
    return reserved


def _holds(program_id: UUID, rows: Sequence[Any], reserved: Mapping[UUID, Sequence[Reservation]]) -> list[Hold]:
    return [
        Hold(id_, WalletKey(program_id, member_id, unit), points, expires_at, tuple(reserved.get(id_, ())))
        for id_, member_id, unit, points, expires_at in rows
    ]


async def insert_holds(session: AsyncSession, holds: Sequence[Hold], *, now: datetime) -> None:
    await insert_rows(session, models.Hold, [_row(hold, now=now) for hold in holds])
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
    if not holds:
        return
    await change_rows(
        session,
        models.Hold,
        """
        UPDATE holds SET captured = ended.captured, ended_at = ended.ended_at, ended_by = ended.ended_by
        FROM unnest($2::uuid[], $3::bigint[], $4::timestamptz[], $5::text[]) AS ended (id, captured, ended_at, ended_by)
        WHERE holds.program_id = $1 AND holds.id = ANY($2::uuid[]) AND holds.id = ended.id
        RETURNING 1
        """,
        program_id,
        [own.id for own in holds],
        [own.captured for own in holds],
        [own.ended_at for own in holds],
        [own.ended_by for own in holds],
        expected=len(holds),
    )


def new_hold(hold: Hold, *, now: datetime) -> models.Hold:
    """Return a new hold as it is stored."""
    return as_stored(models.Hold, _row(hold, now=now))


def ended_hold(row: models.Hold, end: EndedHold) -> models.Hold:
    """Return a hold as it is stored once it has ended."""
    return as_stored(
        models.Hold,
        {
            "program_id": row.program_id,
            "id": row.id,
            "member_id": row.member_id,
            "unit": row.unit,
            "points": row.points,
            "captured": end.captured,
            "created_at": row.created_at,
            "expires_at": row.expires_at,
            "ended_at": end.ended_at,
            "ended_by": end.ended_by,
            "metadata": row.notes,
        },
    )


def _row(hold: Hold, *, now: datetime) -> dict[str, Any]:
    return {
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


async def list_holds(session: AsyncSession, *, program_id: UUID, hold_ids: Collection[UUID]) -> dict[UUID, models.Hold]:
    ending = "WHERE program_id = $1 AND id = ANY($2::uuid[])"
    return {row.id: row for row in await fetch_rows(session, models.Hold, ending, program_id, list(hold_ids))}


async def list_live_holds_by_id(session: AsyncSession, *, program_id: UUID, hold_ids: Collection[UUID]) -> list[Hold]:
    """Return those of these holds that have not ended, with what they have locked."""
    found, reserved = await at_once(
        session,
        fetch(session, f"{_LIVE} AND id = ANY($2::uuid[]) ORDER BY id", program_id, list(hold_ids)),
        _reservations(session, program_id, hold_ids),
    )
    return _holds(program_id, found, reserved)


_LIVE: Final = "SELECT id, member_id, unit, points, expires_at FROM holds WHERE program_id = $1 AND ended_at IS NULL"
