"""Orders that name a quote, placed with others: whether each is what the quote was for, and comes to what it told."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from loyalty.checkout import quoting, rules
from loyalty.checkout.rules import Basket
from loyalty.earning.service import Count
from loyalty.orders.rules import NewOrder
from loyalty.programs.rules import Program
from loyalty.quotes import service as quotes
from loyalty.quotes.models import Quote


class NotAsQuoted(Exception):
    """These orders would not come to what their quotes told, and all are counted with them by now."""

    def __init__(self, order_ids: Collection[UUID]) -> None:
        super().__init__(order_ids)
        self.order_ids = order_ids


def is_as_quoted(basket: Basket, told: Mapping[UUID, Quote], *, now: datetime) -> bool:
    """Tell whether an order names no quote, or one that is for what it orders."""
    if basket.quote_id is None:
        return True
    quote = told.get(basket.quote_id)
    return quote is not None and quotes.is_for(quote, content_digest=rules.quoted_content(basket), now=now)


def check_figures(
    program: Program,
    placed: Sequence[NewOrder],
    *,
    counted: Mapping[UUID, Count | None],
    quoted: Mapping[UUID, Quote],
    now: datetime,
) -> None:
    """Raise NotAsQuoted where orders with a quote would not come to what their buyers were told."""
    unlike = set()
    for order in placed:
        if (quote := quoted.get(order.id)) is None:
            continue
        awards = own.awards if (own := counted[order.id]) is not None else ()
        figures = quoting.figures_of(program, awards=awards, tender=None, discounts=(), now=now)
        if not quotes.is_kept(quote, customer_id=order.customer_id, figures=figures):
            unlike.add(order.id)
    if unlike:
        raise NotAsQuoted(unlike)
