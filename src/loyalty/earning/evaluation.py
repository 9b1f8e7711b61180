"""What rules give for an order or an activity, and why not: every rule gets a verdict."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, Self
from uuid import UUID

from loyalty.core.money import MAX_INTEGER, share
from loyalty.earning.rules import Allowance, Award, RuleVersion, divide
from loyalty.earning.terms import (
    Bonus,
    Combination,
    Conditions,
    Goods,
    Multiplier,
    PointsPerActivity,
    PointsPerAmount,
    PointsPerItem,
)
from loyalty.orders.rules import Line, LineKind
from loyalty.programs.policies import EarningBase

_TOTALS = EarningBase()


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


@dataclass(frozen=True)
class Moment:
    """The facts of the moment that rules ask for. `local` is the instant in the program's zone.

    `order_number` counts the customer's orders from 1; `allowed` is what the rules with limits may still give; `base`
    is the program's word on what of a line counts. `barred` are the rules that asked for other attributes, where the
    moment has passed and these are not kept: they are personal.
    """

    local: datetime
    base: EarningBase = _TOTALS
    attributes: Mapping[str, str] = field(default_factory=dict)
    order_number: int | None = None
    allowed: Mapping[UUID, Allowance] = field(default_factory=dict)
    barred: frozenset[UUID] | None = None

    def bars(self, rule: RuleVersion) -> bool:
        """Tell whether a rule asks for attributes that the member has not."""
        if self.barred is not None:
            return rule.rule_id in self.barred
        asked = rule.terms.conditions.attributes.items()
        return any(self.attributes.get(name) not in values for name, values in asked)


class Bought(Protocol):
    """What is kept of an order, wherever it is kept."""

    @property
    def currency(self) -> str: ...
    @property
    def channel(self) -> str | None: ...
    @property
    def store(self) -> str | None: ...
    @property
    def payment_method(self) -> str | None: ...


@dataclass(frozen=True)
class Purchase:
    """An order as rules look at it."""

    currency: str
    lines: Sequence[Line]
    channel: str | None = None
    store: str | None = None
    payment_method: str | None = None

    @classmethod
    def of(cls, order: Bought, lines: Sequence[Line]) -> Self:
        return cls(order.currency, lines, order.channel, order.store, order.payment_method)


@dataclass(frozen=True)
class Verdict:
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


def write_facts(rules: Iterable[RuleVersion], moment: Moment) -> dict[str, Any]:
    """Write down the facts that rules asked for, so that a return counts by those of the order."""
    facts = {
        "barred": [str(rule.rule_id) for rule in rules if moment.bars(rule)],
        "order_number": moment.order_number,
        "base": {} if moment.base == _TOTALS else asdict(moment.base),
        "allowed": {str(rule_id): [own.member, own.budget] for rule_id, own in moment.allowed.items()},
    }
    return {name: value for name, value in facts.items() if value}


def read_facts(facts: Mapping[str, Any], *, local: datetime) -> Moment:
    return Moment(
        local,
        base=EarningBase(**facts.get("base", {})),
        barred=frozenset(UUID(rule_id) for rule_id in facts.get("barred", ())),
        order_number=facts.get("order_number"),
        allowed={UUID(rule_id): Allowance(*own) for rule_id, own in facts.get("allowed", {}).items()},
    )


def judge_order(rules: Iterable[RuleVersion], *, purchase: Purchase, moment: Moment) -> list[Verdict]:
    """Count an order under every rule, in order of priority: one base, one rounding, one verdict a rule.

    Rules give first; multipliers then raise what rules per amount and per item gave.
    """
    basket = _Basket(purchase, moment.base)
    ranked = sorted(
        (rule for rule in rules if rule.terms.activity is None), key=lambda rule: (-rule.terms.priority, rule.rule_id)
    )
    plain = [rule for rule in ranked if not isinstance(rule.terms.gives, Multiplier)]
    raising = [rule for rule in ranked if isinstance(rule.terms.gives, Multiplier)]
    first = _combine([_judge(rule, purchase, moment, basket, {}) for rule in plain], held_back=())
    gave = _points_by_line(first, len(purchase.lines))
    blocking = [own for own in first if own.counts and own.rule.terms.combination is Combination.EXCLUSIVE]
    second = _combine([_judge(rule, purchase, moment, basket, gave) for rule in raising], held_back=blocking)
    verdicts = {own.rule.rule_id: own for own in (*first, *second)}
    return [verdicts[rule.rule_id] for rule in ranked]


def judge_activity(rules: Iterable[RuleVersion], *, activity: str, moment: Moment) -> list[Verdict]:
    """Count something that a member did under every rule for it, in order of priority."""
    ranked = sorted(
        (rule for rule in rules if rule.terms.activity == activity),
        key=lambda rule: (-rule.terms.priority, rule.rule_id),
    )
    verdicts = []
    for rule in ranked:
        unmet = _unmet_then(rule, moment)
        gives = rule.terms.gives
        points = gives.points if isinstance(gives, PointsPerActivity) else 0
        verdicts.append(Verdict(rule, unmet) if unmet else _limited(Verdict(rule, Outcome.COUNTED), points, moment))
    return _combine(verdicts, held_back=())


def base_of(line: Line, policy: EarningBase) -> int:
    """Return what of a line counts towards points, in minor units."""
    if not _counts(line, policy):
        return 0
    amount = line.total_minor
    amount += line.discount_minor if policy.before_discounts else 0
    amount -= line.tax_minor if policy.without_tax else 0
    amount -= 0 if policy.paid_with_points else line.points_minor
    return max(0, amount)


def _counts(line: Line, policy: EarningBase) -> bool:
    match line.kind:
        case LineKind.PRODUCT:
            return True
        case LineKind.GIFT_CARD:
            return policy.gift_cards
        case LineKind.SHIPPING:
            return policy.shipping


class _Basket:
    """The lines of a purchase, to be chosen from by what they are."""

    def __init__(self, purchase: Purchase, base: EarningBase) -> None:
        self.lines = purchase.lines
        self.bases = [base_of(line, base) for line in self.lines]
        self._all = [
            index
            for index, line in enumerate(self.lines)
            if _counts(line, base) and (line.quantity or line.total_minor)
        ]
        self._named: dict[str, dict[str | None, set[int]]] = {"skus": {}, "categories": {}, "brands": {}}
        for index in self._all:
            line = self.lines[index]
            for name, value in (("skus", line.sku), ("categories", line.category), ("brands", line.brand)):
                self._named[name].setdefault(value, set()).add(index)

    def choose(self, conditions: Conditions) -> list[int]:
        """Return the indexes of the lines that conditions choose."""
        if conditions.include.is_empty and conditions.exclude.is_empty:
            return self._all
        chosen = set(self._all) if conditions.include.is_empty else self._of(conditions.include)
        return sorted(chosen - self._of(conditions.exclude))

    def _of(self, goods: Goods) -> set[int]:
        found: set[int] = set()
        for name, values in (("skus", goods.skus), ("categories", goods.categories), ("brands", goods.brands)):
            for value in values & self._named[name].keys():
                found |= self._named[name][value]
        return found


def _judge(
    rule: RuleVersion, purchase: Purchase, moment: Moment, basket: _Basket, gave: Mapping[str, Sequence[int]]
) -> Verdict:
    terms, conditions = rule.terms, rule.terms.conditions
    if unmet := _unmet_there(conditions, purchase) or _unmet_then(rule, moment):
        return Verdict(rule, unmet)
    if isinstance(terms.gives, PointsPerAmount) and purchase.currency not in terms.gives.step_minor:
        return Verdict(rule, Outcome.OTHER_CURRENCY)
    chosen = basket.choose(conditions)
    base = sum(basket.bases[index] for index in chosen)
    verdict = Verdict(
        rule, Outcome.COUNTED, base_minor=base, pieces=sum(basket.lines[index].quantity for index in chosen)
    )
    if not chosen:
        return replace(verdict, outcome=Outcome.NO_ELIGIBLE_LINE)
    if base < conditions.minimum_minor.get(purchase.currency, 0):
        return replace(verdict, outcome=Outcome.BELOW_MINIMUM)
    points, weights = _give(terms.gives, purchase.currency, verdict, basket, chosen, gave.get(terms.unit, ()))
    if isinstance(terms.gives, Multiplier) and not any(weights):
        return replace(verdict, outcome=Outcome.NOTHING_TO_MULTIPLY)
    limited = _limited(verdict, min(points, MAX_INTEGER), moment)
    parts = iter(share(limited.points, weights=weights))
    spread = dict(zip(chosen, parts, strict=True))
    return replace(limited, line_points=tuple(spread.get(index, 0) for index in range(len(basket.lines))))


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
    if moment.bars(rule):
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
    gives: object, currency: str, verdict: Verdict, basket: _Basket, chosen: Sequence[int], gave: Sequence[int]
) -> tuple[int, list[int]]:
    """Return a rule's points before limits, and by what they spread over the chosen lines."""
    bases = [basket.bases[index] for index in chosen]
    match gives:
        case PointsPerAmount():
            step = gives.step_minor[currency]
            return divide(verdict.base_minor * gives.points, step, rounding=gives.rounding), bases
        case PointsPerItem():
            return verdict.pieces * gives.points, [basket.lines[index].quantity for index in chosen]
        case Bonus():
            return gives.points, bases
        case Multiplier():
            pool = [gave[index] for index in chosen] if gave else [0] * len(chosen)
            return divide(sum(pool) * (gives.percent - 100), 100, rounding=gives.rounding), pool
        case _:
            raise TypeError(gives)


