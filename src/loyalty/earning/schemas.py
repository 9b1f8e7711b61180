from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Discriminator, Field, Tag

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import (
    Body,
    CrossChecked,
    Currency,
    FieldFault,
    Flag,
    Instant,
    Label,
    Name,
    Positive,
    Unit,
    text,
)
from loyalty.earning.authoring import Rule
from loyalty.earning.definitions import read_terms
from loyalty.earning.models import EarningRuleVersion
from loyalty.earning.terms import Combination, Rounding, RuleKind, Terms
from loyalty.programs.policies import LimitPeriod

_MOST_NAMES = 500
Sku = Annotated[str, text(longest=64)]
Minor = Annotated[dict[Currency, Positive], Field(min_length=1, max_length=20)]
MinuteOfDay = Annotated[str, text(longest=5, pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
EndOfSpan = Annotated[str, text(longest=5, pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
ActivityType = Annotated[str, text(longest=64, pattern=r"^[a-z][a-z0-9_]*$")]


class GoodsIn(Body):
    """Lines named by any of these."""

    skus: Annotated[list[Sku], Field(max_length=_MOST_NAMES)] = Field(default_factory=list)
    categories: Annotated[list[Label], Field(max_length=_MOST_NAMES)] = Field(default_factory=list)
    brands: Annotated[list[Label], Field(max_length=_MOST_NAMES)] = Field(default_factory=list)


class WindowIn(CrossChecked):
    """Days of the week (all, unless named) and a span of the local day; one that ends earlier lasts past midnight."""

    weekdays: Annotated[list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], Field(max_length=7)] = Field(
        default_factory=list
    )
    from_: Annotated[MinuteOfDay, Field(alias="from")] = "00:00"
    until: EndOfSpan = "24:00"

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:
        if raw.get("from", "00:00") == raw.get("until", "24:00"):
            yield ("until",), "window", "A window should end at another time than it begins"


class ConditionsIn(Body):
    """What must be so for a rule to count; what is not named asks for nothing.

    `include` and `exclude` choose lines, and `minimum_minor` is the least base that those must come to, by currency.
    `attributes` name the values that a member's attribute may have. Order numbers count a customer's orders from 1.
    """

    include: GoodsIn | None = None
    exclude: GoodsIn | None = None
    minimum_minor: Minor | None = None
    windows: Annotated[list[WindowIn], Field(max_length=20)] = Field(default_factory=list)
    channels: Annotated[list[Label], Field(max_length=50)] = Field(default_factory=list)
    stores: Annotated[list[Label], Field(max_length=_MOST_NAMES)] = Field(default_factory=list)
    payment_methods: Annotated[list[Label], Field(max_length=50)] = Field(default_factory=list)
    attributes: Annotated[
        dict[
            Annotated[str, text(longest=40)],
            Annotated[list[Annotated[str, text(longest=500, shortest=0)]], Field(min_length=1, max_length=100)],
        ],
        Field(max_length=20),
    ] = Field(default_factory=dict)
    order_numbers: Annotated[list[Annotated[int, Field(ge=1, le=100_000, strict=True)]], Field(max_length=50)] = Field(
        default_factory=list
    )
    every_nth_order: Annotated[int, Field(ge=2, le=100_000, strict=True)] | None = None


class ActivityConditionsIn(Body):
    """What must be so for an activity to count."""

    windows: Annotated[list[WindowIn], Field(max_length=20)] = Field(default_factory=list)
    attributes: Annotated[
        dict[
            Annotated[str, text(longest=40)],
            Annotated[list[Annotated[str, text(longest=500, shortest=0)]], Field(min_length=1, max_length=100)],
        ],
        Field(max_length=20),
    ] = Field(default_factory=dict)


class MemberLimitIn(Body):
    """The most points for one member within a day, week, month or year of the program's calendar, or ever."""

    points: Positive
    period: LimitPeriod


class LimitsIn(Body):
    """The most points that a rule gives: for one order or activity, to one member, and to all together."""

    per_order: Positive | None = None
    per_member: MemberLimitIn | None = None
    budget: Positive | None = None


class _TermsIn(Body):
    unit: Unit | None = None
    limits: LimitsIn | None = None
    combination: Combination = Combination.STACK
    priority: Annotated[int, Field(ge=-1000, le=1000, strict=True)] = 0

    def terms(self, *, unit: str) -> Terms:
        written = self.model_dump(mode="json", by_alias=True, exclude={"kind"}, exclude_none=True)
        return read_terms(getattr(self, "kind"), {**written, "unit": self.unit or unit})  # noqa: B009 -- each kind has its own


class PointsPerAmountIn(_TermsIn):
    """`points` for each `step_minor` of base, by currency, in proportion, rounded once."""

    kind: Literal["points_per_amount"]
    points: Positive
    step_minor: Minor
    rounding: Rounding = Rounding.DOWN
    conditions: ConditionsIn | None = None


class PointsPerItemIn(_TermsIn):
    """`points` for each piece of the lines chosen."""

    kind: Literal["points_per_item"]
    points: Positive
    conditions: ConditionsIn | None = None


class BonusIn(_TermsIn):
    """`points` for the order as a whole."""

    kind: Literal["bonus"]
    points: Positive
    conditions: ConditionsIn | None = None


class MultiplierIn(_TermsIn):
    """Raises what rules per amount and per item give for the lines chosen to `percent` of it; 200 doubles it."""

    kind: Literal["multiplier"]
    percent: Annotated[int, Field(ge=101, le=10_000, strict=True)]
    rounding: Rounding = Rounding.DOWN
    conditions: ConditionsIn | None = None


class PointsPerActivityIn(_TermsIn):
    """`points` each time that a member does something of this type."""

    kind: Literal["points_per_activity"]
    activity: ActivityType
    points: Positive
    conditions: ActivityConditionsIn | None = None


def _kind(value: Any) -> str | None:
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return f"<{kind}>" if isinstance(kind, str) and kind in set(RuleKind) else None


# The tags stand in angle brackets, as no field does, so that a fault's pointer can leave them out.
TermsIn = Annotated[
    Annotated[PointsPerAmountIn, Tag("<points_per_amount>")]
    | Annotated[PointsPerItemIn, Tag("<points_per_item>")]
    | Annotated[BonusIn, Tag("<bonus>")]
    | Annotated[MultiplierIn, Tag("<multiplier>")]
    | Annotated[PointsPerActivityIn, Tag("<points_per_activity>")],
    Discriminator(_kind),
]


class RuleVersionIn(CrossChecked):
    """Terms and when they hold; from now on unless given, and not yet where it is a draft."""

    terms: TermsIn
    draft: Flag = False
    active_from: Instant | None = None
    active_until: Instant | None = None

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:
        if raw.get("draft") is True and (raw.get("active_from") or raw.get("active_until")):
            yield ("draft",), "draft", "A draft has no dates yet"

    def begins(self, now: datetime) -> datetime | None:
        return None if self.draft else self.active_from or now


class RuleIn(RuleVersionIn):
    name: Name


class RuleActivationIn(Body):
    """When a rule's newest draft holds; from now on unless given."""

    active_from: Instant | None = None
    active_until: Instant | None = None


class RuleRetirementIn(Body):
    """When a rule ends; now unless given."""

    at: Instant | None = None


class RuleVersionOut(msgspec.Struct):
    """What a rule says. `status` is draft, scheduled, active or ended."""

    version: int
    status: str
    terms: dict[str, Any]
    active_from: str | None
    active_until: str | None
    created_by: str


class RuleOut(msgspec.Struct):
    """An earning rule with its versions, oldest first."""

    id: str
    name: str
    versions: list[RuleVersionOut]


class RuleList(msgspec.Struct):
    data: list[RuleOut]


def rule_out(rule: Rule, *, now: datetime) -> RuleOut:
    shown = [_version_out(row, rule.versions, now) for row in rule.versions if not row.ends]
    return RuleOut(ids.public("rul", rule.rule.id), rule.rule.name, shown)


def _version_out(row: EarningRuleVersion, versions: list[EarningRuleVersion], now: datetime) -> RuleVersionOut:
    until = _until(row, versions)
    return RuleVersionOut(
        version=row.version,
        status=_status(row.active_from, until, now),
        terms={"kind": row.kind, **row.definition},
        active_from=rfc3339(row.active_from) if row.active_from else None,
        active_until=rfc3339(until) if until else None,
        created_by=row.actor,
    )


def _until(row: EarningRuleVersion, versions: list[EarningRuleVersion]) -> datetime | None:
    """Return when a version ends: as it says itself, or when another one, or the rule's retirement, takes over."""
    if row.active_from is None:
        return None
    later = [other.active_from for other in versions if other.active_from and other.active_from > row.active_from]
    return min([*later, *([row.active_until] if row.active_until else [])], default=None)


def _status(active_from: datetime | None, until: datetime | None, now: datetime) -> str:
    if active_from is None:
        return "draft"
    if active_from > now:
        return "scheduled"
    return "ended" if until is not None and until <= now else "active"
