from calendar import isleap
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from loyalty.activities.errors import OccurredOutOfTime
from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.earning.verdicts import Verdict
from loyalty.points.rules import WalletKey

SIGNED_UP: Final = "signed_up"
BIRTHDAY: Final = "birthday"
BY_ITSELF: Final = frozenset({SIGNED_UP, BIRTHDAY})
"""What is recorded by itself, and by nobody else."""


@dataclass(frozen=True)
class NewActivity:
    """Something that a member did, ready to be recorded."""

    id: UUID
    member_id: UUID
    type: str
    external_id: str | None
    occurred_at: datetime
    recorded_at: datetime
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """An activity, by which rule set and facts it was judged, and what each rule said of it."""

    did: NewActivity
    rule_set: int
    facts: dict[str, Any]
    verdicts: list[Verdict]

    @property
    def counting(self) -> list[Verdict]:
        return [own for own in self.verdicts if own.counts]

    def wallets(self, program_id: UUID) -> set[WalletKey]:
        return {WalletKey(program_id, self.did.member_id, own.rule.terms.unit) for own in self.counting}


@dataclass(frozen=True)
class Paid:
    """A judged activity, and the entries that paid it, by rule."""

    judged: Judged
    entries: dict[UUID, UUID]


def signing_up(member_id: UUID, *, at: datetime) -> NewActivity:
    """Return what an enrolment is as an activity: once for each membership, whose id is its external id."""
    return NewActivity(ids.new(), member_id, SIGNED_UP, signing_up_id(member_id), at, at)


def signing_up_id(member_id: UUID) -> str:
    return ids.public("mem", member_id)


def birthday(member_id: UUID, *, at: datetime, year: int, now: datetime) -> NewActivity:
    """Return a birthday as an activity: once a year for each member."""
    return NewActivity(ids.new(), member_id, BIRTHDAY, f"{ids.public('mem', member_id)}:{year}", at, now)


def birthdays_on(day: date) -> set[tuple[int, int]]:
    """Return whose birthday a day is, as (month, day): who was born on a leap day has it on 28 February else."""
    own = (day.month, day.day)
    return {own, (2, 29)} if own == (2, 28) and not isleap(day.year) else {own}


def next_birthday(month: int, day: int, *, after: date) -> date:
    """Return the first birthday after a day."""
    years = (after.year + number for number in range(2))
    days = (
        date(year, 2, 28) if (month, day) == (2, 29) and not isleap(year) else date(year, month, day) for year in years
    )
    return next(own for own in days if own > after)


def check_occurred(occurred_at: datetime, *, now: datetime, late_days: int) -> None:
    """Accept what occurred up to `late_days` times 24 hours ago, and nothing from the future."""
    earliest = now - timedelta(days=late_days)
    if not earliest <= occurred_at <= now:
        raise OccurredOutOfTime(earliest=rfc3339(earliest), latest=rfc3339(now))
