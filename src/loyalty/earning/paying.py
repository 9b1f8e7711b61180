from datetime import datetime
from uuid import UUID

from loyalty.points.book import Book
from loyalty.points.rules import EntryKind, Source, SourceKind, WalletKey
from loyalty.programs.policies import ActivationKind, LotDates


def pay(
    book: Book,
    key: WalletKey,
    *,
    points: int,
    order_id: UUID,
    occurred_at: datetime,
    paid_at: datetime | None,
    delivered: bool,
    dates: LotDates | None = None,
) -> UUID:
    """Credit what an order earns, and return the entry: pending until it is paid and, by policy, delivered.

    Without `dates` its end is counted from when it begins.
    """
    on_delivery = book.rules.activation.kind is ActivationKind.DELIVERY
    return book.award(
        key,
        points=points,
        kind=EntryKind.EARN,
        source=Source(SourceKind.ORDER, order_id),
        occurred_at=occurred_at,
        pending=paid_at is None or (on_delivery and not delivered),
        activates_at=None if paid_at is None else book.rules.starts_at(paid_at),
        dates=dates,
    ).id
