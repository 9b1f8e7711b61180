"""What rules give for an order or an activity, and why not: every rule gets a verdict."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, NamedTuple, Self

from loyalty.core.money import MAX_INTEGER, share
from loyalty.earning.baskets import Basket, Choosers, Chosen
from loyalty.earning.facts import Moment, Purchase
from loyalty.earning.rules import Allowance, RuleVersion, divide
from loyalty.earning.terms import (
    Bonus,
    Combination,
    Conditions,
    Gives,
    Limits,
    Multiplier,
    PointsPerActivity,
    PointsPerAmount,
    PointsPerItem,
)
from loyalty.earning.verdicts import Outcome, Verdict, combine, is_exclusive

_MOST_PLACES: Final = 1_000
_UNLIMITED: Final = Allowance()
_RANK: Final = attrgetter("rank")


class Judge:
    """Rules in force at the same time, made ready once for all orders that they judge."""

    def __init__(self, rules: Iterable[RuleVersion]) -> None:
        self.rules = list(rules)
        ranked = sorted([rule for rule in self.rules if rule.terms.activity is None], key=_RANK)
        self.asking = [rule for rule in self.rules if rule.terms.conditions.attributes]
        """Those that ask for attributes of the member."""
        self.counting = any(rule.terms.conditions.count_orders for rule in ranked)
        """Whether any asks which of the member's orders it is."""
        self.limited = [rule for rule in self.rules if rule.terms.limits.span_orders]
        """Those of which one order leaves less for others."""
        self._cases = [_Case.of(rule, place) for place, rule in enumerate(ranked)]
        self._plain = [case for case in self._cases if not case.raises]
        self._raising = [case for case in self._cases if case.raises]
        self._places = [case.place for case in (*self._plain, *self._raising)]
        self._stacks = all(case.rule.terms.combination is Combination.STACK for case in self._plain)
        self._choosers = Choosers([rule.terms.conditions for rule in ranked])
        self._named = _Named(ranked)
        self._unmet: dict[_Where, list[Verdict | None]] = {}

    def judge(self, *, purchase: Purchase, moment: Moment) -> list[Verdict]:
        """Count an order under every rule, in order of priority: one base, one rounding, one verdict a rule.

        Rules give first; multipliers then raise what rules per amount and per item gave.
        """
        basket = Basket(purchase, moment.base, self._choosers)
        unmet, chosen_by, currency = self._unmet_there(purchase), basket.chosen_by, purchase.currency

        def judged(cases: Iterable[_Case], gave: Mapping[str, Sequence[int]]) -> list[Verdict]:
            return [
                unmet[case.place]
                or (case.asks_moment and case.unmet_then(moment))
                or (case.bit & chosen_by and _judge(case, currency, moment, basket, gave))
                or case.chooses_nothing
                for case in cases
            ]

        first = judged(self._plain, {})
        if not self._stacks:
            first = combine(first, held_back=())
        if not self._raising:
            return first
        blocking = [] if self._stacks else [own for own in first if own.counts and is_exclusive(own.rule)]
        second = combine(judged(self._raising, self._by_line(first, len(purchase.lines))), held_back=blocking)
        found = dict(zip(self._places, (*first, *second), strict=True))
        return [found[place] for place in range(len(found))]

    def _by_line(self, first: Iterable[Verdict], lines: int) -> dict[str, list[int]]:
        """Add up, by unit and line, what multipliers raise."""
        gave: dict[str, list[int]] = {}
        for case, own in zip(self._plain, first, strict=True):
            if case.is_raised and own.points:
                there = gave.get(case.unit, [0] * lines)
                gave[case.unit] = [points + more for points, more in zip(there, own.line_points, strict=True)]
        return gave

    def _unmet_there(self, purchase: Purchase) -> list[Verdict | None]:
        """Return the verdicts of rules that count for no order like this, of what is the same for many orders."""
        where = self._named.where(purchase)
        found = self._unmet.get(where)
        if found is None:
            if len(self._unmet) >= _MOST_PLACES:
                self._unmet.clear()
            found = self._unmet[where] = [case.unmet_there(where) for case in self._cases]
        return found


def judge_order(rules: Iterable[RuleVersion], *, purchase: Purchase, moment: Moment) -> list[Verdict]:
    """Count an order under rules that judge no other one."""
    return Judge(rules).judge(purchase=purchase, moment=moment)


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
    return combine(verdicts, held_back=())


class _Where(NamedTuple):
    """What orders share for which the same rules are unmet; what no rule names is nothing."""

    currency: str | None
    channel: str | None
    store: str | None
    payment_method: str | None


