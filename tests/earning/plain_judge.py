"""Counting an order in the plainest way: exact fractions, point after point, and no care for speed.

Written from what rules promise, as the model that `judge_order` is compared with.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil, floor
from typing import Any
from uuid import UUID

from loyalty.earning.facts import Moment, Purchase
from loyalty.earning.rules import RuleVersion
from loyalty.earning.terms import (
    Bonus,
    Combination,
    Goods,
    Multiplier,
    PointsPerAmount,
    PointsPerItem,
    Rounding,
    Window,
)
from loyalty.earning.verdicts import Outcome
from loyalty.orders.rules import Line, LineKind
from loyalty.programs.policies import EarningBase

ROUNDED: Mapping[Rounding, Callable[[Fraction], int]] = {
    Rounding.DOWN: floor,
    Rounding.UP: ceil,
    Rounding.HALF_UP: lambda exact: floor(exact + Fraction(1, 2)),
    Rounding.HALF_EVEN: round,
}


@dataclass
class Said:
    """What a rule says of an order. `reasons` are all that speak against it; `shares` are the lines' points."""

    rule: RuleVersion
    reasons: set[Outcome]
    points: int
    shares: list[int]
    base_minor: int = 0

    @property
    def counts(self) -> bool:
        return not self.reasons


def judge(rules: Iterable[RuleVersion], *, purchase: Purchase, moment: Moment) -> dict[UUID, Said]:
    """Return what each rule says: the ones that give first, then those that multiply what was given."""
    giving: list[RuleVersion] = []
    raising: list[RuleVersion] = []
    for rule in sorted(rules, key=in_turn):
        (raising if isinstance(rule.terms.gives, Multiplier) else giving).append(rule)
    said = [_say(rule, purchase, moment, []) for rule in giving]
    _let_exclusive_ones_stand_alone(said, said)
    _let_the_best_one_count(said)
    given = [own for own in said if own.counts and isinstance(own.rule.terms.gives, PointsPerAmount | PointsPerItem)]
    more = [_say(rule, purchase, moment, given) for rule in raising]
    _let_exclusive_ones_stand_alone(said, more)
    _let_exclusive_ones_stand_alone(more, more)
    _let_the_best_one_count(more)
    return {own.rule.rule_id: own for own in (*said, *more)}


def in_turn(rule: RuleVersion) -> tuple[int, UUID]:
    """Higher priority first; of equal ones the older rule."""
    return (-rule.terms.priority, rule.rule_id)


def covers(window: Window, local: datetime) -> bool:
    """Lay the window out on the days around, and look whether one of them holds this wall time."""
    wall = local.replace(tzinfo=None)
    midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
    for day in (midnight, midnight - timedelta(days=1)):
        begins, ends = day + timedelta(minutes=window.from_minute), day + timedelta(minutes=window.until_minute)
        if ends <= begins:
            ends += timedelta(days=1)
        if (not window.weekdays or day.weekday() in window.weekdays) and begins <= wall < ends:
            return True
    return False


def _say(rule: RuleVersion, purchase: Purchase, moment: Moment, given: Sequence[Said]) -> Said:
    chosen = [index for index, line in enumerate(purchase.lines) if _is_chosen(line, rule, moment.base)]
    base = sum((_worth(purchase.lines[index], moment.base) for index in chosen), 0)
    reasons = _against(rule, purchase, moment, bool(chosen), base)
    nothing = [0] * len(purchase.lines)
    if reasons:
        return Said(rule, reasons, 0, nothing, base)
    weights = {index: _worth(purchase.lines[index], moment.base) for index in chosen}
    gives = rule.terms.gives
    match gives:
        case PointsPerAmount():
            exact = Fraction(base, gives.step_minor[purchase.currency]) * gives.points
            points = ROUNDED[gives.rounding](exact)
        case PointsPerItem():
            weights = {index: purchase.lines[index].quantity for index in chosen}
            points = sum(gives.points for index in chosen for _ in range(purchase.lines[index].quantity))
        case Bonus():
            points = gives.points
        case Multiplier():
            own = [said for said in given if said.rule.terms.unit == rule.terms.unit]
            weights = {index: sum(said.shares[index] for said in own) for index in chosen}
            if not any(weights.values()):
                return Said(rule, {Outcome.NOTHING_TO_MULTIPLY}, 0, nothing, base)
            raised = Fraction(sum(weights.values())) * Fraction(gives.percent, 100)
            points = ROUNDED[gives.rounding](raised - sum(weights.values()))
        case _:
            raise AssertionError(gives)
    left = min([points, *_caps(rule, moment)])
    if left == 0:
        return Said(rule, {Outcome.LIMIT_REACHED if points else Outcome.LESS_THAN_A_POINT}, 0, nothing, base)
    return Said(rule, set(), left, _deal(left, weights, len(purchase.lines)), base)


