"""What rules say of an order or an activity, and which of them go together."""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import NamedTuple

from loyalty.earning.rules import Award, RuleVersion
from loyalty.earning.terms import Combination


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


def combine(verdicts: Sequence[Verdict], *, held_back: Collection[Verdict]) -> list[Verdict]:
    """Let only those count that go together; `held_back` are exclusive ones that have counted before."""
    kept = list(verdicts)
    if held_back or any(own.counts and is_exclusive(own.rule) for own in verdicts):
        kept = _ranked(verdicts, exclusive={own.rule.terms.unit: own.rule for own in reversed(list(held_back))})
    rivals = [place for place, own in enumerate(kept) if own.counts and own.rule.terms.combination is Combination.BEST]
    best: dict[str, Verdict] = {}
    for place in rivals:
        own, there = kept[place], best.get(kept[place].rule.terms.unit)
        best[own.rule.terms.unit] = own if there is None or own.points > there.points else there
    for place in rivals:
        if kept[place] is not best[kept[place].rule.terms.unit]:
            kept[place] = _dropped(kept[place], Outcome.NOT_THE_BEST)
    return kept


def is_exclusive(rule: RuleVersion) -> bool:
    return rule.terms.combination is Combination.EXCLUSIVE


def _ranked(verdicts: Sequence[Verdict], *, exclusive: dict[str, RuleVersion]) -> list[Verdict]:
    """Let none count below an exclusive rule of its unit: the highest of these and the one that is given."""
    kept = []
    for own in verdicts:
        unit, above = own.rule.terms.unit, exclusive.get(own.rule.terms.unit)
        if own.counts and above is not None and above.rank < own.rule.rank:
            kept.append(_dropped(own, Outcome.OUTRANKED))
            continue
        kept.append(own)
        if own.counts and is_exclusive(own.rule):
            exclusive[unit] = own.rule
    return kept


def _dropped(verdict: Verdict, outcome: Outcome) -> Verdict:
    return verdict._replace(outcome=outcome, points=0, capped_by=None, line_points=())
