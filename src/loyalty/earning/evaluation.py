"""What rules give for an order or an activity, and why not: every rule gets a verdict."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from operator import attrgetter
from typing import Final, NamedTuple

from loyalty.core.money import MAX_INTEGER, share
from loyalty.earning.baskets import Basket
from loyalty.earning.facts import Moment, Purchase
from loyalty.earning.rules import Allowance, Award, RuleVersion, divide
from loyalty.earning.terms import (
    Bonus,
    Combination,
    Conditions,
    Multiplier,
    PointsPerActivity,
    PointsPerAmount,
    PointsPerItem,
)

_UNLIMITED: Final = Allowance()
_RANK: Final = attrgetter("rank")


class Outcome(StrEnum):
    """Why a rule gives points, or none."""

    COUNTED = "counted"
    OTHER_CURRENCY = "other_currency"
    OUTSIDE_WINDOW = "outside_window"
    OTHER_CHANNEL = "other_channel"
    OTHER_STORE = "other_store"
    OTHER_PAYMENT_METHOD = "other_payment_method"
    OTHER_ATTRIBUTE = "other_attribute"
    OTHER_ORDER_NUMBER = "other_order_number"
    NO_ELIGIBLE_LINE = "no_eligible_line"
    BELOW_MINIMUM = "below_minimum"
    NOTHING_TO_MULTIPLY = "nothing_to_multiply"
    LESS_THAN_A_POINT = "less_than_a_point"
    LIMIT_REACHED = "limit_reached"
    NOT_THE_BEST = "not_the_best"
    OUTRANKED = "outranked"


class Verdict(NamedTuple):
    """What one rule says: the base and pieces of its lines, its points before limits (`counted`) and after.

    `capped_by` names the limit that bound: per_order, per_member or budget.
    """

    rule: RuleVersion
    outcome: Outcome
    base_minor: int = 0
    pieces: int = 0
    counted: int = 0
    points: int = 0
    capped_by: str | None = None
    line_points: tuple[int, ...] = ()

    @property
    def counts(self) -> bool:
        return self.outcome is Outcome.COUNTED

    def award(self) -> Award:
        return Award(self.rule, self.base_minor, self.points, self.line_points)


def judge_order(rules: Iterable[RuleVersion], *, purchase: Purchase, moment: Moment) -> list[Verdict]:
    """Count an order under every rule, in order of priority: one base, one rounding, one verdict a rule.

    Rules give first; multipliers then raise what rules per amount and per item gave.
    """
    basket = Basket(purchase, moment.base)
    ranked = sorted([rule for rule in rules if rule.terms.activity is None], key=_RANK)
    plain = [rule for rule in ranked if not isinstance(rule.terms.gives, Multiplier)]
    raising = [rule for rule in ranked if isinstance(rule.terms.gives, Multiplier)]
    first = _combine([_judge(rule, purchase, moment, basket, {}) for rule in plain], held_back=())
    gave = _points_by_line(first, len(purchase.lines))
    blocking = [own for own in first if own.counts and own.rule.terms.combination is Combination.EXCLUSIVE]
    second = _combine([_judge(rule, purchase, moment, basket, gave) for rule in raising], held_back=blocking)
    return sorted([*first, *second], key=lambda own: own.rule.rank)


def judge_activity(rules: Iterable[RuleVersion], *, activity: str, moment: Moment) -> list[Verdict]:
    """Count something that a member did under every rule for it, in order of priority."""
    ranked = sorted([rule for rule in rules if rule.terms.activity == activity], key=_RANK)
    verdicts = []
    for rule in ranked:
        unmet = _unmet_then(rule, moment)
        gives = rule.terms.gives
        points = gives.points if isinstance(gives, PointsPerActivity) else 0
        if unmet:
            verdicts.append(Verdict(rule, unmet))
        else:
            outcome, left, capped_by = _limited(rule, points, moment)
            verdicts.append(Verdict(rule, outcome, counted=points, points=left, capped_by=capped_by))
    return _combine(verdicts, held_back=())


def _judge(
    rule: RuleVersion, purchase: Purchase, moment: Moment, basket: Basket, gave: Mapping[str, Sequence[int]]
) -> Verdict:
    terms, conditions = rule.terms, rule.terms.conditions
    if unmet := _unmet_there(conditions, purchase) or _unmet_then(rule, moment):
        return Verdict(rule, unmet)
    if isinstance(terms.gives, PointsPerAmount) and purchase.currency not in terms.gives.step_minor:
        return Verdict(rule, Outcome.OTHER_CURRENCY)
    chosen = basket.choose(conditions)
    if not chosen:
        return Verdict(rule, Outcome.NO_ELIGIBLE_LINE)
    base = sum([basket.bases[index] for index in chosen])
    pieces = sum([basket.lines[index].quantity for index in chosen])
    if base < conditions.minimum_minor.get(purchase.currency, 0):
        return Verdict(rule, Outcome.BELOW_MINIMUM, base, pieces)
    points, weights = _give(terms.gives, purchase.currency, base, pieces, basket, chosen, gave.get(terms.unit, ()))
    if isinstance(terms.gives, Multiplier) and not any(weights):
        return Verdict(rule, Outcome.NOTHING_TO_MULTIPLY, base, pieces)
    counted = min(points, MAX_INTEGER)
    outcome, left, capped_by = _limited(rule, counted, moment)
    line_points = [0] * len(basket.lines)
    for index, part in zip(chosen, share(left, weights=weights), strict=True):
        line_points[index] = part
    return Verdict(rule, outcome, base, pieces, counted, left, capped_by, tuple(line_points))


def _unmet_there(conditions: Conditions, purchase: Purchase) -> Outcome | None:
    if conditions.minimum_minor and purchase.currency not in conditions.minimum_minor:
        return Outcome.OTHER_CURRENCY
    if conditions.channels and purchase.channel not in conditions.channels:
        return Outcome.OTHER_CHANNEL
    if conditions.stores and purchase.store not in conditions.stores:
        return Outcome.OTHER_STORE
    if conditions.payment_methods and purchase.payment_method not in conditions.payment_methods:
        return Outcome.OTHER_PAYMENT_METHOD
    return None


def _unmet_then(rule: RuleVersion, moment: Moment) -> Outcome | None:
    conditions = rule.terms.conditions
    if conditions.windows and not any(window.covers(moment.local) for window in conditions.windows):
        return Outcome.OUTSIDE_WINDOW
    if conditions.attributes and moment.bars(rule):
        return Outcome.OTHER_ATTRIBUTE
    if conditions.count_orders and not _is_counted(conditions, moment.order_number):
        return Outcome.OTHER_ORDER_NUMBER
    return None


def _is_counted(conditions: Conditions, number: int | None) -> bool:
    if number is None:
        return False
    every = conditions.every_nth_order
    return number in conditions.order_numbers or (every is not None and number % every == 0)


def _give(
    gives: object,
    currency: str,
    base: int,
    pieces: int,
    basket: Basket,
    chosen: Sequence[int],
    gave: Sequence[int],
) -> tuple[int, list[int]]:
    """Return a rule's points before limits, and by what they spread over the chosen lines."""
    bases = [basket.bases[index] for index in chosen]
    match gives:
        case PointsPerAmount():
            step = gives.step_minor[currency]
            return divide(base * gives.points, step, rounding=gives.rounding), bases
        case PointsPerItem():
            return pieces * gives.points, [basket.lines[index].quantity for index in chosen]
        case Bonus():
            return gives.points, bases
        case Multiplier():
            pool = [gave[index] for index in chosen] if gave else [0] * len(chosen)
            return divide(sum(pool) * (gives.percent - 100), 100, rounding=gives.rounding), pool
        case _:
            raise TypeError(gives)


