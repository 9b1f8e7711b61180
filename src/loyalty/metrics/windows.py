"""Windows of local days, turned into UTC instants; a day with a clock change is one day."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from loyalty.metrics.errors import HalfAWindow, PeriodAndWindow, WindowRefused

MONTHS_PER_YEAR = 12
LONGEST_WINDOW_DAYS = 3_660
FIRST_YEAR = 1900
END_YEAR = 2200


class Period(StrEnum):
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


MONTHS = {Period.MONTH: 1, Period.QUARTER: 3, Period.YEAR: 12}


class Mode(StrEnum):
    CALENDAR = "calendar"
    ROLLING = "rolling"


def first_instant(day: date, *, zone: ZoneInfo) -> datetime:
    """Return the first instant of a local day in UTC.

    With fold 0 a midnight that the clock skips becomes the instant of the change, and one that happens twice is the
    earlier, so consecutive days neither overlap nor leave a gap.
    """
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def local_day(instant: datetime, *, zone: ZoneInfo) -> date:
    return instant.astimezone(zone).date()


def add_months(day: date, months: int) -> date:
    """Shift the first of a month; other days of the month have no such shift everywhere (31 January)."""
    if day.day != 1:
        raise ValueError("only the first of a month can be shifted by months")
    index = day.year * MONTHS_PER_YEAR + day.month - 1 + months
    return date(index // MONTHS_PER_YEAR, index % MONTHS_PER_YEAR + 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Local days [first, end), not empty and at most ten years."""

    first: date
    end: date
    zone: ZoneInfo

    def __post_init__(self) -> None:
        within = self.first.year >= FIRST_YEAR and self.end.year < END_YEAR
        if not within or not 0 < self.days <= LONGEST_WINDOW_DAYS:
            raise WindowRefused

    @property
    def days(self) -> int:
        return (self.end - self.first).days

    @property
    def mode(self) -> Mode:
        """Whole months are `calendar`, anything else is `rolling`."""
        return Mode.CALENDAR if self.first.day == self.end.day == 1 else Mode.ROLLING

    @property
    def starts_at(self) -> datetime:
        return first_instant(self.first, zone=self.zone)

    @property
    def ends_at(self) -> datetime:
        return first_instant(self.end, zone=self.zone)

    def with_previous(self) -> "Window":
        """Return this window and the one just before as one."""
        return Window(first=self.previous().first, end=self.end, zone=self.zone)

    def previous(self) -> "Window":
        """Return the window just before, of the same kind: as many months for whole months, else as many days."""
        if self.mode is Mode.CALENDAR:
            months = (self.end.year - self.first.year) * MONTHS_PER_YEAR + self.end.month - self.first.month
            return Window(first=add_months(self.first, -months), end=self.first, zone=self.zone)
        return Window(first=self.first - timedelta(days=self.days), end=self.first, zone=self.zone)


def period_holding(day: date, *, period: Period, zone: ZoneInfo) -> Window:
    months = MONTHS[period]
    first = date(day.year, (day.month - 1) // months * months + 1, 1)
    return Window(first=first, end=add_months(first, months), zone=zone)


def last_finished(as_of: datetime, *, period: Period, zone: ZoneInfo) -> Window:
    """Return the latest whole period that was over at `as_of`."""
    return period_holding(local_day(as_of, zone=zone), period=period, zone=zone).previous()


def chosen(
    *, first: date | None, end: date | None, period: Period | None, as_of: datetime, zone: ZoneInfo
) -> Window | None:
    """Return the window that a caller named by its days or as the last finished period; None if neither."""
    if (first is None) != (end is None):
        raise HalfAWindow
    if first is not None and end is not None:
        if period is not None:
            raise PeriodAndWindow
        return Window(first=first, end=end, zone=zone)
    return last_finished(as_of, period=period, zone=zone) if period is not None else None


def trailing(*, end: date, days: int, zone: ZoneInfo) -> Window:
    return Window(first=end - timedelta(days=days), end=end, zone=zone)


def mature_end(as_of: datetime, *, horizon_days: int, zone: ZoneInfo) -> date:
    """Return the first local day whose entrants have not had `horizon_days` complete days by `as_of`.

    An entrant of day d is mature if d + horizon is before the day of `as_of`, which is itself unfinished.
    """
    return local_day(as_of, zone=zone) - timedelta(days=horizon_days)
