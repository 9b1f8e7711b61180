"""The SQL of lots."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import at_once, change_rows, fetch, insert_rows
from loyalty.points import models
from loyalty.points.opening_queries import FLOOR
from loyalty.points.postings import Lapse
from loyalty.points.rules import Lot, Source, SourceKind, Take, Wallet, WalletKey
from loyalty.programs.policies import Period


async def list_spendable_lots(
    session: AsyncSession, wanted: Sequence[tuple[Wallet, int, datetime]], *, zone: ZoneInfo
) -> list[Lot]:
    """Return, for each wallet of one program, lots among which the first-expiring ones are that cover so many points.

    Or all there are; what is over at the instant given is left out. Reads few lots where few are enough, however many
    there are.
    """
    idle, dated = await at_once(session, _list_idle(session, wanted, zone=zone), _list_first_ending(session, wanted))
    return idle + dated


async def _list_first_ending(session: AsyncSession, wanted: Sequence[tuple[Wallet, int, datetime]]) -> list[Lot]:
    """Return, of lots that end on a date or never, those that end first and cover so many points."""
    # A limit that the planner does not know lets it walk along the index, instead of sorting what it thinks are few.
    found: list[Lot] = []
    lacking, limit = list(wanted), _FEW
    while lacking:
        rows = await fetch(
            session,
            f"""
            SELECT {_COLUMNS} FROM unnest($2::uuid[], $3::text[], $4::timestamptz[]) AS own (of_member, of_unit, at)
            CROSS JOIN LATERAL (
                SELECT * FROM lots
                WHERE program_id = $1 AND member_id = of_member AND unit = of_unit AND NOT spent
                    AND remaining > reserved AND activated_at IS NOT NULL AND idle_days = 0 AND idle_months = 0
                    AND (expires_at IS NULL OR expires_at > at)
                ORDER BY expires_at, id LIMIT (SELECT $5::bigint)
            ) AS first
            """,  # noqa: S608 -- our own columns
            wanted[0][0].key.program_id,
            [wallet.key.member_id for wallet, _, _ in lacking],
            [wallet.key.unit for wallet, _, _ in lacking],
            [at for _, _, at in lacking],
            limit,
        )
        first: dict[WalletKey, list[Lot]] = {}
        for lot in map(_lot, rows):
            first.setdefault(lot.wallet, []).append(lot)
        more = [
            own
            for own in lacking
            if len(lots := first.get(own[0].key, ())) == limit and sum(lot.free for lot in lots) < own[1]
        ]
        unfinished = {wallet.key for wallet, _, _ in more}
        found += [lot for key, lots in first.items() if key not in unfinished for lot in lots]
        lacking, limit = more, limit * _FEW
    return found


_FEW: Final = 16


async def _list_idle(
    session: AsyncSession, wanted: Sequence[tuple[Wallet, int, datetime]], *, zone: ZoneInfo
) -> list[Lot]:
    """Return, of lots that end by idleness, those that end first and cover so many points.

    Of those with the same period, the one idle since an earlier day ends first.
    """
    found = await fetch(
        session,
        f"""
        SELECT {_COLUMNS} FROM (
            SELECT lots.*, wanted, sum(remaining - reserved) OVER (
                PARTITION BY lots.member_id, lots.unit, idle_days, idle_months
                ORDER BY timezone($2, greatest(coalesce(activates_at, earned_at), active_at))::date, id
            ) - (remaining - reserved) AS before
            FROM unnest($3::uuid[], $4::text[], $5::bigint[], $6::timestamptz[])
                AS own (member_id, unit, wanted, active_at)
            JOIN lots ON lots.member_id = own.member_id AND lots.unit = own.unit
            WHERE program_id = $1 AND NOT spent AND (idle_days > 0 OR idle_months > 0)
                AND activated_at IS NOT NULL
        ) AS candidate WHERE before < wanted
        """,  # noqa: S608 -- our own columns
        wanted[0][0].key.program_id,
        zone.key,
        [wallet.key.member_id for wallet, _, _ in wanted],
        [wallet.key.unit for wallet, _, _ in wanted],
        [points for _, points, _ in wanted],
        [wallet.active_at for wallet, _, _ in wanted],
    )
    return [_lot(row) for row in found]


async def list_dated_lots(session: AsyncSession, keys: Collection[WalletKey]) -> list[Lot]:
    """Return the lots of these wallets of one program that have points and begin or end some day."""
    begun = await _list(session, keys, "NOT spent AND expires_at IS NOT NULL AND activated_at IS NOT NULL")
    waiting = "NOT spent AND (activated_at IS NULL OR idle_days > 0 OR idle_months > 0)"
    return begun + await _list(session, keys, waiting)


async def list_lots(session: AsyncSession, keys: Collection[WalletKey]) -> list[Lot]:
    """Return all lots of these wallets of one program that still have points."""
    return await _list(session, keys, "NOT spent")


async def list_spent_idle_lots(session: AsyncSession, keys: Collection[WalletKey]) -> list[Lot]:
    """Return the lots of these wallets of one program that have no points left and still would end by idleness."""
    return await _list(session, keys, "spent AND (idle_days > 0 OR idle_months > 0)")


async def list_lots_of_source(session: AsyncSession, *, program_id: UUID, source_id: UUID) -> list[Lot]:
    where = "program_id = $1 AND source_id = $2 ORDER BY id"
    return [_lot(row) for row in await fetch(session, f"{_SELECT} {where}", program_id, source_id)]


async def list_lots_by_id(session: AsyncSession, *, program_id: UUID, lot_ids: Collection[UUID]) -> list[Lot]:
    where = "program_id = $1 AND id = ANY($2::uuid[]) ORDER BY id"
    return [_lot(row) for row in await fetch(session, f"{_SELECT} {where}", program_id, list(lot_ids))]


async def list_takes(session: AsyncSession, *, program_id: UUID, entry_id: UUID) -> list[Take]:
    statement = "SELECT lot_id, points FROM allocations WHERE program_id = $1 AND entry_id = $2 ORDER BY lot_id"
    return [Take(*row) for row in await fetch(session, statement, program_id, entry_id)]


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
    await change_rows(
        session,
        models.Lot,
        """
        UPDATE lots SET remaining = new.remaining, reserved = new.reserved, activates_at = new.activates_at,
            activated_at = new.activated_at, expires_at = new.expires_at,
            idle_days = new.idle_days, idle_months = new.idle_months
        FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
            $8::smallint[], $9::smallint[])
            AS new (id, remaining, reserved, activates_at, activated_at, expires_at, idle_days, idle_months)
        WHERE lots.program_id = $1 AND lots.id = ANY($2::uuid[]) AND lots.id = new.id
        RETURNING 1
        """,
        lots[0].wallet.program_id,
        [lot.id for lot in lots],
        [lot.remaining for lot in lots],
        [lot.reserved for lot in lots],
        [lot.activates_at for lot in lots],
        [lot.activated_at for lot in lots],
        [lot.expires_at for lot in lots],
        [lot.idle.days if lot.idle else 0 for lot in lots],
        [lot.idle.months if lot.idle else 0 for lot in lots],
        expected=len(lots),
    )


_COLUMNS: Final = """
    id, program_id, member_id, unit, entry_id, source_type, source_id, granted, remaining, reserved, earned_at,
    activates_at, activated_at, expires_at, idle_days, idle_months
    """
_SELECT: Final = f"SELECT {_COLUMNS} FROM lots WHERE"  # noqa: S608 -- our own columns


async def _list(session: AsyncSession, keys: Collection[WalletKey], condition: str) -> list[Lot]:
    own = "program_id = $1 AND member_id = ANY($2::uuid[]) AND unit = ANY($3::text[])"
    found = await fetch(
        session,
        f"{_SELECT} {own} AND {condition} ORDER BY id",
        next(iter(keys)).program_id,
        list({key.member_id for key in keys}),
        list({key.unit for key in keys}),
    )
    lots = [_lot(row) for row in found]
    return [lot for lot in lots if lot.wallet in keys]


def _lot(row: Any) -> Lot:
    return Lot(
        row[0],
        WalletKey(row[1], row[2], row[3]),
        row[4],
        Source(SourceKind(row[5]), row[6]),
        granted=row[7],
        remaining=row[8],
        reserved=row[9],
        earned_at=row[10],
        activates_at=row[11],
        activated_at=row[12],
        expires_at=row[13],
        idle=Period(row[14], row[15]) if row[14] or row[15] else None,
    )


async def list_lapses(session: AsyncSession, *, program_id: UUID, lot_ids: Collection[UUID]) -> list[Lapse]:
    """Return what has expired of lots and was not given back since, oldest first."""
    found = await session.execute(text(_LAPSES), {"program_id": program_id, "lot_ids": list(lot_ids)})
    return [Lapse(row[0], row[1], int(row[2])) for row in found]


_LAPSES: Final = f"""
SELECT entry_id, lot_id, points - back FROM (
    SELECT expired.id AS entry_id, allocation.lot_id, expired.points FROM allocations AS allocation
    JOIN entries AS expired ON expired.program_id = :program_id AND expired.id = allocation.entry_id
    WHERE allocation.program_id = :program_id AND allocation.lot_id = ANY(:lot_ids)
        AND allocation.entry_id >= {FLOOR} AND expired.kind = 'expire'
    UNION ALL
    SELECT entry_id, lot_id, points FROM lapse_openings WHERE program_id = :program_id AND lot_id = ANY(:lot_ids)
) AS lapsed CROSS JOIN LATERAL (
    SELECT coalesce(sum(entries.points), 0) AS back FROM entries
    WHERE program_id = :program_id AND corrects_id = entry_id AND kind = 'reinstate' AND id >= {FLOOR}
) AS returned
WHERE points > back ORDER BY entry_id
"""  # noqa: S608 -- constants of ours


async def page_lots(session: AsyncSession, key: WalletKey, *, before: UUID | None, limit: int) -> list[Lot]:
    """Return a wallet's lots, spent ones included, the newest first."""
    where = "program_id = $1 AND member_id = $2 AND unit = $3 AND ($4::uuid IS NULL OR id < $4)"
    where += " ORDER BY id DESC LIMIT (SELECT $5::bigint)"
    return [
        _lot(row)
        for row in await fetch(session, f"{_SELECT} {where}", key.program_id, key.member_id, key.unit, before, limit)
    ]
