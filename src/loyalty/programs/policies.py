"""What settings say of time and points: when lots begin and expire, what a return takes.

Days are local days of the program's zone. A lot that expires "on" a day is good until that day is over.
"""

from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

_MONTHS: Final = 12
_LIFETIME_ON: Final = date(1970, 1, 1)


class LimitPeriod(StrEnum):
    """A period of the program's calendar; weeks begin on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"
    LIFETIME = "lifetime"


class ExpiryKind(StrEnum):
    NEVER = "never"
    AFTER = "after"
    DATES = "dates"
    INACTIVITY = "inactivity"


class RoundUpTo(StrEnum):
    MONTH = "month"
    YEAR = "year"


class ActivationKind(StrEnum):
    AT_ONCE = "at_once"
    DELAY = "delay"
    DELIVERY = "delivery"


class Clawback(StrEnum):
    """What a return takes back beyond the order's own pending points."""

    PENDING_ONLY = "pending_only"
    CLAMP_TO_ZERO = "clamp_to_zero"
    ALLOW_DEBT = "allow_debt"


class ExpiredLot(StrEnum):
    """What becomes of points that return to a lot which has expired meanwhile."""

    RESTORE_WITH_GRACE = "restore_with_grace"
    NEW_LOT = "new_lot"
    FORFEIT = "forfeit"


class Refund(StrEnum):
    """What goes back first of an order that was paid in part with points."""

    PROPORTIONAL = "proportional"
    MONEY_FIRST = "money_first"
    POINTS_FIRST = "points_first"


@dataclass(frozen=True)
class BurnRate:
    """So many points pay so many minor units."""

    points: int
    amount_minor: int

    def value_of(self, points: int) -> int:
        """Return what points pay, rounded down."""
        return points * self.amount_minor // self.points

    def least_for(self, minor: int) -> int:
        """Return the fewest points that pay an amount."""
        return -(-minor * self.points // self.amount_minor)

    def most_within(self, minor: int) -> int:
        """Return the most points that pay no more than an amount."""
        return ((minor + 1) * self.points - 1) // self.amount_minor


@dataclass(frozen=True)
class Burn:
    """What points pay for orders: rates by currency (none: nothing), from so many points up to a part of the total."""

    rates: Mapping[str, BurnRate] = field(default_factory=dict)
    least_points: int = 1
    most_percent: int = 100


@dataclass(frozen=True)
class EarningBase:
    """What of a line counts towards points: its total, and whether this holds what is named here."""

    before_discounts: bool = False
    without_tax: bool = False
    shipping: bool = False
    gift_cards: bool = False
    paid_with_points: bool = False


@dataclass(frozen=True)
class Period:
    """A number of local days, or of calendar months; the 31st plus a month is that month's last day."""

    days: int = 0
    months: int = 0

    def after(self, day: date) -> date:
        index = day.year * _MONTHS + day.month - 1 + self.months
        year, month = divmod(index, _MONTHS)
        clamped = min(day.day, monthrange(year, month + 1)[1])
        return date(year, month + 1, clamped) + timedelta(days=self.days)


@dataclass(frozen=True)
class LotDates:
    """When a lot expires: at an instant, or after a wallet was idle for so long; neither means never."""

    expires_at: datetime | None = None
    idle: Period | None = None


@dataclass(frozen=True)
class Expiry:
    """When points expire that become spendable now.

    `after`: a period, rounded up to the end of its month or year if so wished. `dates`: the end of the next of these
    calendar days (`MM-DD`; 29 February falls on the 28th in other years). `inactivity`: a period without earning or
    spending.
    """

    kind: ExpiryKind = ExpiryKind.NEVER
    days: int = 0
    months: int = 0
    round_up_to: RoundUpTo | None = None
    dates: tuple[str, ...] = ()

    def dates_from(self, start: datetime, zone: ZoneInfo) -> LotDates:
        """Return the dates of a lot that becomes spendable at `start`."""
        day = start.astimezone(zone).date()
        match self.kind:
            case ExpiryKind.NEVER:
                return LotDates()
            case ExpiryKind.AFTER:
                last = _rounded(Period(self.days, self.months).after(day), self.round_up_to)
                return LotDates(end_of_day(last, zone))
            case ExpiryKind.DATES:
                return LotDates(end_of_day(min(_next(written, day) for written in self.dates), zone))
            case ExpiryKind.INACTIVITY:
                return LotDates(idle=Period(self.days, self.months))


@dataclass(frozen=True)
class Activation:
    """When the points of a paid order become spendable: at once, at the start of a later day, or on delivery."""

    kind: ActivationKind = ActivationKind.AT_ONCE
    days: int = 0

    def starts_at(self, paid_at: datetime, zone: ZoneInfo) -> datetime:
        """Return the start of the local day that lies `days` after the payment's."""
        return start_of_day(paid_at.astimezone(zone).date() + timedelta(days=self.days), zone)


def period_start(period: LimitPeriod, day: date) -> date:
    """Return the first day of the period that a local day lies in; a lifetime begins in 1970."""
    match period:
        case LimitPeriod.DAY:
            return day
        case LimitPeriod.WEEK:
            return day - timedelta(days=day.weekday())
        case LimitPeriod.MONTH:
            return day.replace(day=1)
        case LimitPeriod.YEAR:
            return day.replace(month=1, day=1)
        case LimitPeriod.LIFETIME:
            return _LIFETIME_ON


def next_period(period: LimitPeriod, day: date) -> date | None:
    """Return the first day after the period that a local day lies in; None for a lifetime, which nothing follows."""
    first = period_start(period, day)
    match period:
        case LimitPeriod.DAY:
            return Period(days=1).after(first)
        case LimitPeriod.WEEK:
            return Period(days=7).after(first)
        case LimitPeriod.MONTH:
            return Period(months=1).after(first)
        case LimitPeriod.YEAR:
            return Period(months=_MONTHS).after(first)
        case LimitPeriod.LIFETIME:
            return None


def idle_until(active_at: datetime, idle: Period, zone: ZoneInfo) -> datetime:
    """Return when a wallet last active at an instant has been idle for a period: at the end of that local day."""
    return end_of_day(idle.after(active_at.astimezone(zone).date()), zone)


def end_of_day(day: date, zone: ZoneInfo) -> datetime:
    """Return the instant at which a local day is over."""
    return start_of_day(day + timedelta(days=1), zone)


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """Return the instant at which a local day begins; where midnight is skipped, the first moment after the gap."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _rounded(day: date, to: RoundUpTo | None) -> date:
    match to:
        case None:
            return day
        case RoundUpTo.MONTH:
            return day.replace(day=monthrange(day.year, day.month)[1])
        case RoundUpTo.YEAR:
            return date(day.year, _MONTHS, 31)


def _next(written: str, day: date) -> date:
    """Return the first day so written that is not before `day`."""
    month, number = int(written[:2]), int(written[3:])
    found = [date(year, month, min(number, monthrange(year, month)[1])) for year in (day.year, day.year + 1)]
    return next(candidate for candidate in found if candidate >= day)
