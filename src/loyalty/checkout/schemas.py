from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field

from loyalty.checkout.rules import Basket
from loyalty.checkout.service import View
from loyalty.core import ids
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
    MoneyIn,
    public_id,
    text,
)
from loyalty.core.money import CURRENCIES, MAX_INTEGER, MoneyOut
from loyalty.core.paging import Page
from loyalty.earning.models import OrderAward
from loyalty.members.schemas import MemberOut
from loyalty.orders.models import Order, OrderLine
from loyalty.orders.rules import Line, OrderStatus
from loyalty.points.models import Entry
from loyalty.referrals.models import Referral, ReferralReward

MAX_LINES = 500


class LineIn(Body):
    """A line of an order; `total` is what all its pieces cost together, after discounts."""

    sku: Annotated[str, text(longest=64)]
    category: Label | None = None
    quantity: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] = 1
    total: MoneyIn


def line_faults(order: Mapping[str, Any]) -> Iterator[FieldFault]:
    """Yield what is wrong between an order as sent and its lines: other currencies, or a total past every bound."""
    lines, own = order.get("lines"), str(order.get("currency"))
    totals = (
        [line.get("total") if isinstance(line, Mapping) else None for line in lines] if isinstance(lines, list) else []
    )
    for index, total in enumerate(totals):
        currency = str(total.get("currency")) if isinstance(total, Mapping) else None
        if currency != own and {currency, own} <= CURRENCIES:
            yield ("lines", index, "total", "currency"), "currency", "A line's currency should be the order's"
    amounts = [total.get("amount") for total in totals if isinstance(total, Mapping)]
    if sum(amount for amount in amounts if isinstance(amount, int) and 0 <= amount <= MAX_INTEGER) > MAX_INTEGER:
        yield ("lines",), "total", "The order's total should not pass 2^53 - 1"


