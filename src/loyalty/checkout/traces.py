"""What rules said of an order or a quote, as the API shows it."""

from functools import lru_cache
from uuid import UUID

import msgspec

from loyalty.core import ids
from loyalty.core.money import MoneyOut
from loyalty.earning.terms import RuleKind, kind_of
from loyalty.earning.verdicts import Outcome, Verdict


class TraceOut(msgspec.Struct):
    """What one rule said, in order of priority: `outcome` is counted, or why it was not.

    `base` and `pieces` are those of the lines it chose, `counted` its points before limits, and `points` those after;
    `capped_by` is the limit between them.
    """

    rule_id: str
    rule_version: int
    kind: str
    outcome: str
    unit: str
    base: MoneyOut
    pieces: int
    counted: int
    points: int
    capped_by: str | None


@lru_cache(maxsize=10_000)
def rule_id_out(rule_id: UUID) -> str:
    """Write the id of a rule, of which a program has a few that every order names."""
    return ids.public("rul", rule_id)


def trace_out(own: Verdict, currency: str) -> TraceOut:
    rule = own.rule
    kind, unit = kind_of(rule.terms.gives), rule.terms.unit
    if not (own.pieces or own.base_minor or own.counted):
        return _unmet_out(rule.rule_id, rule.version, kind, own.outcome, unit, currency)
    return TraceOut(
        rule_id=rule_id_out(rule.rule_id),
        rule_version=rule.version,
        kind=kind,
        outcome=own.outcome,
        unit=unit,
        base=MoneyOut(own.base_minor, currency),
        pieces=own.pieces,
        counted=own.counted,
        points=own.points,
        capped_by=own.capped_by,
    )


@lru_cache(maxsize=10_000)
def _unmet_out(rule_id: UUID, version: int, kind: RuleKind, outcome: Outcome, unit: str, currency: str) -> TraceOut:
    """Tell what a rule says that chose nothing of an order, which is the same for many."""
    nothing = MoneyOut(0, currency)
    return TraceOut(rule_id_out(rule_id), version, kind, outcome, unit, nothing, 0, 0, 0, None)
