"""What the reports count, and when a figure must not be shown."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

from loyalty.core.clock import rfc3339
from loyalty.metrics.adjusted import Spread
from loyalty.metrics.errors import AsOfNotAvailable, AsOfWithoutZone
from loyalty.metrics.intervals import Share
from loyalty.metrics.strata import Cell
from loyalty.metrics.windows import first_instant, local_day

SMALL_SAMPLE = 30
SMALLEST_GROUP = 10
TENURE_DAYS = 30
REFERRAL_WINDOW_DAYS = 90
REPEAT_HORIZON_DAYS = 90
REPEAT_WINDOW_DAYS = 90
COMPARISON_WINDOW_DAYS = 365
LONGEST_HORIZON_DAYS = 730
CHANNELS_SHOWN = 20
EARLIEST_AS_OF = 1970


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """Raise `version` whenever the same facts would give another number."""

    slug: str
    version: int


RETENTION_RATE = Definition(slug="retention_rate", version=1)
CHURN_RATE = Definition(slug="churn_rate_period", version=1)
CRR_TEXTBOOK = Definition(slug="crr_textbook", version=1)
CRR_NET_OF_NEW = Definition(slug="crr_net_of_new", version=1)
REPEAT_PURCHASE_RATE = Definition(slug="repeat_purchase_rate", version=1)
REFERRAL_RATE = Definition(slug="referral_rate", version=1)
REFERRAL_RATE_TENURED = Definition(slug="referral_rate_tenured", version=1)
REFERRAL_RATE_QUALIFIED = Definition(slug="referral_rate_qualified", version=1)
REFERRED_CUSTOMER_SHARE = Definition(slug="referred_customer_share", version=1)
MEMBERS_VERSUS_NON_MEMBERS = Definition(slug="members_versus_non_members", version=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Whose facts, by whose clock, as known when."""

    program_id: UUID
    zone: ZoneInfo
    as_of: datetime
    late_days: int = 0

    @property
    def complete_day(self) -> date:
        """The first local day that may still change: that of `as_of`, or earlier where orders may be reported late."""
        return local_day(self.as_of, zone=self.zone) - timedelta(days=self.late_days)

    @property
    def data_complete_until(self) -> datetime:
        return first_instant(self.complete_day, zone=self.zone)


def view(*, program_id: UUID, time_zone: str, as_of: datetime | None, now: datetime, late_days: int = 0) -> View:
    """Return the view of what is known now, or was at `as_of`; orders may come in up to `late_days` late."""
    known_at = as_of or now
    if known_at.tzinfo is None:
        raise AsOfWithoutZone
    if known_at.year < EARLIEST_AS_OF or known_at > now:
        raise AsOfNotAvailable(now=rfc3339(now))
    return View(program_id=program_id, zone=ZoneInfo(time_zone), as_of=known_at, late_days=late_days)


class Standing(StrEnum):
    """Against the first instant of the earlier of two windows; who changes until the end of the later is apart."""

    MEMBER = "member"
    NON_MEMBER = "non_member"
    JOINED_DURING = "joined_during"
    LEFT_DURING = "left_during"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSets:
    """Customers by when they bought.

    `lost` in the earlier window only; `new` and `reactivated` in the later only, `reactivated` also before both.
    """

    retained: int
    lost: int
    new: int
    reactivated: int

    def __add__(self, other: "RetentionSets") -> "RetentionSets":
        return RetentionSets(
            retained=self.retained + other.retained,
            lost=self.lost + other.lost,
            new=self.new + other.new,
            reactivated=self.reactivated + other.reactivated,
        )

    @property
    def at_start(self) -> int:
        return self.retained + self.lost

    @property
    def at_end(self) -> int:
        return self.retained + self.new + self.reactivated

    @property
    def retention(self) -> Share:
        return Share(successes=self.retained, trials=self.at_start)

    @property
    def churn(self) -> Share:
        return Share(successes=self.lost, trials=self.at_start)


NO_BUYERS = RetentionSets(retained=0, lost=0, new=0, reactivated=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Takings:
    currency: str
    orders: int
    revenue_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatCounts:
    entrants: int
    repeated: int
    immature: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferrerCounts:
    """`ended`, `by_others` (not eligible) and `waiting` (not approved) are referrals, the rest are members."""

    members: int
    tenured: int
    suspended: int
    approved: int
    approved_tenured: int
    qualified: int
    ended: int
    by_others: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferredCounts:
    newcomers: int
    referred: int
    ended: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    cells: tuple[Cell, ...]
    spread: Spread
    controls_joining_later: int
    immature: int
    immature_joins: int
    inside_grace: int
    inside_grace_joins: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinCounts:
    joins: int
    order_not_counted: int
    before_first_order: int
    away_from_an_order: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EverMembers:
    members: int
    members_repeated: int
    others: int
    others_repeated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Linkable:
    """Counted orders; `channel` is empty where none was sent, None for all channels beyond the largest."""

    channel: str | None
    members: int
    others: int
    unidentified: int


def ratio(above: int, below: int) -> float | None:
    return above / below if below else None


def suppressed(sizes: dict[Standing, int]) -> frozenset[Standing]:
    """Return the groups too small to show; with one alone the next smallest too, else a total would give it away.

    An empty group discloses nobody and is shown.
    """
    held = sorted((size, standing) for standing, size in sizes.items() if size)
    small = [standing for size, standing in held if size < SMALLEST_GROUP]
    if len(small) == 1:
        small = [standing for _, standing in held[:2]]
    return frozenset(small)