def _limited(rule: RuleVersion, points: int, moment: Moment) -> tuple[Outcome, int, str | None]:
    """Keep a rule's points within its limits; return what is left of them, and which limit bound."""
    limits = rule.terms.limits
    allowed = moment.allowed.get(rule.rule_id, _UNLIMITED) if moment.allowed else _UNLIMITED
    left, capped_by = points, None
    for name, most in (("per_order", limits.per_order), ("per_member", allowed.member), ("budget", allowed.budget)):
        if most is not None and most < left:
            left, capped_by = most, name
    outcome = Outcome.COUNTED if left else Outcome.LIMIT_REACHED if points else Outcome.LESS_THAN_A_POINT
    return outcome, left, capped_by


def _combine(verdicts: Sequence[Verdict], *, held_back: Collection[Verdict]) -> list[Verdict]:
    """Let only those count that go together; `held_back` are exclusive ones that have counted before."""
    if not held_back and all(own.rule.terms.combination is Combination.STACK for own in verdicts):
        return list(verdicts)
    exclusive = {own.rule.terms.unit: own.rule for own in reversed(list(held_back))}
    kept: list[Verdict] = []
    for own in verdicts:
        unit, above = own.rule.terms.unit, exclusive.get(own.rule.terms.unit)
        if own.counts and above is not None and above.rank < own.rule.rank:
            kept.append(_dropped(own, Outcome.OUTRANKED))
            continue
        kept.append(own)
        if own.counts and own.rule.terms.combination is Combination.EXCLUSIVE and above is None:
            exclusive[unit] = own.rule
    best: dict[str, Verdict] = {}
    for own in kept:
        if own.counts and own.rule.terms.combination is Combination.BEST:
            there = best.get(own.rule.terms.unit)
            best[own.rule.terms.unit] = own if there is None or own.points > there.points else there
    return [
        _dropped(own, Outcome.NOT_THE_BEST)
        if own.counts
        and own.rule.terms.combination is Combination.BEST
        and best[own.rule.terms.unit].rule.rule_id != own.rule.rule_id
        else own
        for own in kept
    ]


def _dropped(verdict: Verdict, outcome: Outcome) -> Verdict:
    return verdict._replace(outcome=outcome, points=0, capped_by=None, line_points=())


def _points_by_line(verdicts: Iterable[Verdict], lines: int) -> dict[str, list[int]]:
    """Add up, by unit and line, what multipliers raise."""
    gave: dict[str, list[int]] = {}
    for own in verdicts:
        if own.counts and isinstance(own.rule.terms.gives, (PointsPerAmount, PointsPerItem)):
            sums = gave.setdefault(own.rule.terms.unit, [0] * lines)
            for index, points in enumerate(own.line_points):
                sums[index] += points
    return gave
