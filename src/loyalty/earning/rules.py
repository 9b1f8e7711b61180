from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from loyalty.core.money import MAX_INTEGER, share
from loyalty.orders.rules import Line


class Rounding(StrEnum):
    """How a fraction of a point ends: towards zero, to the nearest (half up, or half to even), or away from zero."""

    DOWN = "down"
    HALF_UP = "half_up"
    HALF_EVEN = "half_even"
    UP = "up"


@dataclass(frozen=True)
class PointsPerAmount:
    """`points` for each `step_minor` of base in the currency, in proportion, rounded once per order."""

    unit: str
    points: int
    step_minor: dict[str, int]
    rounding: Rounding


@dataclass(frozen=True)
class RuleVersion:
    """What a rule says from `active_from` until a later version of it begins, or until `active_until`."""

    rule_id: UUID
    version: int
    terms: PointsPerAmount
    active_from: datetime
    active_until: datetime | None


@dataclass(frozen=True)
class Award:
    """What one rule gives for one order, and how its points spread over the lines (they sum exactly)."""

    rule: RuleVersion
    base_minor: int
    points: int
    line_points: tuple[int, ...]


@dataclass(frozen=True)
class Excess:
    """Points that a rule gave an order above what the order, as it is now, would earn."""

    rule_id: UUID
    rule_version: int
    unit: str
    points: int


def in_force(versions: Sequence[RuleVersion], *, at: datetime) -> list[RuleVersion]:
    """Return the version of each rule in force at an instant: the last to begin, unless it has ended."""
    latest: dict[UUID, RuleVersion] = {}
    for version in sorted(versions, key=lambda version: version.active_from):
        if version.active_from <= at:
            latest[version.rule_id] = version
    return [
        latest[rule_id] for rule_id in sorted(latest) if (until := latest[rule_id].active_until) is None or until > at
    ]


def count_order(rules: Sequence[RuleVersion], *, currency: str, lines: Sequence[Line]) -> list[Award]:
    """Count an order under each rule that knows its currency: one base, one rounding, one award a rule."""
    base = sum(line.total_minor for line in lines)
    weights = [line.total_minor for line in lines]
    awards = []
    for rule in rules:
        step = rule.terms.step_minor.get(currency)
        if step is None:
            continue
        points = min(divide(base * rule.terms.points, step, rounding=rule.terms.rounding), MAX_INTEGER)
        awards.append(Award(rule, base, points, tuple(share(points, weights=weights))))
    return awards


def divide(numerator: int, denominator: int, *, rounding: Rounding) -> int:
    """Divide non-negative integers exactly, then round in the direction given."""
    whole, rest = divmod(numerator, denominator)
    match rounding:
        case Rounding.DOWN:
            return whole
        case Rounding.UP:
            return whole + (rest > 0)
        case Rounding.HALF_UP:
            return whole + (2 * rest >= denominator)
        case Rounding.HALF_EVEN:
            return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1))
