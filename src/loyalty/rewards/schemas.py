from typing import Annotated, Any

import msgspec
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import Body, Count, Flag, MoneyIn, Name, Positive, Unit, text
from loyalty.core.paging import Page
from loyalty.rewards.models import Reward
from loyalty.rewards.rules import RewardKind

CouponDays = Annotated[int, Field(ge=1, le=3650, strict=True)]
_NEEDS = {
    RewardKind.AMOUNT_OFF: {"amount"},
    RewardKind.PERCENT_OFF: {"percent"},
    RewardKind.FREE_PRODUCT: {"sku"},
    RewardKind.FREE_SHIPPING: set[str](),
    RewardKind.GIFT_CARD: {"amount"},
    RewardKind.PERK: {"description"},
}


class ValueIn(Body):
    """What the reward is worth; which field is needed follows from the kind."""

    amount: MoneyIn | None = None
    percent: Annotated[int, Field(ge=1, le=100, strict=True)] | None = None
    sku: Annotated[str, text(longest=64)] | None = None
    description: Annotated[str, text(longest=500)] | None = None


class RewardIn(Body):
    """A reward to offer. `stock` null: unlimited. `coupon_days` null: its coupons never expire."""

    name: Name
    kind: RewardKind
    value: ValueIn = Field(default_factory=ValueIn)
    cost_points: Positive
    unit: Unit | None = None
    stock: Count | None = None
    coupon_days: CouponDays | None = None

    @model_validator(mode="after")
    def _value_fits_kind(self) -> "RewardIn":
        given = {name for name, value in self.value if value is not None}
        if given != _NEEDS[self.kind]:
            needed = ", ".join(sorted(_NEEDS[self.kind])) or "nothing"
            raise PydanticCustomError("value", "The value of this kind of reward needs {needed}", {"needed": needed})
        return self


class RewardPatch(Body):
    """What is not named stays.

    `stock` and `coupon_days` null lift the limit. Coupons already given keep their terms.
    """

    name: Name | None = None
    cost_points: Positive | None = None
    stock: Count | None = None
    coupon_days: CouponDays | None = None
    retired: Flag = False

    @property
    def changes(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in self.model_fields_set - {"retired"}}
        renamed = {"stock_left" if name == "stock" else name: value for name, value in named.items()}
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
    )


def reward_page(page: Page[Reward]) -> RewardPage:
    return RewardPage([reward_out(reward) for reward in page.data], page.has_more, page.next_cursor)
