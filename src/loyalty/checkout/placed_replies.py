"""The reply to an order just placed, made of what was decided; a repeated request hears the same from stored rows."""

from loyalty.checkout.placing import Placed
from loyalty.checkout.replies import (
    AwardOut,
    CompletedReferralOut,
    OrderEntryOut,
    OrderOut,
    line_out,
)
from loyalty.checkout.traces import rule_id_out, trace_out
from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.money import MoneyOut
from loyalty.earning.rules import Award
from loyalty.orders.rules import OrderStatus
from loyalty.points.postings import Entry


def placed_order_out(placed: Placed) -> OrderOut:
    order, currency = placed.order, placed.order.currency
    awards = [] if placed.counted is None else placed.counted.awards
    return OrderOut(
        id=ids.public("ord", order.id),
        external_id=order.external_id,
        customer_id=ids.public("cus", order.customer_id) if order.customer_id else None,
        status=OrderStatus.PAID if order.paid else OrderStatus.PLACED,
        total=MoneyOut(order.total_minor, currency),
        channel=order.channel,
        store=order.store,
        payment_method=order.payment_method,
        placed_at=rfc3339(order.placed_at),
        recorded_at=rfc3339(order.recorded_at),
        paid_at=rfc3339(order.placed_at) if order.paid else None,
        delivered_at=None,
        cancelled_at=None,
        late=order.placed_at < order.recorded_at,
        lines=[line_out(line, currency) for line in order.lines],
        discounts=[],
        paid_with_points=None,
        points_earned=sum(award.points for award in awards),
        awards=[_award_out(award, currency) for award in sorted(awards, key=lambda award: award.rule.rule_id)],
        trace=[] if placed.counted is None else [trace_out(own, currency) for own in placed.counted.verdicts],
        entries=[_entry_out(entry) for entry in placed.entries],
        referral=None
        if placed.referral is None
        else CompletedReferralOut(ids.public("ref", placed.referral[0]), placed.referral[1]),
        metadata=order.metadata,
    )


def _award_out(award: Award, currency: str) -> AwardOut:
    return AwardOut(
        rule_id=rule_id_out(award.rule.rule_id),
        rule_version=award.rule.version,
        base=MoneyOut(award.base_minor, currency),
        points=award.points,
        unit=award.rule.terms.unit,
        line_points=list(award.line_points),
    )


def _entry_out(entry: Entry) -> OrderEntryOut:
    return OrderEntryOut(
        ids.public("ent", entry.id),
        entry.movement.kind,
        entry.movement.target,
        entry.movement.points,
        entry.wallet.unit,
        entry.balance_after,
    )
