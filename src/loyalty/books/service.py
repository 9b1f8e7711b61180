from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.books import models, queries, rules
from loyalty.books.rules import Cohort, Digest, Month, Period
from loyalty.core import ids
from loyalty.core.clock import parse_rfc3339, rfc3339
from loyalty.core.paging import CursorInvalid, Page, decode_cursor, page
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.points import openings
from loyalty.points.models import LedgerOpening
from loyalty.programs.rules import Program

_PAGE: Final = 500
_FIRST: Final = b""


@dataclass(frozen=True)
class Broken:
    """A seal that no longer fits the rows it covers. A seal after a broken one is checked on its own."""

    until: datetime
    entries_sealed: int
    entries_found: int


@dataclass(frozen=True)
class Proof:
    """What a check of all sealed days found; `head` is the newest digest, for keeping elsewhere.

    Where an `opening` stands for the first entries, `opening_holds` tells whether it is as it was made; its digest is
    for keeping elsewhere, too.
    """

    seals: int
    head: bytes | None
    broken: list[Broken]
    opening: LedgerOpening | None
    opening_holds: bool

    @property
    def holds(self) -> bool:
        return self.opening_holds and not self.broken


@dataclass(frozen=True)
class Books:
    """A roll-forward or the cohorts, and the balances that it must come to: `held` less `debt`."""

    unit: str
    held: int
    debt: int
    lots: int


async def seal_next(session: AsyncSession, *, program: Program, now: datetime, real_now: datetime) -> bool:
    """Seal the next closed day of a program; False if none is closed. Two workers never seal the same day twice."""
    last = await queries.find_last_seal(session, program_id=program.id)
    first = await queries.find_first_entry(session, program_id=program.id) if last is None else None
    period = rules.next_period(
        sealed_until=last.until if last else None,
        first_entry_at=ids.made_at(first) if first else None,
        real_now=real_now,
    )
    if period is None:
        return False
    digest = await _digest(session, program_id=program.id, before=last.digest if last else _FIRST, period=period)
    seal = models.LedgerSeal(
        program_id=program.id,
        until=period.until,
        since=period.since,
        entries=digest.entries,
        digest=digest.value(),
        sealed_at=real_now,
    )
    await queries.insert_seal(session, seal)
    event = Event("ledger.sealed", program.id, occurred_at=now, recorded_at=now)
    await outbox.tell(session, program_id=program.id, events=[event])
    return True


async def prove(session: AsyncSession, *, program_id: UUID, until: datetime | None = None) -> Proof:
    """Digest every sealed day again, and name those that differ: a row was changed, removed or slipped in.

    Of days that an opening stands for, this is digested instead. Days after `until` are left out, if it is given.
    """
    while True:
        opening = await openings.find(session, program_id=program_id)
        opened_until = opening.until if opening else None
        proof = await _prove(session, program_id=program_id, opening=opening, until=until)
        now = await openings.find(session, program_id=program_id)
        if (now.until if now else None) == opened_until:  # or else entries may have gone meanwhile
            return proof


async def _prove(
    session: AsyncSession, *, program_id: UUID, opening: LedgerOpening | None, until: datetime | None
) -> Proof:
    opening_holds = opening is None
    count, before, broken = 0, _FIRST, []
    after: datetime | None = None
    async for seal in _chain(session, program_id=program_id, until=until):
        entries, holds = seal.entries, after is None or seal.since == after
        if opening is None or seal.until > opening.until:
            period = Period(seal.since, seal.until)
            digest = await _digest(session, program_id=program_id, before=before, period=period)
            entries, holds = digest.entries, holds and digest.value() == seal.digest
        elif seal.until == opening.until:
            found = await digest_opening(session, program_id=program_id, until=seal.until, entries=opening.entries)
            opening_holds = found == opening.digest
        if not holds:
            broken.append(Broken(seal.until, seal.entries, entries))
        before, after, count = seal.digest, seal.until, count + 1
    return Proof(count, before if count else None, broken, opening, opening_holds)


async def digest_opening(session: AsyncSession, *, program_id: UUID, until: datetime, entries: int) -> bytes:
    """Digest all that stands for a program's entries: the seals of their days, balances, and what they did to lots."""
    digest = Digest(_FIRST, since=until, until=until)
    digest.add(("opening", entries))
    async for seal in _chain(session, program_id=program_id, until=until):
        digest.add(("seal", seal.since, seal.until, seal.entries, seal.digest.hex()))
    async for row in openings.rows(session, program_id=program_id, until=until):
        digest.add(row)
    async for row in queries.stream_month_openings(session, program_id=program_id):
        digest.add(row)
    return digest.value()


async def seals(session: AsyncSession, *, program_id: UUID, cursor: str | None, limit: int) -> Page[models.LedgerSeal]:
    """List seals, oldest first."""
    rows = await queries.list_seals(session, program_id=program_id, after=_instant(cursor), limit=limit + 1)
    return page(rows, limit=limit, key=lambda seal: rfc3339(seal.until))


async def roll_forward(
    session: AsyncSession, *, program: Program, unit: str, first: str | None, last: str | None, now: datetime
) -> tuple[list[Month], Books]:
    """Return month by month what was owed to members; raises MonthsOutOfOrder."""
    start, end = rules.read_months(first, last, today=now.astimezone(program.rules.zone).date())
    moves = await queries.sum_by_month(session, program_id=program.id, unit=unit, zone=program.rules.time_zone)
    return rules.roll_forward(moves, first=start, last=end), await _books(session, program_id=program.id, unit=unit)


async def cohorts(session: AsyncSession, *, program: Program, unit: str) -> tuple[list[Cohort], Books]:
    """Return what has become of the points of each month."""
    moves = await queries.sum_by_cohort(session, program_id=program.id, unit=unit, zone=program.rules.time_zone)
    return rules.cohorts(moves), await _books(session, program_id=program.id, unit=unit)


async def _books(session: AsyncSession, *, program_id: UUID, unit: str) -> Books:
    held, debt = await queries.sum_wallets(session, program_id=program_id, unit=unit)
    return Books(unit, held, debt, await queries.sum_lots(session, program_id=program_id, unit=unit))


async def _chain(
    session: AsyncSession, *, program_id: UUID, until: datetime | None
) -> AsyncIterator[models.LedgerSeal]:
    """Yield a program's seals, oldest first, of the days before an instant if one is given."""
    after: datetime | None = None
    while found := await queries.list_seals(session, program_id=program_id, after=after, limit=_PAGE):
        for seal in found:
            if until is not None and seal.until > until:
                return
            yield seal
        after = found[-1].until


async def _digest(session: AsyncSession, *, program_id: UUID, before: bytes, period: Period) -> Digest:
    digest = Digest(before, since=period.since, until=period.until)
    rows = queries.stream_entries(session, program_id=program_id, since=period.since, until=period.until)
    async for row in rows:
        digest.add(row)
    return digest


def _instant(cursor: str | None) -> datetime | None:
    if cursor is None:
        return None
    found = parse_rfc3339(decode_cursor(cursor))
    if found is None:
        raise CursorInvalid
    return found
