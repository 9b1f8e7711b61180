"""Many adjustments at once, from a CSV: each row is done or refused by itself, and a report says which."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.adjustments import service as adjustments
from loyalty.adjustments.rules import AdjustmentKind, Asked
from loyalty.core import ids
from loyalty.core.db import savepoint
from loyalty.core.errors import Fault, LoyaltyError, ValidationFailed
from loyalty.core.sheets import Sheet, read_sheet
from loyalty.members import service as members
from loyalty.members.rules import IdentifierKind
from loyalty.points.rules import MAX_POINTS, WalletKey
from loyalty.programs.rules import Program

MAX_ROWS: Final = 1000
COLUMNS: Final = ("external_id", "member", "points", "reason")
_LONGEST: Final = {"external_id": 128, "member": 254, "points": 17, "reason": 500}


@dataclass(frozen=True)
class Row:
    """A row as it was written: whose (a member's id, external id or e-mail), how many points, and why."""

    number: int
    external_id: str
    member: str
    points: int
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What became of a row: `given`, `already` there under its external id, or `refused` with a code."""

    row: int
    external_id: str
    outcome: str
    adjustment_id: UUID | None = None
    code: str | None = None


def read(text: str) -> list[Row]:
    """Read a CSV with a header line of `COLUMNS` in any order.

    Raises CsvUnreadable for what is no such file, ValidationFailed with every fault of its rows.
    """
    sheet = read_sheet(text, columns=COLUMNS)
    faults = list(_faults(sheet))
    if (fault := sheet.fault(most_rows=MAX_ROWS)) is not None:
        faults.append(fault)
    if faults:
        raise ValidationFailed(errors=faults)
    return [_row(number, dict(zip(sheet.header, line, strict=True))) for number, line in sheet.rows]


async def apply(
    session: AsyncSession, *, program: Program, rows: Sequence[Row], actor: str, now: datetime
) -> list[Outcome]:
    """Give or take what each row says, each by itself; a row that is refused leaves nothing.

    A row is known by its external id, so that a file can be sent again. Rows are done in order of member, as locks are
    taken, and reported in order of the file.
    """
    found = {row.number: await _member(session, program=program, named=row.member) for row in rows}
    ordered = sorted(rows, key=lambda row: (str(found[row.number] or ""), row.number))
    outcomes = [await _one(session, program, row, found[row.number], actor=actor, now=now) for row in ordered]
    return sorted(outcomes, key=lambda outcome: outcome.row)


async def _one(
    session: AsyncSession, program: Program, row: Row, member_id: UUID | None, *, actor: str, now: datetime
) -> Outcome:
    if member_id is None:
        return Outcome(row.number, row.external_id, "refused", code="member_not_found")
    asked = Asked(
        kind=AdjustmentKind.ADJUST,
        wallet=WalletKey(program.id, member_id, program.rules.unit),
        points=row.points,
        reason=row.reason,
        actor=actor,
        external_id=row.external_id,
    )
    try:
        async with savepoint(session):
            made, is_new = await adjustments.apply(session, program=program, asked=asked, now=now)
    except LoyaltyError as error:
        return Outcome(row.number, row.external_id, "refused", code=error.code)
    return Outcome(row.number, row.external_id, "given" if is_new else "already", made)


async def _member(session: AsyncSession, *, program: Program, named: str) -> UUID | None:
    member_id = ids.parse("mem", named)
    if member_id is not None:
        return member_id if await members.find_standing(session, program_id=program.id, customer_id=member_id) else None
    kind = IdentifierKind.EMAIL if "@" in named else IdentifierKind.EXTERNAL_ID
    value = named.casefold() if kind is IdentifierKind.EMAIL else named
    found = await members.find_by(session, program_id=program.id, kind=kind, value=value)
    return found[0].member.id if found else None


def _faults(sheet: Sheet) -> Iterator[Fault]:
    seen: set[str] = set()
    header = sheet.header
    for number, line in sheet.rows:
        place = f"/csv/{number}"
        if len(line) != len(header):
            yield Fault(place, "columns", f"A row has {len(header)} cells")
            continue
        cells = {name: cell.strip() for name, cell in zip(header, line, strict=True)}
        for name, cell in cells.items():
            if not 1 <= len(cell) <= _LONGEST[name] or not cell.isprintable():
                yield Fault(f"{place}/{name}", "text", f"1 to {_LONGEST[name]} printable characters")
        points = _integer(cells["points"])
        if points is None or points == 0 or abs(points) > MAX_POINTS:
            yield Fault(f"{place}/points", "points", "A whole number of points, below zero to take, not zero")
        if cells["external_id"] in seen:
            yield Fault(f"{place}/external_id", "duplicate", "The file has this twice")
        seen.add(cells["external_id"])


def _row(number: int, line: dict[str, str]) -> Row:
    cells = {name: cell.strip() for name, cell in line.items()}
    return Row(number, cells["external_id"], cells["member"], int(cells["points"]), cells["reason"])


def _integer(text: str) -> int | None:
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) <= _LONGEST["points"] else None