def _limited(verdict: Verdict, points: int, moment: Moment) -> Verdict:
    """Keep a rule's points within its limits."""
    limits, allowed = verdict.rule.terms.limits, moment.allowed.get(verdict.rule.rule_id, Allowance())
    left, capped_by = points, None
    for name, most in (("per_order", limits.per_order), ("per_member", allowed.member), ("budget", allowed.budget)):
        if most is not None and most < left:
            left, capped_by = most, name
    outcome = Outcome.COUNTED if left else Outcome.LIMIT_REACHED if points else Outcome.LESS_THAN_A_POINT
    return replace(verdict, outcome=outcome, counted=points, points=left, capped_by=capped_by)


def _combine(verdicts: Sequence[Verdict], *, held_back: Collection[Verdict]) -> list[Verdict]:
    """Let only those count that go together; `held_back` are exclusive ones that have counted before."""
    exclusive = {own.rule.terms.unit: own.rule for own in reversed(list(held_back))}
    kept: list[Verdict] = []
    for own in verdicts:
        unit, above = own.rule.terms.unit, exclusive.get(own.rule.terms.unit)
        if own.counts and above is not None and _rank(above) < _rank(own.rule):
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


def _rank(rule: RuleVersion) -> tuple[int, UUID]:
    return (-rule.terms.priority, rule.rule_id)


def _dropped(verdict: Verdict, outcome: Outcome) -> Verdict:
    return replace(verdict, outcome=outcome, points=0, capped_by=None, line_points=())


def _points_by_line(verdicts: Iterable[Verdict], lines: int) -> dict[str, list[int]]:
    """Add up, by unit and line, what multipliers raise."""
    gave: dict[str, list[int]] = {}
    for own in verdicts:
        if own.counts and isinstance(own.rule.terms.gives, (PointsPerAmount, PointsPerItem)):
            sums = gave.setdefault(own.rule.terms.unit, [0] * lines)
            for index, points in enumerate(own.line_points):
                sums[index] += points
    return gave