def _against(rule: RuleVersion, purchase: Purchase, moment: Moment, any_chosen: bool, base: int) -> set[Outcome]:
    asks, gives, currency = rule.terms.conditions, rule.terms.gives, purchase.currency
    number, every = moment.order_number, asks.every_nth_order
    asks_number = bool(asks.order_numbers) or every is not None
    right_number = number is not None and (number in asks.order_numbers or (every and number % every == 0))
    met: dict[Outcome, Any] = {
        Outcome.OTHER_CURRENCY: (not isinstance(gives, PointsPerAmount) or currency in gives.step_minor)
        and (not asks.minimum_minor or currency in asks.minimum_minor),
        Outcome.OUTSIDE_WINDOW: not asks.windows or any(covers(window, moment.local) for window in asks.windows),
        Outcome.OTHER_CHANNEL: not asks.channels or purchase.channel in asks.channels,
        Outcome.OTHER_STORE: not asks.stores or purchase.store in asks.stores,
        Outcome.OTHER_PAYMENT_METHOD: not asks.payment_methods or purchase.payment_method in asks.payment_methods,
        Outcome.OTHER_ATTRIBUTE: all(moment.attributes.get(name) in wanted for name, wanted in asks.attributes.items()),
        Outcome.OTHER_ORDER_NUMBER: not asks_number or right_number,
        Outcome.NO_ELIGIBLE_LINE: any_chosen,
        Outcome.BELOW_MINIMUM: currency not in asks.minimum_minor or base >= asks.minimum_minor[currency],
    }
    return {reason for reason, is_met in met.items() if not is_met}


def _is_chosen(line: Line, rule: RuleVersion, base: EarningBase) -> bool:
    kinds = {LineKind.PRODUCT: True, LineKind.GIFT_CARD: base.gift_cards, LineKind.SHIPPING: base.shipping}
    include, exclude = rule.terms.conditions.include, rule.terms.conditions.exclude
    asks_nothing = not (include.skus or include.categories or include.brands)
    is_there = line.quantity > 0 or line.total_minor > 0
    return kinds[line.kind] and is_there and (asks_nothing or _names(include, line)) and not _names(exclude, line)


def _names(goods: Goods, line: Line) -> bool:
    return line.sku in goods.skus or line.category in goods.categories or line.brand in goods.brands


def _worth(line: Line, base: EarningBase) -> int:
    kinds = {LineKind.PRODUCT: True, LineKind.GIFT_CARD: base.gift_cards, LineKind.SHIPPING: base.shipping}
    if not kinds[line.kind]:
        return 0
    parts = [
        line.total_minor,
        line.discount_minor * base.before_discounts,
        -line.tax_minor * base.without_tax,
        -line.points_minor * (not base.paid_with_points),
    ]
    return max(0, sum(parts))


def _caps(rule: RuleVersion, moment: Moment) -> list[int]:
    allowed = moment.allowed.get(rule.rule_id)
    caps = [rule.terms.limits.per_order, allowed.member if allowed else None, allowed.budget if allowed else None]
    return [cap for cap in caps if cap is not None]


def _deal(points: int, weights: Mapping[int, int], lines: int) -> list[int]:
    """Deal points out in proportion: whole ones first, then one each to who lacks most of theirs, earlier lines first.

    Where nothing weighs, the first line takes them all.
    """
    shares, whole = [0] * lines, sum(weights.values())
    if whole == 0:
        shares[min(weights)] = points
        return shares
    exact = {index: Fraction(points * weight, whole) for index, weight in weights.items()}
    for index, due in exact.items():
        shares[index] = floor(due)
    while sum(shares) < points:
        lacking = max(exact, key=lambda index: (exact[index] - shares[index], -index))
        shares[lacking] += 1
    return shares


def _let_exclusive_ones_stand_alone(above: Sequence[Said], said: Sequence[Said]) -> None:
    for own in said:
        for other in above:
            same_unit = other.rule.terms.unit == own.rule.terms.unit
            is_exclusive = other.rule.terms.combination is Combination.EXCLUSIVE
            if own.counts and other.counts and same_unit and is_exclusive and in_turn(other.rule) < in_turn(own.rule):
                _drop(own, Outcome.OUTRANKED)


def _let_the_best_one_count(said: Sequence[Said]) -> None:
    for unit in {own.rule.terms.unit for own in said}:
        of_unit = [own for own in said if own.rule.terms.unit == unit and own.counts]
        rivals = [own for own in of_unit if own.rule.terms.combination is Combination.BEST]
        for own in rivals[:]:
            if any((-other.points, in_turn(other.rule)) < (-own.points, in_turn(own.rule)) for other in rivals):
                _drop(own, Outcome.NOT_THE_BEST)


def _drop(own: Said, reason: Outcome) -> None:
    own.reasons.add(reason)
    own.shares = [0] * len(own.shares)
