"""What an earning rule says, as typed data; stored and sent as the JSON that `read_terms` reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Final

from loyalty.programs.policies import LimitPeriod


class RuleKind(StrEnum):
    POINTS_PER_AMOUNT = "points_per_amount"
    POINTS_PER_ITEM = "points_per_item"
    BONUS = "bonus"
    MULTIPLIER = "multiplier"
    POINTS_PER_ACTIVITY = "points_per_activity"


class Rounding(StrEnum):
    """How a fraction of a point ends: towards zero, to the nearest (half up, or half to even), or away from zero."""

    DOWN = "down"
    HALF_UP = "half_up"
    HALF_EVEN = "half_even"
    UP = "up"


class Combination(StrEnum):
    """How a rule goes with others of its unit.

    `stack` adds up. Of all `best` ones the one that gives most counts. Where an `exclusive` one counts, no rule that
    ranks below it does: by priority, and of equal ones the older. An exclusive multiplier holds back multipliers only.
    """

    STACK = "stack"
    BEST = "best"
    EXCLUSIVE = "exclusive"


WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class PointsPerAmount:
    """`points` for each `step_minor` of base in the currency, in proportion, rounded once per order."""

    points: int
    step_minor: Mapping[str, int]
    rounding: Rounding = Rounding.DOWN


@dataclass(frozen=True)
class PointsPerItem:
    """`points` for each piece."""

    points: int


@dataclass(frozen=True)
class Bonus:
    """`points` for the order as a whole."""

    points: int


@dataclass(frozen=True)
class Multiplier:
    """Raises what rules per amount and per item give for the eligible lines to `percent` of it (200 doubles it).

    Several that stack each add their own extra.
    """

    percent: int
    rounding: Rounding = Rounding.DOWN


@dataclass(frozen=True)
class PointsPerActivity:
    """`points` each time that a member does something of this type."""

    activity: str
    points: int


Gives = PointsPerAmount | PointsPerItem | Bonus | Multiplier | PointsPerActivity


@dataclass(frozen=True)
class Goods:
    skus: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    brands: frozenset[str] = frozenset()

    @cached_property
    def is_anything(self) -> bool:
        """Whether it names nothing, and so any line is meant."""
        return not (self.skus or self.categories or self.brands)

    def hold(self, sku: str | None, category: str | None, brand: str | None) -> bool:
        """Tell whether a line is named by any of these."""
        return sku in self.skus or category in self.categories or brand in self.brands


@dataclass(frozen=True)
class Window:
    """Some days of the week (0 is Monday; none means all), from one minute of the local day until before another.

    One that ends at or before its beginning lasts past midnight, and belongs to the day on which it begins.
    """

    weekdays: frozenset[int] = frozenset()
    from_minute: int = 0
    until_minute: int = 24 * 60

    def covers(self, local: datetime) -> bool:
        minute = local.hour * 60 + local.minute
        if self.from_minute < self.until_minute:
            return self._on(local.weekday()) and self.from_minute <= minute < self.until_minute
        if minute >= self.from_minute:
            return self._on(local.weekday())
        return minute < self.until_minute and self._on((local.weekday() - 1) % 7)

    def _on(self, weekday: int) -> bool:
        return not self.weekdays or weekday in self.weekdays


@dataclass(frozen=True)
class Conditions:
    """All must be met; an empty one asks for nothing.

    `include` and `exclude` choose the lines; `minimum_minor` is the least base that the chosen ones must come to, by
    currency. `order_numbers` and `every_nth_order` count a customer's orders from 1.
    """

    include: Goods = Goods()
    exclude: Goods = Goods()
    minimum_minor: Mapping[str, int] = field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    channels: frozenset[str] = frozenset()
    stores: frozenset[str] = frozenset()
    payment_methods: frozenset[str] = frozenset()
    attributes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    order_numbers: frozenset[int] = frozenset()
    every_nth_order: int | None = None

    @cached_property
    def count_orders(self) -> bool:
        return bool(self.order_numbers) or self.every_nth_order is not None


@dataclass(frozen=True)
class MemberLimit:
    points: int
    period: LimitPeriod


@dataclass(frozen=True)
class Limits:
    """The most points that a rule gives: for one order, to one member within a period, and to all together."""

    per_order: int | None = None
    per_member: MemberLimit | None = None
    budget: int | None = None

    @cached_property
    def span_orders(self) -> bool:
        """Whether what one order earns leaves less for others."""
        return self.per_member is not None or self.budget is not None


@dataclass(frozen=True)
class Terms:
    unit: str
    gives: Gives
    conditions: Conditions = Conditions()
    limits: Limits = Limits()
    combination: Combination = Combination.STACK
    priority: int = 0

    @cached_property
    def activity(self) -> str | None:
        return self.gives.activity if isinstance(self.gives, PointsPerActivity) else None


def kind_of(gives: Gives) -> RuleKind:
    return _KINDS[type(gives)]


def minute_of_day(text: str) -> int:
    """Read `HH:MM`, up to `24:00`."""
    return int(text[:2]) * 60 + int(text[3:])


_KINDS: Final[dict[type, RuleKind]] = {
    PointsPerAmount: RuleKind.POINTS_PER_AMOUNT,
    PointsPerItem: RuleKind.POINTS_PER_ITEM,
    Bonus: RuleKind.BONUS,
    Multiplier: RuleKind.MULTIPLIER,
    PointsPerActivity: RuleKind.POINTS_PER_ACTIVITY,
}
