"""Birthdays, which come by themselves: each is an activity at the start of its local day, once a year."""

import logging
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.activities import queries, rules, service
from loyalty.activities.rules import BIRTHDAY
from loyalty.core.db import savepoint
from loyalty.core.errors import Conflict
from loyalty.earning import service as earning
from loyalty.earning.service import RuleSet
from loyalty.members import customers
from loyalty.members import service as members
from loyalty.programs.policies import start_of_day
from loyalty.programs.rules import Program

_A_DAY: Final = timedelta(days=1)

_log = logging.getLogger("loyalty.activities")


async def celebrate(session: AsyncSession, *, program: Program, now: datetime, limit: int) -> int:
    """Record at most so many birthdays up to today that were not recorded yet; return how many were looked at.

    A day on which no rule gives anything for them passes without. Locks customers in order of id, each before what it
    earns, so that who looks at one at a time holds nobody up.
    """
    progress = await queries.lock_birthdays(session, program_id=program.id, yesterday=_today(program, now) - _A_DAY)
    if progress is None:
        return 0
    known = await earning.rule_set(session, program_id=program.id)
    (day, after), left = progress, limit
    while day < _today(program, now) and left:
        day += _A_DAY
        born = await _born(session, program=program, known=known, day=day, after=after, limit=left)
        for member_id in born:
            await _have(session, program=program, member_id=member_id, day=day, now=now)
        left -= len(born)
        after = None if left else born[-1]
    await queries.set_birthdays(session, program_id=program.id, done_on=day if left else day - _A_DAY, after=after)
    return limit - left


async def introduce(session: AsyncSession, *, program: Program, now: datetime) -> None:
    """Let birthdays count from today on, if none were recorded yet, and keep others from recording any meanwhile."""
    yesterday = _today(program, now) - _A_DAY
    await queries.lock_birthdays(session, program_id=program.id, yesterday=yesterday, wait=True)


async def next_due(session: AsyncSession, *, program: Program) -> datetime | None:
    """Return when the next birthday begins that a rule may give something for; null if there is none."""
    known = await earning.rule_set(session, program_id=program.id)
    done_on = await queries.find_birthdays(session, program_id=program.id)
    if done_on is None or not any(version.terms.activity == BIRTHDAY for version in known.versions):
        return None
    days = await members.birthdays(session, program_id=program.id)
    soonest = min((rules.next_birthday(month, day, after=done_on) for month, day in days), default=None)
    return None if soonest is None else start_of_day(soonest, program.rules.zone)


async def lock(session: AsyncSession, *, program: Program, until: datetime) -> set[UUID]:
    """Lock every customer who has a birthday not recorded yet by then, in order of id, and return them."""
    done_on = await queries.find_birthdays(session, program_id=program.id)
    if done_on is None:
        return set()
    last = until.astimezone(program.rules.zone).date()
    days = (done_on + timedelta(days=number) for number in range(1, min((last - done_on).days, 366) + 1))
    born = await members.born_on(session, program_id=program.id, days=_all_of(days), after=None, limit=None)
    return await customers.lock(session, program_id=program.id, customer_ids=born)


async def _have(session: AsyncSession, *, program: Program, member_id: UUID, day: date, now: datetime) -> None:
    """Let a member have a birthday; one whose wallet has no room for it is passed by, and holds nobody up."""
    at = start_of_day(day, program.rules.zone)
    try:
        async with savepoint(session):
            await service.have_birthday(session, program=program, member_id=member_id, at=at, now=now)
    except Conflict as refusal:
        _log.warning("a birthday was passed by: %s", refusal.code, extra={"member_id": str(member_id)})


async def _born(
    session: AsyncSession, *, program: Program, known: RuleSet, day: date, after: UUID | None, limit: int
) -> list[UUID]:
    """Return members whose birthday a day is, in order of id, if anything is given for that."""
    if not known.at(start_of_day(day, program.rules.zone), activity=BIRTHDAY):
        return []
    days = rules.birthdays_on(day)
    return await members.born_on(session, program_id=program.id, days=days, after=after, limit=limit)


def _all_of(days: Iterable[date]) -> set[tuple[int, int]]:
    return {own for day in days for own in rules.birthdays_on(day)}


def _today(program: Program, now: datetime) -> date:
    return now.astimezone(program.rules.zone).date()