class OrderIn(CrossChecked):
    """An order by a customer of ours, by one of yours (created if new), or by nobody known.

    `email` on an order of nobody known is kept only as a keyed hash, for a later claim.
    """

    external_id: ExternalId
    customer_id: public_id("cus") | None = None  # type: ignore[valid-type]
    external_customer_id: ExternalId | None = None
    email: Email | None = None
    currency: Currency
    lines: Annotated[list[LineIn], Field(min_length=1, max_length=MAX_LINES)]
    channel: Label | None = None
    placed_at: Instant | None = None
    status: Literal["placed", "paid"] = "paid"
    metadata: Metadata

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:
        if raw.get("customer_id") and raw.get("external_customer_id"):
            yield ("external_customer_id",), "customer", "Name customer_id or external_customer_id, not both"
        yield from line_faults(raw)

    def basket(self) -> Basket:
        return Basket(
            external_id=self.external_id,
            customer_id=self.customer_id,
            external_customer_id=self.external_customer_id,
            email=self.email,
            currency=self.currency,
            lines=tuple(Line(line.sku, line.quantity, line.total.amount, line.category) for line in self.lines),
            channel=self.channel,
            placed_at=self.placed_at,
            paid=self.status == "paid",
            metadata=self.metadata,
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


class LineOut(msgspec.Struct):
    sku: str
    category: str | None
    quantity: int
    total: MoneyOut


class AwardOut(msgspec.Struct):
    """What one rule gave: its version, the base it counted, the points, and each line's share of them."""

    rule_id: str
    rule_version: int
    base: MoneyOut
    points: int
    unit: str
    line_points: list[int]


class OrderEntryOut(msgspec.Struct):
    """The ledger entry of an award, and the balance it left."""

    entry_id: str
    kind: str
    to_account: str
    points: int
    unit: str
    balance_after: int


class CompletedReferralOut(msgspec.Struct):
    """A referral that this order completed, and the points that the buyer got for it."""

    referral_id: str
    referee_points: int


class OrderOut(msgspec.Struct):
    """An order and what it caused. `points_earned` counts spendable and pending points alike.

    `member` is the buyer where that is asked for, null when the buyer is none.
    """

    id: str
    external_id: str
    customer_id: str | None
    status: str
    total: MoneyOut
    channel: str | None
    placed_at: str
    recorded_at: str
    paid_at: str | None
    delivered_at: str | None
    cancelled_at: str | None
    late: bool
    lines: list[LineOut]
    points_earned: int
    awards: list[AwardOut]
    entries: list[OrderEntryOut]
    referral: CompletedReferralOut | None
    metadata: dict[str, str]
    member: MemberOut | None = None


class OrderSummary(msgspec.Struct):
    """An order in a list."""

    id: str
    external_id: str
    customer_id: str | None
    status: str
    total: MoneyOut
    placed_at: str
    metadata: dict[str, str]
    member: MemberOut | None = None


class OrderPage(msgspec.Struct):
    data: list[OrderSummary]
    has_more: bool
    next_cursor: str | None


def order_out(view: View) -> OrderOut:
    """Show an order as it stands now."""
    order = view.order
    return OrderOut(
        id=ids.public("ord", order.id),
        external_id=order.external_id,
        customer_id=ids.public("cus", order.customer_id) if order.customer_id else None,
        status=_status(order),
        total=MoneyOut(order.total_minor, order.currency),
        channel=order.channel,
        placed_at=rfc3339(order.placed_at),
        recorded_at=rfc3339(order.recorded_at),
        paid_at=rfc3339(order.paid_at) if order.paid_at else None,
        delivered_at=rfc3339(order.delivered_at) if order.delivered_at else None,
        cancelled_at=rfc3339(order.cancelled_at) if order.cancelled_at else None,
        late=order.placed_at < order.recorded_at,
        lines=[_line_out(line, order.currency) for line in view.lines],
        points_earned=sum(award.points for award in view.awards),
        awards=[_award_out(award, order.currency) for award in view.awards],
        entries=[_entry_out(entry) for entry in view.entries],
        referral=_referral_out(view.referrals),
        metadata=order.notes,
    )


def placed_out(view: View) -> OrderOut:
    """Show an order as it was when it was placed, so that a repeated request hears what the first one heard."""
    shown = msgspec.structs.replace(order_out(view), delivered_at=None, cancelled_at=None)
    if view.order.paid_when_placed:
        return msgspec.structs.replace(shown, status=OrderStatus.PAID, entries=_earned(view))
    return msgspec.structs.replace(
        shown,
        status=OrderStatus.PLACED,
        paid_at=None,
        entries=_earned(view),
        referral=None,
    )


def paid_out(view: View) -> OrderOut:
    """Show an order as it was when it was paid, for the same reason."""
    shown = msgspec.structs.replace(order_out(view), status=OrderStatus.PAID, delivered_at=None, cancelled_at=None)
    return msgspec.structs.replace(shown, entries=_earned(view))


def delivered_out(view: View) -> OrderOut:
    """Show an order as it was when it was delivered."""
    shown = msgspec.structs.replace(order_out(view), entries=_earned(view), cancelled_at=None)
    if view.order.paid_when_delivered:
        return msgspec.structs.replace(shown, status=OrderStatus.PAID)
    return msgspec.structs.replace(shown, status=OrderStatus.PLACED, paid_at=None, referral=None)


def order_page(page: Page[Order], members: Mapping[UUID, MemberOut]) -> OrderPage:
    return OrderPage([_summary(order, members) for order in page.data], page.has_more, page.next_cursor)


def _summary(order: Order, members: Mapping[UUID, MemberOut]) -> OrderSummary:
    return OrderSummary(
        id=ids.public("ord", order.id),
        external_id=order.external_id,
        customer_id=ids.public("cus", order.customer_id) if order.customer_id else None,
        status=_status(order),
        total=MoneyOut(order.total_minor, order.currency),
        placed_at=rfc3339(order.placed_at),
        metadata=order.notes,
        member=members.get(order.customer_id) if order.customer_id else None,
    )


def _status(order: Order) -> str:
    if order.cancelled_at is not None:
        return OrderStatus.CANCELLED
    return OrderStatus.PLACED if order.paid_at is None else OrderStatus.PAID


def _earned(view: View) -> list[OrderEntryOut]:
    """Return what the order earned; when that begins or ends is told by the wallet, and no repeated reply."""
    return [_entry_out(entry) for entry in view.entries if entry.kind == "earn"]


def _line_out(line: OrderLine, currency: str) -> LineOut:
    return LineOut(line.sku, line.category, line.quantity, MoneyOut(line.total_minor, currency))


def _award_out(award: OrderAward, currency: str) -> AwardOut:
    return AwardOut(
        rule_id=ids.public("rul", award.rule_id),
        rule_version=award.rule_version,
        base=MoneyOut(award.base_minor, currency),
        points=award.points,
        unit=award.unit,
        line_points=list(award.line_points),
    )


def _entry_out(entry: Entry) -> OrderEntryOut:
    return OrderEntryOut(
        ids.public("ent", entry.id), entry.kind, entry.to_account, entry.points, entry.unit, entry.balance_after
    )


def _referral_out(found: list[tuple[Referral, list[ReferralReward]]]) -> CompletedReferralOut | None:
    """Name what the buyer gained; the advocate's side is not the buyer's to see."""
    for referral, rewards in found:
        own = sum(reward.points for reward in rewards if reward.side == "referee")
        return CompletedReferralOut(ids.public("ref", referral.id), own)
    return None
