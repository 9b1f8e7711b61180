import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from uuid import UUID

from loyalty.core.clock import rfc3339
from loyalty.orders.errors import CurrencyNotAccepted, PlacedOutOfTime


class OrderStatus(StrEnum):
    PLACED = "placed"
    PAID = "paid"


@dataclass(frozen=True)
class Line:
    """`total_minor` is what the line costs in all, after its discounts, in the order's currency."""

    sku: str
    quantity: int
    total_minor: int
    category: str | None = None


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

    @property
    def total_minor(self) -> int:
        return sum(line.total_minor for line in self.lines)


def digest_content(
    *,
    customer: str | None,
    email_digest: bytes | None,
    currency: str,
    lines: tuple[Line, ...],
    channel: str | None,
    placed_at: datetime | None,
    paid: bool,
) -> bytes:
    """Digest what an order says, so that its external id cannot come back saying something else.

    `customer` is the customer's public id; `placed_at` is None where the caller left it to us.
    """
    content = {
        "customer": customer,
        "email": email_digest and email_digest.hex(),
        "currency": currency,
        "lines": [asdict(line) for line in lines],
        "channel": channel,
        "placed_at": placed_at and rfc3339(placed_at),
        "paid": paid,
    }
    return sha256(json.dumps(content, sort_keys=True).encode()).digest()


def check_currency(currency: str, *, accepted: tuple[str, ...]) -> None:
    if currency not in accepted:
        raise CurrencyNotAccepted(currency=currency, accepted=list(accepted))


def check_placed(placed_at: datetime, *, now: datetime, late_days: int) -> None:
    """Accept an order placed up to `late_days` times 24 hours ago, and none from the future."""
    earliest = now - timedelta(days=late_days)
    if not earliest <= placed_at <= now:
        raise PlacedOutOfTime(earliest=rfc3339(earliest), latest=rfc3339(now))
