from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec
from pydantic import Field

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import (
    Attributes,
    Body,
    Count,
    CrossChecked,
    FieldFault,
    Flag,
    Instant,
    Metadata,
    MoneyIn,
    Name,
    Unit,
    text,
)
from loyalty.core.paging import Page
from loyalty.programs.policies import LimitPeriod
from loyalty.rewards.pooling import Became, Outcome
from loyalty.rewards.rules import MemberLimit, RewardKind, Terms
from loyalty.rewards.service import View

CouponDays = Annotated[int, Field(ge=1, le=3650, strict=True)]
_NEEDS: Final[dict[str, set[str]]] = {
    RewardKind.AMOUNT_OFF: {"amount"},
    RewardKind.PERCENT_OFF: {"percent"},
    RewardKind.FREE_PRODUCT: {"sku"},
    RewardKind.FREE_SHIPPING: set(),
    RewardKind.GIFT_CARD: {"amount"},
    RewardKind.PERK: {"description"},
}
_COLUMNS: Final = {"stock": "stock_left", "metadata": "notes"}
_LIFTED_BY_NULL: Final = {"stock", "coupon_days", "available_from", "available_until", "per_member"}
MemberAttributes = Annotated[
    dict[
        Annotated[str, text(longest=40)],
        Annotated[list[Annotated[str, text(longest=500, shortest=0)]], Field(min_length=1, max_length=100)],
    ],
    Field(max_length=20),
]


class ValueIn(Body):
    """What the reward is worth; which field is needed follows from the kind.

    `minimum` is the least that the products of an order must come to for its coupon to be used.
    """

    amount: MoneyIn | None = None
    percent: Annotated[int, Field(ge=1, le=100, strict=True)] | None = None
    sku: Annotated[str, text(longest=64)] | None = None
    description: Annotated[str, text(longest=500)] | None = None
    minimum: MoneyIn | None = None


class RewardLimitIn(Body):
    """How many one member may have within a day, week, month or year of the program's calendar, or ever."""

    count: Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
    period: LimitPeriod


class RewardIn(CrossChecked):
    """A reward to offer. `stock` null: unlimited. `coupon_days` null: its coupons never expire.

    With `cost_points` 0 it is only given, never redeemed. `member_attributes` name the values that a member's attribute
    may have. What is cancelled does not count to `per_member`.
    """

    name: Name
    kind: RewardKind
    value: ValueIn = Field(default_factory=ValueIn)
    cost_points: Count
    unit: Unit | None = None
    stock: Count | None = None
    coupon_days: CouponDays | None = None
    available_from: Instant | None = None
    available_until: Instant | None = None
    per_member: RewardLimitIn | None = None
    member_attributes: MemberAttributes = Field(default_factory=dict)
    metadata: Metadata

    def terms(self) -> Terms:
        limit = MemberLimit(self.per_member.count, self.per_member.period) if self.per_member else None
        attributes = {name: frozenset(values) for name, values in self.member_attributes.items()}
        return Terms(self.available_from, self.available_until, limit, attributes)

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:
        value = raw.get("value", {})
        needed = _NEEDS.get(raw["kind"]) if isinstance(raw.get("kind"), str) else None
        if needed is None or not isinstance(value, Mapping):
            return
        if {name for name in ValueIn.model_fields if value.get(name) is not None} - {"minimum"} != needed:
            named = " and ".join(sorted(needed)) or "nothing"
            yield ("value",), "value", f"The value of this kind of reward is {named}"


class RewardPatch(Body):
    """What is not named stays.

    Null lifts a limit: of `stock`, `coupon_days`, `available_from`, `available_until` and `per_member`. Coupons already
    given keep their terms.
    """

    name: Name | None = None
    cost_points: Count | None = None
    stock: Count | None = None
    coupon_days: CouponDays | None = None
    available_from: Instant | None = None
    available_until: Instant | None = None
    per_member: RewardLimitIn | None = None
    member_attributes: MemberAttributes | None = None
    retired: Flag = False
    metadata: Attributes | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """What to write: values by column."""
        named = {name: getattr(self, name) for name in self.model_fields_set - {"retired"}}
        kept = {name: value for name, value in named.items() if value is not None or name in _LIFTED_BY_NULL}
        if "per_member" in kept:
            limit = kept.pop("per_member")
            kept |= {"limit_count": limit.count if limit else None, "limit_period": limit.period if limit else None}
        return {_COLUMNS.get(name, name): value for name, value in kept.items()}


class CodesIn(Body):
    """Codes of your own as a CSV: a header line `code`, and 1 to 10,000 rows of one code each."""

    csv: Annotated[str, Field(min_length=1, max_length=1_000_000)]


class CodeRowOut(msgspec.Struct):
    """What became of a row, the header being line 1.

    added · duplicate: in this pool already · taken: used, issued or in another_pool · invalid: symbols, too_short,
    too_long or columns.
    """

    line: int
    code: str
    outcome: str
    why: str | None


class CodesOut(msgspec.Struct):
    """A line for every row, in the order of the file."""

    added: int
    duplicate: int
    taken: int
    invalid: int
    rows: list[CodeRowOut]


class RewardLimitOut(msgspec.Struct):
    count: int
    period: str


class RewardOut(msgspec.Struct):
    """A reward of the catalogue; `stock_left` null means unlimited, where it is `pooled` how many codes are left."""

    id: str
    name: str
    kind: str
    value: dict[str, Any]
    unit: str
    cost_points: int
    stock_left: int | None
    pooled: bool
    coupon_days: int | None
    available_from: str | None
    available_until: str | None
    per_member: RewardLimitOut | None
    member_attributes: dict[str, list[str]]
    retired_at: str | None
    metadata: dict[str, str]


class RewardPage(msgspec.Struct):
    data: list[RewardOut]
    has_more: bool
    next_cursor: str | None


def reward_out(view: View) -> RewardOut:
    reward = view.reward
    return RewardOut(
        id=ids.public("rew", reward.id),
        name=reward.name,
        kind=reward.kind,
        value=reward.value,
        unit=reward.unit,
        cost_points=reward.cost_points,
        stock_left=view.stock_left,
        pooled=reward.pooled,
        coupon_days=reward.coupon_days,
        available_from=rfc3339(reward.available_from) if reward.available_from else None,
        available_until=rfc3339(reward.available_until) if reward.available_until else None,
        per_member=RewardLimitOut(reward.limit_count, reward.limit_period or "") if reward.limit_count else None,
        member_attributes=reward.member_attributes,
        retired_at=rfc3339(reward.retired_at) if reward.retired_at else None,
        metadata=reward.notes,
    )


def reward_page(page: Page[View]) -> RewardPage:
    return RewardPage([reward_out(view) for view in page.data], page.has_more, page.next_cursor)


def codes_out(outcomes: list[Outcome]) -> CodesOut:
    counts = Counter(outcome.outcome for outcome in outcomes)
    return CodesOut(
        added=counts[Became.ADDED],
        duplicate=counts[Became.DUPLICATE],
        taken=counts[Became.TAKEN],
        invalid=counts[Became.INVALID],
        rows=[CodeRowOut(own.row, own.written, own.outcome, own.why) for own in outcomes],
    )