class _Named:
    """What rules name of an order."""

    def __init__(self, rules: Sequence[RuleVersion]) -> None:
        asked = [rule.terms.conditions for rule in rules]
        steps = [rule.terms.gives.step_minor for rule in rules if isinstance(rule.terms.gives, PointsPerAmount)]
        self._currencies = frozenset[str]().union(*(own.minimum_minor for own in asked), *steps)
        self._channels = frozenset[str]().union(*(own.channels for own in asked))
        self._stores = frozenset[str]().union(*(own.stores for own in asked))
        self._payment_methods = frozenset[str]().union(*(own.payment_methods for own in asked))

    def where(self, purchase: Purchase) -> _Where:
        return _Where(
            purchase.currency if purchase.currency in self._currencies else None,
            purchase.channel if purchase.channel in self._channels else None,
            purchase.store if purchase.store in self._stores else None,
            purchase.payment_method if purchase.payment_method in self._payment_methods else None,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """A rule among those that judge together: its place by rank, and what is known of it before any order."""

    rule: RuleVersion
    place: int
    bit: int
    unit: str
    raises: bool
    is_raised: bool
    is_limited: bool
    asks_moment: bool
    chooses_nothing: Verdict

    @classmethod
    def of(cls, rule: RuleVersion, place: int) -> Self:
        terms, conditions = rule.terms, rule.terms.conditions
        return cls(
            rule,
            place,
            1 << place,
            terms.unit,
            isinstance(terms.gives, Multiplier),
            isinstance(terms.gives, (PointsPerAmount, PointsPerItem)),
            terms.limits != Limits(),
            bool(conditions.windows or conditions.attributes or conditions.count_orders),
            Verdict(rule, Outcome.NO_ELIGIBLE_LINE),
        )

    def unmet_there(self, where: _Where) -> Verdict | None:
        terms, asked, outcome = self.rule.terms, self.rule.terms.conditions, None
        if asked.minimum_minor and where.currency not in asked.minimum_minor:
            outcome = Outcome.OTHER_CURRENCY
        elif asked.channels and where.channel not in asked.channels:
            outcome = Outcome.OTHER_CHANNEL
        elif asked.stores and where.store not in asked.stores:
            outcome = Outcome.OTHER_STORE
        elif asked.payment_methods and where.payment_method not in asked.payment_methods:
            outcome = Outcome.OTHER_PAYMENT_METHOD
        elif isinstance(terms.gives, PointsPerAmount) and where.currency not in terms.gives.step_minor:
            outcome = Outcome.OTHER_CURRENCY
        return None if outcome is None else Verdict(self.rule, outcome)

    def unmet_then(self, moment: Moment) -> Verdict | None:
        outcome = _unmet_then(self.rule, moment)
        return None if outcome is None else Verdict(self.rule, outcome)


def _judge(case: _Case, currency: str, moment: Moment, basket: Basket, gave: Mapping[str, Sequence[int]]) -> Verdict:
    """Count the lines that a rule chooses, of which there is one at least."""
    rule, chosen = case.rule, basket.choose(case.bit)
    terms, base, pieces = rule.terms, chosen.base, chosen.pieces
    if base < terms.conditions.minimum_minor.get(currency, 0):
        return Verdict(rule, Outcome.BELOW_MINIMUM, base, pieces)
    points, weights = _give(terms.gives, currency, chosen, gave.get(terms.unit, ()))
    if case.raises and not any(weights):
        return Verdict(rule, Outcome.NOTHING_TO_MULTIPLY, base, pieces)
    counted = min(points, MAX_INTEGER)
    outcome, left, capped_by = Outcome.COUNTED if counted else Outcome.LESS_THAN_A_POINT, counted, None
    if case.is_limited or moment.allowed:
        outcome, left, capped_by = _limited(rule, counted, moment)
    line_points = [0] * len(basket.lines)
    for index, part in zip(chosen.indexes, share(left, weights=weights), strict=True):
        line_points[index] = part
    return Verdict(rule, outcome, base, pieces, counted, left, capped_by, tuple(line_points))


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


def _give(gives: Gives, currency: str, chosen: Chosen, gave: Sequence[int]) -> tuple[int, list[int]]:
    """Return a rule's points before limits, and by what they spread over the chosen lines."""
    match gives:
        case PointsPerAmount():
            step = gives.step_minor[currency]
            return divide(chosen.base * gives.points, step, rounding=gives.rounding), chosen.bases
        case PointsPerItem():
            return chosen.pieces * gives.points, chosen.quantities
        case Bonus():
            return gives.points, chosen.bases
        case Multiplier():
            pool = [gave[index] for index in chosen.indexes] if gave else [0] * len(chosen.indexes)
            return divide(sum(pool) * (gives.percent - 100), 100, rounding=gives.rounding), pool
        case PointsPerActivity():
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
