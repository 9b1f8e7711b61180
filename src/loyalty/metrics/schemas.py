"""The replies. A share is a fraction (0.9 is 90 %), so is a difference of shares; money is in minor units."""

from datetime import date, datetime

from msgspec import Struct, field

from loyalty.core.money import MoneyOut


class Interval(Struct, frozen=True, kw_only=True):
    """Limits at `level` (0.95), by the named method."""

    method: str
    level: float
    low: float
    high: float


class WindowOut(Struct, frozen=True, kw_only=True):
    """Local days from `from` until before `to`, and the instants at which they begin and end."""

    from_: date = field(name="from")
    to: date
    time_zone: str
    starts_at: datetime
    ends_at: datetime


class Remark(Struct, frozen=True, kw_only=True):
    """Something a reader of the figure must know; the code is stable, the text is a sentence."""

    code: str
    text: str


class Figure(Struct, frozen=True, kw_only=True):
    """One figure and all it takes to state it again.

    `value` is null when the denominator is 0. `small_sample` marks a denominator under 30. `excluded` counts what the
    figure leaves out, by reason. Facts recorded after `as_of` are ignored; days before `data_complete_until` are whole.
    """

    metric: str
    definition_version: int
    value: float | None
    numerator: int
    denominator: int
    interval: Interval | None
    small_sample: bool
    window: WindowOut
    mode: str
    as_of: datetime
    data_complete_until: datetime
    excluded: dict[str, int]
    warnings: list[Remark]


class RetentionRate(Figure, frozen=True, kw_only=True):
    """Buyers of the previous window who bought again in this one.

    `at_start` = retained + lost, `at_end` = retained + new + reactivated.
    """

    previous_window: WindowOut
    retained: int
    lost: int
    new: int
    reactivated: int
    at_start: int
    at_end: int


class ChurnRate(Figure, frozen=True, kw_only=True):
    """Buyers of the previous window who did not buy in this one: 1 - retention rate."""

    previous_window: WindowOut


class CrrTextbook(Figure, frozen=True, kw_only=True):
    """Customers at the end over customers at the start; `net_of_new` leaves the new ones out of the numerator."""

    previous_window: WindowOut
    net_of_new: Figure


class RepeatPurchaseRate(Figure, frozen=True, kw_only=True):
    """First-time buyers of the window who bought on a second day within `horizon_days`, if followed that long."""

    horizon_days: int
    matured: bool


class ReferralRate(Figure, frozen=True, kw_only=True):
    """Members who referred somebody approved; `qualified` also counts what is not yet approved and is provisional."""

    basis: str
    hold_days: int
    mature_through: date
    tenured: Figure
    qualified: Figure


class ReferredCustomerShare(Figure, frozen=True, kw_only=True):
    """New customers who were referred."""

    basis: str


class StandingRate(Struct, frozen=True, kw_only=True):
    """Retention of one group. A suppressed group is, or would reveal, fewer than ten customers."""

    standing: str
    suppressed: bool
    value: float | None
    numerator: int | None
    denominator: int | None
    interval: Interval | None
    small_sample: bool


class UnidentifiedOrders(Struct, frozen=True, kw_only=True):
    """Counted orders that belong to no known customer, hence to neither group."""

    orders: int
    revenue: MoneyOut


class RawAssociation(Struct, frozen=True, kw_only=True):
    """Retention by standing at the first instant of the previous window. `difference` is member less non-member."""

    label: str
    note: str
    window: WindowOut
    previous_window: WindowOut
    groups: list[StandingRate]
    difference: float | None
    difference_interval: Interval | None
    difference_withheld_because: str | None
    unidentified_previous: list[UnidentifiedOrders]
    unidentified: list[UnidentifiedOrders]
    warnings: list[Remark]


class BalanceOut(Struct, frozen=True, kw_only=True):
    """Standardised difference of a covariate, joiners less controls; `flagged` when it stays above 0.1 either way."""

    covariate: str
    before: float | None
    after: float | None
    flagged: bool


class PlaceboOut(Struct, frozen=True, kw_only=True):
    """The same comparison of an outcome that joining cannot have caused: a short gap before the previous gap.

    A difference smaller than `detectable` would probably pass unseen (80 % power).
    """

    difference: float
    interval: Interval
    joins: int
    controls: int
    detectable: float


class Ratio(Struct, frozen=True, kw_only=True):
    """A risk ratio, and how strongly an unmeasured cause must go with both joining and returning to explain it."""

    value: float
    interval: Interval
    e_value: float
    e_value_of_limit: float


class NaiveDifference(Struct, frozen=True, kw_only=True):
    """What a plain comparison says: ever a member against never, share with purchases on two days or more.

    `times_adjusted` is null where the adjusted interval holds 0: a ratio to what may be nothing says nothing.
    """

    value: float | None
    interval: Interval | None
    members: int
    others: int
    times_adjusted: float | None


class LinkableOut(Struct, frozen=True, kw_only=True):
    """Orders of a channel (null: none sent, `other`: all beyond the largest) and how many can be tied to a customer."""

    channel: str | None
    member_orders: int
    other_orders: int
    unidentified_orders: int
    linkable_share_members: float | None
    linkable_share_others: float | None


class AdjustedAssociation(Struct, frozen=True, kw_only=True):
    """Joiners against comparable non-members of the same stratum, one trial per order.

    `value` is the difference of the rates of return, `joined_rate` less `control_rate`, weighted to those who joined;
    null with `withheld_because` when the data do not carry it. A return is a purchase after `grace_days`, within
    `horizon_days` more. `overlap` is the share of joins that have controls.
    """

    label: str
    note: str
    value: float | None
    interval: Interval | None
    withheld_because: str | None
    window: WindowOut
    mode: str
    excluded: dict[str, int]
    warnings: list[Remark]
    grace_days: int
    horizon_days: int
    grid: str
    strata: int
    joins: int
    joins_with_controls: int
    controls: int
    controls_joining_later: int
    overlap: float | None
    joined_rate: float | None
    control_rate: float | None
    risk_ratio: Ratio | None
    mantel_haenszel_difference: float | None
    balance: list[BalanceOut]
    placebo: PlaceboOut | None
    placebo_missing_because: str | None
    naive: NaiveDifference
    linkable: list[LinkableOut]
    worst_case_difference: float | None


class MembersVersusNonMembers(Struct, frozen=True, kw_only=True):
    """The ladder from raw to adjusted; no rung of it proves a cause."""

    metric: str
    definition_version: int
    as_of: datetime
    data_complete_until: datetime
    association_raw: RawAssociation
    association_adjusted: AdjustedAssociation
