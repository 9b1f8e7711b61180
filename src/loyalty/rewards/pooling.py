"""Codes of the shop's own, brought in from a CSV: each row is added or not by itself, and a report says which."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.errors import ValidationFailed
from loyalty.core.sheets import read_sheet
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.rewards import pool_queries, queries, rules

MAX_ROWS: Final = 10_000
COLUMNS: Final = ("code",)


class Became(StrEnum):
    ADDED = "added"
    DUPLICATE = "duplicate"
    TAKEN = "taken"
    INVALID = "invalid"


@dataclass(frozen=True)
class Row:
    """A code as it was written, and as it is sought; `fault` says why it is none."""

    number: int
    written: str
    code: str
    fault: str | None


@dataclass(frozen=True)
class Outcome:
    """What became of a row, and why where that needs saying."""

    row: int
    written: str
    outcome: Became
    why: str | None = None


def read(text: str) -> list[Row]:
    """Read a CSV with the header `code`. Raises CsvUnreadable, ValidationFailed for too many rows or none."""
    sheet = read_sheet(text, columns=COLUMNS)
    if (fault := sheet.fault(most_rows=MAX_ROWS)) is not None:
        raise ValidationFailed(errors=[fault])
    return [_row(number, line) for number, line in sheet.rows]


async def add(
    session: AsyncSession, *, program_id: UUID, reward_id: UUID, rows: list[Row], now: datetime
) -> list[Outcome]:
    """Put codes into a reward's pool; from the first on it issues no others, and they are its stock.

    Locks the reward, so that nobody else fills its pool. Safe to repeat. Raises RewardNotFound.
    """
    reward = await queries.lock_reward(session, program_id=program_id, reward_id=reward_id)
    named = {row.code: row for row in reversed(rows) if row.fault is None}
    wanted = [(row.code, row.written) for row in named.values()]
    added = await pool_queries.add_codes(session, wanted, program_id=program_id, reward_id=reward_id, now=now)
    # Only now, since adding a code waits for who is just issuing it.
    issued = await pool_queries.list_issued(session, named, program_id=program_id)
    await pool_queries.delete_codes(session, added & issued.keys(), program_id=program_id)
    owners = await pool_queries.list_owners(session, named, program_id=program_id)
    added -= issued.keys()
    if added:
        changes = {"pooled": True, "stock_left": None}
        await queries.update_reward(session, program_id=program_id, reward_id=reward.id, changes=changes)
        event = Event("reward.codes_added", reward.id, occurred_at=now, recorded_at=now)
        await outbox.tell(session, program_id=program_id, events=[event])
    return list(
        _outcomes(rows, named, added=added, issued=issued, elsewhere={c for c, o in owners.items() if o != reward.id})
    )


def _outcomes(
    rows: list[Row], named: dict[str, Row], *, added: set[str], issued: dict[str, bool], elsewhere: set[str]
) -> Iterator[Outcome]:
    for row in rows:
        if row.fault is not None:
            yield Outcome(row.number, row.written, Became.INVALID, row.fault)
        elif row.code in issued:
            yield Outcome(row.number, row.written, Became.TAKEN, "used" if issued[row.code] else "issued")
        elif row.code in elsewhere:
            yield Outcome(row.number, row.written, Became.TAKEN, "another_pool")
        elif row.code in added and named[row.code] is row:
            yield Outcome(row.number, row.written, Became.ADDED)
        else:
            yield Outcome(row.number, row.written, Became.DUPLICATE)


def _row(number: int, line: list[str]) -> Row:
    written = line[0].strip()
    code = rules.fold_coupon_code(written)
    return Row(number, written, code, "columns" if len(line) != 1 else rules.code_fault(written, code))
