from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from loyalty.core.money import share
from loyalty.earning.terms import Rounding, Terms


@dataclass(frozen=True)
class RuleVersion:
    """What a rule says from `active_from` until a later version of it begins, or until `active_until`.

    One that `ends` says nothing: the rule is retired from then on.
    """

    rule_id: UUID
    version: int
    terms: Terms
    active_from: datetime
    active_until: datetime | None
    ends: bool = False


@dataclass(frozen=True)
class Award:
    """What one rule gives for one order, and how its points spread over the lines (they sum exactly)."""

    rule: RuleVersion
    base_minor: int
    points: int
    line_points: tuple[int, ...]


@dataclass(frozen=True)
class Given:
    """What a rule gave an order and has not been taken back since."""

    rule_id: UUID
    rule_version: int
    unit: str
    points: int


@dataclass(frozen=True)
class Excess:
    """Points that a rule gave an order above what the order, as it is now, would earn."""

    rule_id: UUID
    rule_version: int
    unit: str
    points: int


@dataclass(frozen=True)
class Allowance:
    """How many points a rule may still give: to this member within the period, and to all; None where unlimited."""

    member: int | None = None
    budget: int | None = None


def in_force(versions: Sequence[RuleVersion], *, at: datetime) -> list[RuleVersion]:
    """Return the version of each rule in force at an instant: the last to begin, unless it has ended."""
    latest: dict[UUID, RuleVersion] = {}
    for version in sorted(versions, key=lambda version: version.active_from):
        if version.active_from <= at:
            latest[version.rule_id] = version
    return [
        latest[rule_id]
        for rule_id in sorted(latest)
        if not latest[rule_id].ends and ((until := latest[rule_id].active_until) is None or until > at)
    ]


def find_excess(given: Sequence[Given], *, due: Mapping[tuple[UUID, str], int]) -> list[Excess]:
    """Compare what rules gave an order with what it is due now, by (rule, unit).

    What some rules gave too much others may now give more: only the difference of a unit's sums is in excess, and is
    told by the rules with a surplus in proportion to it. Rules without any are left out.
    """
    found = []
    for unit in sorted({own.unit for own in given}):
        own = [row for row in given if row.unit == unit]
        total = sum(row.points for row in own) - sum(points for (_, of), points in due.items() if of == unit)
        surplus = [max(0, row.points - due.get((row.rule_id, unit), 0)) for row in own]
        parts = share(max(0, total), weights=surplus)
        found += [
            Excess(row.rule_id, row.rule_version, unit, part) for row, part in zip(own, parts, strict=True) if part
        ]
    return found


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
