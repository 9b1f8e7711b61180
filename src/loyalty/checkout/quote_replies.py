"""A quote as the API shows it."""

import msgspec

from loyalty.checkout.quoting import View, left_to_pay
from loyalty.checkout.replies import (
    DiscountOut,
    LineOut,
    PaidWithPointsOut,
    discount_out,
    line_out,
)
from loyalty.checkout.traces import TraceOut, trace_out
from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.money import MoneyOut


class QuotedAwardOut(msgspec.Struct):
    """What one rule would give, and each line's share of it."""

    rule_id: str
    rule_version: int
    base: MoneyOut
    points: int
    unit: str
    line_points: list[int]


class OfferOut(msgspec.Struct):
    """From how many to how many points may pay, and what the most are worth."""

    least: int
    most: int
    most_value: MoneyOut


class QuoteOut(msgspec.Struct):
    """What an order would come to if it were placed and paid now; an order that names the quote gets just that.

    `spendable` are the member's points, null for who may not pay with any; `offer` is null where points cannot pay.
    What is earned begins at `points_begin_at` (null: at once, or on delivery) and expires at `points_end_at`.
    """

    id: str
    customer_id: str | None
    valid_until: str
    total: MoneyOut
    left_to_pay: MoneyOut
    lines: list[LineOut]
    discounts: list[DiscountOut]
    paid_with_points: PaidWithPointsOut | None
    spendable: int | None
    offer: OfferOut | None
    points_earned: int
    awards: list[QuotedAwardOut]
    trace: list[TraceOut]
    points_begin_at: str | None
    points_end_at: str | None


def quote_out(view: View, *, unit: str) -> QuoteOut:
    order, currency = view.order, view.order.currency
    verdicts = view.counted.verdicts if view.counted else []
    awards = view.counted.awards if view.counted else []
    return QuoteOut(
        id=ids.public("quo", view.quote.id),
        customer_id=ids.public("cus", order.customer_id) if order.customer_id else None,
        valid_until=rfc3339(view.quote.valid_until),
        total=MoneyOut(order.total_minor, currency),
        left_to_pay=MoneyOut(left_to_pay(order.lines, view.discounts), currency),
        lines=[line_out(line, currency) for line in order.lines],
        discounts=[discount_out(own, currency) for own in view.discounts],
        paid_with_points=None
        if view.tender is None
        else PaidWithPointsOut(
            points=view.tender.points,
            unit=unit,
            value=MoneyOut(view.tender.value_minor, currency),
            line_values=[MoneyOut(line.points_minor, currency) for line in order.lines],
        ),
        spendable=view.spendable,
        offer=None
        if view.offer is None
        else OfferOut(view.offer.least, view.offer.most, MoneyOut(view.offer.most_minor, currency)),
        points_earned=sum(award.points for award in awards),
        awards=[
            QuotedAwardOut(
                rule_id=ids.public("rul", award.rule.rule_id),
                rule_version=award.rule.version,
                base=MoneyOut(award.base_minor, currency),
                points=award.points,
                unit=award.rule.terms.unit,
                line_points=list(award.line_points),
            )
            for award in awards
        ],
        trace=[trace_out(own, currency) for own in verdicts],
        points_begin_at=rfc3339(view.begins_at) if view.begins_at else None,
        points_end_at=rfc3339(view.ends_at) if view.ends_at else None,
    )
