import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import Final

from loyalty.books.errors import MonthsOutOfOrder

GRACE: Final = timedelta(hours=1)
"""Longer than the longest transaction: an entry gets its id when its transaction begins to write."""
_MONTHS: Final = 12
_MOST_MONTHS: Final = 120
_FIRST_YEAR: Final = 1900
_LAST_YEAR: Final = 2200


class Digest:
    """A running digest over the rows of one sealed period, begun from the seal before."""

    def __init__(self, before: bytes, *, since: datetime, until: datetime) -> None:
        self._hash = sha256(before)
        self._hash.update(f"{since.isoformat()}/{until.isoformat()}\n".encode())
        self.entries = 0

    def add(self, entry: Sequence[object]) -> None:
        """Take in an entry, with its allocations behind its own fields."""
        self._hash.update(json.dumps([None if value is None else str(value) for value in entry]).encode() + b"\n")
        self.entries += 1

    def value(self) -> bytes:
        return self._hash.digest()


@dataclass(frozen=True)
class Period:
    """What one seal covers: entries whose ids were made from `since` on, and before `until`."""

    since: datetime
    until: datetime


def next_period(*, sealed_until: datetime | None, first_entry_at: datetime | None, real_now: datetime) -> Period | None:
    """Return the next day to be sealed, or None while it is not closed for as long as the grace."""
    since = sealed_until or (first_entry_at and _midnight(first_entry_at))
    if since is None:
        return None
    until = _midnight(since) + timedelta(days=1)
    return Period(since, until) if until + GRACE <= real_now else None


@dataclass
class Month:
    """One month of the roll-forward: what was owed before it, and what came and went by counter-account."""

    first: date
    opening: int
    moves: dict[str, int] = field(default_factory=dict)

    @property
    def closing(self) -> int:
        return self.opening + sum(self.moves.values())


def roll_forward(moves: Iterable[tuple[date, str, int]], *, first: date, last: date) -> list[Month]:
    """Fold what moved by month and counter-account into months that continue each other."""
    by_month: dict[date, dict[str, int]] = {}
    opening = 0
    for month, account, points in moves:
        if month < first:
            opening += points
        elif month <= last:
            by_month.setdefault(month, {})[account] = points
    months: list[Month] = []
    for month in _months(first, last):
        months.append(Month(month, months[-1].closing if months else opening, by_month.get(month, {})))
    return months


def read_months(first: str | None, last: str | None, *, today: date) -> tuple[date, date]:
    """Read two months; the last twelve up to this one unless given."""
    end = _read(last) if last else today.replace(day=1)
    start = _read(first) if first else _shift(end, -(_MONTHS - 1))
    if not 0 <= _distance(start, end) < _MOST_MONTHS:
        raise MonthsOutOfOrder
    return start, end


_CREDITS: Final = ("issued", "opening", "adjusted", "transferred", "reversed")


@dataclass(frozen=True)
class Cohort:
    """The points credited in one month, and what has become of them by counter-account."""

    first: date
    moves: Mapping[str, int]

    @property
    def credited(self) -> int:
        """Return what was credited, less what returns took back."""
        return sum(
            self.moves.get(account, 0) for account in ("issued", "opening", "adjusted", "transferred", "reversed")
        )

    @property
    def broken(self) -> int:
        """Return what will never be redeemed: expired, less reinstated, and forfeited."""
        return -sum(self.moves.get(account, 0) for account in ("expired", "forfeited"))

    @property
    def remaining(self) -> int:
        return sum(self.moves.values())


def cohorts(moves: Iterable[tuple[date, str, int]]) -> list[Cohort]:
    by_month: dict[date, dict[str, int]] = {}
    for month, account, points in moves:
        own = by_month.setdefault(month, {})
        own[account] = own.get(account, 0) + points
    return [Cohort(month, by_month[month]) for month in sorted(by_month)]


def _midnight(instant: datetime) -> datetime:
    return datetime.combine(instant.astimezone(UTC).date(), time(), UTC)


def _months(first: date, last: date) -> Iterable[date]:
    return (_shift(first, number) for number in range(_distance(first, last) + 1))


def _shift(month: date, by: int) -> date:
    index = month.year * _MONTHS + month.month - 1 + by
    return date(index // _MONTHS, index % _MONTHS + 1, 1)


def _distance(first: date, last: date) -> int:
    return (last.year - first.year) * _MONTHS + last.month - first.month


def _read(text: str) -> date:
    try:
        month = datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007 -- a month has no zone
    except ValueError as error:
        raise MonthsOutOfOrder from error
    if not _FIRST_YEAR <= month.year <= _LAST_YEAR:
        raise MonthsOutOfOrder
    return month
