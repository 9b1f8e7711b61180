from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from loyalty.earning.rules import Award
from loyalty.orders.rules import Line, NewOrder, digest_content
from loyalty.points.rules import WalletKey


@dataclass(frozen=True)
class Basket:
    """What a storefront says of an order. `placed_at` None leaves the time to us.

    `pay_points` pay for a part of it, out of the hold if one is named; a hold alone pays with all that it has locked.
    """

    external_id: str
    customer_id: UUID | None
    external_customer_id: str | None
    email: str | None
    currency: str
    lines: tuple[Line, ...]
    channel: str | None
    placed_at: datetime | None
    paid: bool
    store: str | None = None
    payment_method: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    pay_points: int | None = None
    hold_id: UUID | None = None
    quote_id: UUID | None = None
    coupons: tuple[str, ...] = ()


def new_order(
    basket: Basket,
    *,
    order_id: UUID,
    customer_id: UUID | None,
    email_digest: bytes | None,
    content_digest: bytes,
    now: datetime,
) -> NewOrder:
    """Return a basket as the order that it becomes, with the digest of `placed_content`, or of `quoted_content`."""
    return NewOrder(
        id=order_id,
        external_id=basket.external_id,
        customer_id=customer_id,
        email_digest=email_digest,
        content_digest=content_digest,
        currency=basket.currency,
        lines=basket.lines,
        channel=basket.channel,
        placed_at=basket.placed_at or now,
        recorded_at=now,
        paid=basket.paid,
        metadata=basket.metadata,
        store=basket.store,
        payment_method=basket.payment_method,
    )


def placed_content(basket: Basket) -> bytes:
    """Digest what is placed: all of a basket but its buyer and time."""
    return _content(basket, paid=basket.paid, metadata=basket.metadata)


def quoted_content(basket: Basket) -> bytes:
    """Digest what a quote is for: all of a basket that figures depend on."""
    return _content(basket, paid=True, metadata={})


def award_wallets(awards: Sequence[Award], *, program_id: UUID, member_id: UUID) -> set[WalletKey]:
    """Return the wallets that these awards pay into."""
    return {WalletKey(program_id, member_id, award.rule.terms.unit) for award in awards if award.points > 0}


def _content(basket: Basket, *, paid: bool, metadata: Mapping[str, str]) -> bytes:
    return digest_content(
        currency=basket.currency,
        lines=basket.lines,
        channel=basket.channel,
        paid=paid,
        metadata=metadata,
        store=basket.store,
        payment_method=basket.payment_method,
        pay_points=None if basket.pay_points is None else str(basket.pay_points),
        hold_id=None if basket.hold_id is None else str(basket.hold_id),
        coupons=",".join(basket.coupons) or None,
    )
