from typing import Annotated, Literal

import msgspec
from pydantic import Field

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import Body, Currency, Instant, Name, Positive, Unit
from loyalty.earning.models import EarningRule, EarningRuleVersion
from loyalty.earning.rules import PointsPerAmount, Rounding


class TermsIn(Body):
    """What a rule gives.

    `points` for each `step_minor` of an order's total, by currency, in proportion, rounded once.
    """

    kind: Literal["points_per_amount"]
    points: Positive
    step_minor: Annotated[dict[Currency, Positive], Field(min_length=1, max_length=20)]
    rounding: Rounding = Rounding.DOWN
    unit: Unit | None = None

    def terms(self, *, unit: str) -> PointsPerAmount:
        return PointsPerAmount(self.unit or unit, self.points, dict(self.step_minor), self.rounding)


class RuleVersionIn(Body):
    """Terms and when they hold; from now on unless given."""

    terms: TermsIn
    active_from: Instant | None = None
    active_until: Instant | None = None


class RuleIn(RuleVersionIn):
    name: Name


class RuleVersionOut(msgspec.Struct):
    version: int
    kind: str
    points: int
    step_minor: dict[str, int]
    rounding: str
    unit: str
    active_from: str
    active_until: str | None
    created_by: str


class RuleOut(msgspec.Struct):
    """An earning rule with its versions, oldest first."""

    id: str
    name: str
    versions: list[RuleVersionOut]


class RuleList(msgspec.Struct):
    data: list[RuleOut]


def rule_out(rule: EarningRule, versions: list[EarningRuleVersion]) -> RuleOut:
    return RuleOut(ids.public("rul", rule.id), rule.name, [_version_out(version) for version in versions])


def _version_out(row: EarningRuleVersion) -> RuleVersionOut:
    return RuleVersionOut(
        version=row.version,
        kind=row.kind,
        points=row.definition["points"],
        step_minor=row.definition["step_minor"],
        rounding=row.definition["rounding"],
        unit=row.definition["unit"],
        active_from=rfc3339(row.active_from),
        active_until=rfc3339(row.active_until) if row.active_until else None,
        created_by=row.actor,
    )
