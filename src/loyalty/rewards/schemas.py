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
    Metadata,
    MoneyIn,
    Name,
    Positive,
    Unit,
    text,
)
from loyalty.core.paging import Page
from loyalty.rewards.models import Reward
from loyalty.rewards.rules import RewardKind

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


class ValueIn(Body):
    """What the reward is worth; which field is needed follows from the kind.

    `minimum` is the least that the products of an order must come to for its coupon to be used.
    """

    amount: MoneyIn | None = None
    percent: Annotated[int, Field(ge=1, le=100, strict=True)] | None = None
    sku: Annotated[str, text(longest=64)] | None = None
    description: Annotated[str, text(longest=500)] | None = None
    minimum: MoneyIn | None = None


class RewardIn(CrossChecked):
    """A reward to offer. `stock` null: unlimited. `coupon_days` null: its coupons never expire."""

    name: Name
    kind: RewardKind
    value: ValueIn = Field(default_factory=ValueIn)
    cost_points: Positive
    unit: Unit | None = None
    stock: Count | None = None
    coupon_days: CouponDays | None = None
    metadata: Metadata

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

    `stock` and `coupon_days` null lift the limit. Coupons already given keep their terms.
    """

    name: Name | None = None
    cost_points: Positive | None = None
    stock: Count | None = None
    coupon_days: CouponDays | None = None
    retired: Flag = False
    metadata: Attributes | None = None

    @property
    def changes(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in self.model_fields_set - {"retired"}}
        renamed = {_COLUMNS.get(name, name): value for name, value in named.items()}
        return {
            name: value for name, value in renamed.items() if value is not None or name in {"stock_left", "coupon_days"}
        }


class RewardOut(msgspec.Struct):
    """A reward of the catalogue; `stock_left` null means unlimited."""

    id: str
    name: str
    kind: str
    value: dict[str, Any]
    unit: str
    cost_points: int
    stock_left: int | None
    coupon_days: int | None
    retired_at: str | None
    metadata: dict[str, str]


class RewardPage(msgspec.Struct):
    data: list[RewardOut]
    has_more: bool
    next_cursor: str | None


def reward_out(reward: Reward) -> RewardOut:
    return RewardOut(
        id=ids.public("rew", reward.id),
        name=reward.name,
        kind=reward.kind,
        value=reward.value,
        unit=reward.unit,
        cost_points=reward.cost_points,
        stock_left=reward.stock_left,
        coupon_days=reward.coupon_days,
        retired_at=rfc3339(reward.retired_at) if reward.retired_at else None,
        metadata=reward.notes,
    )


def reward_page(page: Page[Reward]) -> RewardPage:
    return RewardPage([reward_out(reward) for reward in page.data], page.has_more, page.next_cursor)
