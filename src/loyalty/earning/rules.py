from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple
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

    @cached_property
    def rank(self) -> tuple[int, int]:
        """Where the rule stands among others, the least first: by priority, and of equal ones the older."""
        return (-self.terms.priority, self.rule_id.int)


class Award(NamedTuple):
    """What one rule gives for one order, and how its points spread over the lines (they sum exactly)."""

    rule: RuleVersion
    base_minor: int
    points: int
    line_points: tuple[int, ...]


@dataclass(frozen=True)
class PaidAward:
    """What a rule gave an order when it was counted: the base, each line's share, and the entry that has its points."""

    rule_id: UUID
    rule_version: int
    unit: str
    base_minor: int
    points: int
    line_points: tuple[int, ...]
    entry_id: UUID | None


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
class Lack:
    """Points that a rule gave an order below what the order, as it is now, earns.

    `anew` of them are to be given; the rest makes up for what had gone back and was let go.
    """

    rule_id: UUID
    rule_version: int
    unit: str
    points: int
    anew: int


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


def compare(
    given: Sequence[Given],
    *,
    due: Mapping[UUID, int],
    most: Mapping[str, int] | None = None,
    let_go: Mapping[str, int] | None = None,
) -> tuple[list[Excess], list[Lack]]:
    """Compare what rules gave an order with what it is due now, by rule; `given` names every rule.

    What some rules gave too much others may now give more: only the difference of a unit's sums counts, and is told by
    the rules that differ in its direction, in proportion. `most` is what a unit's points may come to, where they may
    not grow; `let_go` is what of a unit went back and was not taken. Rules that do not differ are left out.
    """
    excess, lacks = [], []
    for unit in sorted({own.unit for own in given}):
        own = [row for row in given if row.unit == unit]
        there, now_due = sum(row.points for row in own), sum(due.get(row.rule_id, 0) for row in own)
        if most is not None:
            now_due = min(now_due, most.get(unit, 0))
        differ = [due.get(row.rule_id, 0) - row.points for row in own]
        surplus = share(max(0, there - now_due), weights=[max(0, -part) for part in differ])
        excess += [Excess(row.rule_id, row.rule_version, unit, part) for row, part in zip(own, surplus, strict=True)]
        free = (let_go or {}).get(unit, 0)
        for row, part in zip(own, share(max(0, now_due - there), weights=[max(0, p) for p in differ]), strict=True):
            lacks.append(Lack(row.rule_id, row.rule_version, unit, part, anew=max(0, part - free)))
            free = max(0, free - part)
    return [own for own in excess if own.points], [own for own in lacks if own.points]


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
