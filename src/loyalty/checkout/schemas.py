from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field

from loyalty.checkout.couponing import Check, Goods
from loyalty.checkout.rules import Basket
from loyalty.core.clock import rfc3339
from loyalty.core.fields import (
    Body,
    CrossChecked,
    Currency,
    Email,
    ExternalId,
    FieldFault,
    Instant,
    Label,
    Metadata,
    Positive,
    public_id,
    text,
)
from loyalty.core.money import MoneyOut
from loyalty.orders.rules import MAX_LINES
from loyalty.orders.schemas import LineIn, line_faults
from loyalty.rewards.rules import fold_coupon_code
from loyalty.rewards.schemas import RewardOut, reward_out

CouponCode = Annotated[str, text(longest=64)]


class _BasketIn(CrossChecked):
    customer_id: public_id("cus") | None = None  # type: ignore[valid-type]
    external_customer_id: ExternalId | None = None
    currency: Currency
    lines: Annotated[list[LineIn], Field(min_length=1, max_length=MAX_LINES)]
    channel: Label | None = None
    store: Label | None = None
    payment_method: Label | None = None
    pay_points: Positive | None = None
    hold_id: public_id("hld") | None = None  # type: ignore[valid-type]
    coupons: Annotated[list[CouponCode], Field(max_length=10)] = Field(default_factory=list)

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:
        if raw.get("customer_id") and raw.get("external_customer_id"):
            yield ("external_customer_id",), "customer", "Name customer_id or external_customer_id, not both"
        coupons = raw.get("coupons")
        folded = (
            [fold_coupon_code(code) for code in coupons if isinstance(code, str)] if isinstance(coupons, list) else []
        )
        if len(set(folded)) < len(folded):
            yield ("coupons",), "coupons", "A coupon can be named once"
        yield from line_faults(raw)


class QuoteIn(_BasketIn):
    """What somebody is about to buy, and what points of theirs would pay of it."""

    def basket(self) -> Basket:
        return _basket(self, external_id="", paid=True, email=None, placed_at=None, quote_id=None, metadata={})


class OrderIn(_BasketIn):
    """An order by a customer of ours, by one of yours (created if new), or by nobody known.

    `email` on an order of nobody known is kept only as a keyed hash, for a later claim. `pay_points` of the buyer's pay
    for a part of it at the program's rate, out of the hold if one is named; a hold alone pays with all that it locked.
    With `quote_id` the order comes to what was quoted, or is refused with the difference.
    """

    external_id: ExternalId
    email: Email | None = None
    placed_at: Instant | None = None
    status: Literal["placed", "paid"] = "paid"
    quote_id: public_id("quo") | None = None  # type: ignore[valid-type]
    metadata: Metadata

    def basket(self) -> Basket:
        return _basket(
            self,
            external_id=self.external_id,
            paid=self.status == "paid",
            email=self.email,
            placed_at=self.placed_at,
            quote_id=self.quote_id,
            metadata=self.metadata,
        )


class OrderBatchIn(Body):
    """Up to a hundred orders, each placed or refused by itself."""

    orders: Annotated[list[OrderIn], Field(min_length=1, max_length=100)]


def _basket(
    body: _BasketIn,
    *,
    external_id: str,
    paid: bool,
    email: str | None,
    placed_at: datetime | None,
    quote_id: UUID | None,
    metadata: dict[str, str],
) -> Basket:
    return Basket(
        external_id=external_id,
        customer_id=body.customer_id,
        external_customer_id=body.external_customer_id,
        email=email,
        currency=body.currency,
        lines=tuple([line.line() for line in body.lines]),
        channel=body.channel,
        placed_at=placed_at,
        paid=paid,
        store=body.store,
        payment_method=body.payment_method,
        pay_points=body.pay_points,
        hold_id=body.hold_id,
        quote_id=quote_id,
        metadata=metadata,
        coupons=tuple([fold_coupon_code(code) for code in body.coupons]),
    )


class CouponCheckIn(CrossChecked):
    """A coupon as the customer wrote it; whose it should be, and what is about to be bought, where that is known."""

    code: CouponCode
    member_id: public_id("mem") | None = None  # type: ignore[valid-type]
    currency: Currency | None = None
    lines: Annotated[list[LineIn], Field(min_length=1, max_length=MAX_LINES)] | None = None

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:
        if (raw.get("currency") is None) != (raw.get("lines") is None):
            yield ("lines",), "lines", "Name the currency together with the lines"
        yield from line_faults(raw)

    def goods(self) -> Goods | None:
        if self.currency is None or self.lines is None:
            return None
        return Goods(self.currency, tuple(line.line() for line in self.lines))


class CouponCheckOut(msgspec.Struct):
    """What would become of a coupon. `value` is what a valid one would take off what is about to be bought.

    valid · used · expired · voided · not_for_this_member · below_minimum · does_not_fit
    """

    code: str
    status: str
    expires_at: str | None
    value: MoneyOut | None
    reward: RewardOut


def coupon_check_out(check: Check, *, currency: str | None) -> CouponCheckOut:
    expires_at, value = check.coupon.expires_at, check.value_minor
    return CouponCheckOut(
        code=check.coupon.written,
        status=check.status,
        expires_at=rfc3339(expires_at) if expires_at else None,
        value=None if value is None or currency is None else MoneyOut(value, currency),
        reward=reward_out(check.reward),
    )


class PaymentIn(Body):
    """When the order was paid; now unless given."""

    paid_at: Instant | None = None


class OrderClaimIn(Body):
    """The member who made the order as a guest."""

    member_id: public_id("mem")  # type: ignore[valid-type]


class DeliveryIn(Body):
    """When the order was delivered; now unless given."""

    delivered_at: Instant | None = None
