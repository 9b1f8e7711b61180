from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from loyalty.points.book import Book
from loyalty.points.rules import EntryKind, Source, SourceKind, WalletKey
from loyalty.programs.policies import ActivationKind, LotDates


class Given(NamedTuple):
    """What one rule gives into a wallet."""

    rule_id: UUID
    wallet: WalletKey
    points: int


def pay_order(
    book: Book,
    given: Iterable[Given],
    *,
    order_id: UUID,
    occurred_at: datetime,
    paid_at: datetime | None,
    delivered: bool,
    dates: LotDates | None = None,
) -> dict[UUID, UUID]:
    """Credit what an order earns: pending until it is paid and, by policy, delivered.

    Without `dates` its end is counted from when it begins.
    """
    on_delivery = book.rules.activation.kind is ActivationKind.DELIVERY
    return pay(
        book,
        given,
        source=Source(SourceKind.ORDER, order_id),
        occurred_at=occurred_at,
        pending=paid_at is None or (on_delivery and not delivered),
        activates_at=None if paid_at is None else book.rules.starts_at(paid_at),
        dates=dates,
    )


def pay(
    book: Book,
    given: Iterable[Given],
    *,
    source: Source,
    occurred_at: datetime,
    activates_at: datetime | None,
    pending: bool = False,
    dates: LotDates | None = None,
) -> dict[UUID, UUID]:
    """Credit what rules give for one thing, as one entry and lot a wallet; return by rule the entry with its points."""
    some = [own for own in given if own.points > 0]
    sums = Counter[WalletKey]()
    for own in some:
        sums[own.wallet] += own.points
    entries = {
        wallet: book.award(
            wallet,
            points=points,
            kind=EntryKind.EARN,
            source=source,
            occurred_at=occurred_at,
            pending=pending,
            activates_at=activates_at,
            dates=dates,
        ).id
        for wallet, points in sums.items()
    }
    return {own.rule_id: entries[own.wallet] for own in some}
