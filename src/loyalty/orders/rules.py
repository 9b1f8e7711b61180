import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final
from uuid import UUID

from loyalty.core.clock import rfc3339
from loyalty.orders.errors import CurrencyNotAccepted, PlacedOutOfTime

MAX_LINES: Final = 500


class OrderStatus(StrEnum):
    PLACED = "placed"
    PAID = "paid"
    CANCELLED = "cancelled"


class LineKind(StrEnum):
    PRODUCT = "product"
    GIFT_CARD = "gift_card"
    SHIPPING = "shipping"


@dataclass(frozen=True)
class Line:
    """`total_minor` is what the line costs in all, after its discounts, in the order's currency.

    `discount_minor` came off before that. `tax_minor` is contained in it; `points_minor` of it was paid with points.
    """

    sku: str
    quantity: int
    total_minor: int
    category: str | None = None
    brand: str | None = None
    kind: LineKind = LineKind.PRODUCT
    discount_minor: int = 0
    tax_minor: int = 0
    points_minor: int = 0


@dataclass(frozen=True)
class NewOrder:
    """An order as decided, ready to be recorded. `customer_id` None: nobody is identified."""

    id: UUID
    external_id: str
    customer_id: UUID | None
    email_digest: bytes | None
    content_digest: bytes
    currency: str
    lines: tuple[Line, ...]
    channel: str | None
    placed_at: datetime
    recorded_at: datetime
    paid: bool
    imported: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    delivered: bool = False
    paid_at: datetime | None = None
    store: str | None = None
    payment_method: str | None = None

    @property
    def total_minor(self) -> int:
        return sum(line.total_minor for line in self.lines)


@dataclass(frozen=True)
class Placed:
    """A customer's order as it was placed, for who counts it again; what went back since is not taken off."""

    id: UUID
    customer_id: UUID
    placed_at: datetime
    currency: str
    channel: str | None
    store: str | None
    payment_method: str | None
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Stretch:
    """Orders placed `since` an instant and before `until`, as far as they were recorded before this id was made."""

    since: datetime
    until: datetime
    before: UUID


@dataclass(frozen=True)
class Recorded:
    """What is kept of an order that decides whether another one is the same."""

    id: UUID
    customer_id: UUID | None
    email_digest: bytes | None
    content_digest: bytes
    placed_at: datetime


def digest_content(
    *,
    currency: str,
    lines: Sequence[Line],
    channel: str | None,
    paid: bool,
    metadata: Mapping[str, str],
    **more: str | None,
) -> bytes:
    """Digest what was bought, so that an external id cannot come back with something else.

    What was added to orders in later releases is left out where it is not given: older digests stay what they are.
    """
    content = {
        "currency": currency,
        "lines": [_content(line) for line in lines],
        "channel": channel,
        "paid": paid,
        **({"metadata": dict(metadata)} if metadata else {}),
        **{name: value for name, value in more.items() if value is not None},
    }
    return sha256(_WRITER.encode(content).encode()).digest()


def _content(line: Line) -> dict[str, object]:
    first = ("sku", "quantity", "total_minor", "category")
    given = vars(line)
    return {name: given[name] for name in given if name in first or given[name] != _PLAIN[name]}


_WRITER: Final = json.JSONEncoder(sort_keys=True)
_PLAIN: Final = asdict(Line("", 0, 0))


def is_same(there: Recorded, order: NewOrder, *, email_digests: Collection[bytes], placed_at: datetime | None) -> bool:
    """Tell whether an order is the one that is there: same buyer, same content, and same time where one is given.

    `email_digests` are those of a guest's address under every secret in use.
    """
    same_guest = there.email_digest in email_digests if there.email_digest else not email_digests
    # A guest's order that a member has claimed since is still that guest's order.
    was_guests = order.customer_id is None and there.email_digest is not None
    same_buyer = same_guest if was_guests else there.customer_id == order.customer_id
    return same_buyer and there.content_digest == order.content_digest and placed_at in (None, there.placed_at)


def check_currency(currency: str, *, accepted: tuple[str, ...]) -> None:
    if currency not in accepted:
        raise CurrencyNotAccepted(currency=currency, accepted=list(accepted))


def check_placed(placed_at: datetime, *, now: datetime, late_days: int) -> None:
    """Accept an order placed up to `late_days` times 24 hours ago, and none from the future."""
    earliest = now - timedelta(days=late_days)
    if not earliest <= placed_at <= now:
        raise PlacedOutOfTime(earliest=rfc3339(earliest), latest=rfc3339(now))
