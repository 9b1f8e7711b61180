"""An order as the API shows it: as it stands, and as it was when it was placed, paid or delivered."""

from collections.abc import Mapping
from uuid import UUID

import msgspec

from loyalty.checkout.showing import View
from loyalty.checkout.traces import TraceOut, rule_id_out, trace_out
from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.money import MoneyOut
from loyalty.core.paging import Page
from loyalty.earning.rules import PaidAward
from loyalty.members.schemas import MemberOut
from loyalty.orders.models import Order, OrderLine
from loyalty.orders.rules import Line, OrderStatus
from loyalty.points.models import Entry
from loyalty.referrals.models import Referral, ReferralReward
from loyalty.rewards.discounts import Discount
from loyalty.rewards.models import CouponDiscount


class LineOut(msgspec.Struct):
    sku: str
    category: str | None
    brand: str | None
    kind: str
    quantity: int
    total: MoneyOut
    discount: MoneyOut
    tax: MoneyOut


class AwardOut(msgspec.Struct):
    """What one rule gave: its version, the base it counted, the points, and each line's share of them."""

    rule_id: str
    rule_version: int
    base: MoneyOut
    points: int
    unit: str
    line_points: list[int]


class OrderEntryOut(msgspec.Struct):
    """A ledger entry that the order caused, and the balance it left. All that rules gave in a unit is one entry."""

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


class PaidWithPointsOut(msgspec.Struct):
    """What points paid for an order, and of each line. These points' entry is among the entries."""

    points: int
    unit: str
    value: MoneyOut
    line_values: list[MoneyOut]


class DiscountOut(msgspec.Struct):
    """What a coupon does for an order, and for each line, by its `effect`.

    price_reduction: it is taken off, and contained in the lines' discounts. tender: a gift card pays so much of what is
    left. perk: it takes off nothing, and is used with the order.
    """

    coupon_code: str
    reward_id: str
    effect: str
    value: MoneyOut
    line_values: list[MoneyOut]


class OrderOut(msgspec.Struct):
    """An order and what it caused when it was placed. `points_earned` counts spendable and pending points alike.

    Lines that amendments added come last, and count in the `total`; what amendments and returns gave or took is theirs
    to tell.

    `member` is the buyer where that is asked for, null when the buyer is none.
    """

    id: str
    external_id: str
    customer_id: str | None
    status: str
    total: MoneyOut
    channel: str | None
    store: str | None
    payment_method: str | None
    placed_at: str
    recorded_at: str
    paid_at: str | None
    delivered_at: str | None
    cancelled_at: str | None
    late: bool
    lines: list[LineOut]
    discounts: list[DiscountOut]
    paid_with_points: PaidWithPointsOut | None
    points_earned: int
    awards: list[AwardOut]
    trace: list[TraceOut]
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
        total=MoneyOut(sum(line.total_minor for line in view.lines), order.currency),
        channel=order.channel,
        store=order.store,
        payment_method=order.payment_method,
        placed_at=rfc3339(order.placed_at),
        recorded_at=rfc3339(order.recorded_at),
        paid_at=rfc3339(order.paid_at) if order.paid_at else None,
        delivered_at=rfc3339(order.delivered_at) if order.delivered_at else None,
        cancelled_at=rfc3339(order.cancelled_at) if order.cancelled_at else None,
        late=order.placed_at < order.recorded_at,
        lines=[line_out(line, order.currency) for line in view.lines],
        discounts=[discount_out(own, order.currency) for own in view.discounts],
        paid_with_points=_tender_out(view),
        points_earned=sum(award.points for award in view.awards),
        awards=[_award_out(award, order.currency) for award in view.awards],
        trace=[trace_out(own, order.currency) for own in view.trace],
        entries=[_entry_out(entry) for entry in view.entries],
        referral=_referral_out(view.referral),
        metadata=order.notes,
    )


def placed_out(view: View) -> OrderOut:
    """Show an order as it was when it was placed, so that a repeated request hears what the first one heard."""
    shown = msgspec.structs.replace(_as_placed(view), delivered_at=None, cancelled_at=None)
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
    shown = msgspec.structs.replace(_as_placed(view), status=OrderStatus.PAID, delivered_at=None, cancelled_at=None)
    return msgspec.structs.replace(shown, entries=_earned(view))


def delivered_out(view: View) -> OrderOut:
    """Show an order as it was when it was delivered."""
    shown = msgspec.structs.replace(_as_placed(view), entries=_earned(view), cancelled_at=None)
    if view.order.paid_when_delivered:
        return msgspec.structs.replace(shown, status=OrderStatus.PAID)
    return msgspec.structs.replace(shown, status=OrderStatus.PLACED, paid_at=None, referral=None)


def _as_placed(view: View) -> OrderOut:
    """Show an order without what amendments have added."""
    lines = [line_out(line, view.order.currency) for line in view.placed]
    total = MoneyOut(view.order.total_minor, view.order.currency)
    return msgspec.structs.replace(order_out(view), lines=lines, total=total)


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
    """Return what the order spent and earned; when that begins or ends is told by the wallet, and no repeated reply."""
    return [_entry_out(entry) for entry in view.entries if _is_own(entry, view)]


def _is_own(entry: Entry, view: View) -> bool:
    return entry.kind in ("spend", "capture", "earn") and entry.id not in view.added


def discount_out(own: CouponDiscount | Discount, currency: str) -> DiscountOut:
    return DiscountOut(
        coupon_code=own.code,
        reward_id=ids.public("rew", own.reward_id),
        effect=own.effect,
        value=MoneyOut(sum(own.line_minor), currency),
        line_values=[MoneyOut(part, currency) for part in own.line_minor],
    )


def _tender_out(view: View) -> PaidWithPointsOut | None:
    if view.tender is None:
        return None
    currency = view.order.currency
    return PaidWithPointsOut(
        points=view.tender.points,
        unit=view.tender.unit,
        value=MoneyOut(view.tender.value_minor, currency),
        line_values=[MoneyOut(line.points_minor, currency) for line in view.placed],
    )


def line_out(line: OrderLine | Line, currency: str) -> LineOut:
    return LineOut(
        sku=line.sku,
        category=line.category,
        brand=line.brand,
        kind=line.kind,
        quantity=line.quantity,
        total=MoneyOut(line.total_minor, currency),
        discount=MoneyOut(line.discount_minor, currency),
        tax=MoneyOut(line.tax_minor, currency),
    )


def _award_out(award: PaidAward, currency: str) -> AwardOut:
    return AwardOut(
        rule_id=rule_id_out(award.rule_id),
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


def _referral_out(found: tuple[Referral, list[ReferralReward]] | None) -> CompletedReferralOut | None:
    """Name what the buyer gained; the advocate's side is not the buyer's to see."""
    if found is None:
        return None
    referral, rewards = found
    own = sum(reward.points for reward in rewards if reward.side == "referee")
    return CompletedReferralOut(ids.public("ref", referral.id), own)
