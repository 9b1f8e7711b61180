"""The lots that a book works with: as they are stored, and as the book has decided since."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from loyalty.core import ids
from loyalty.points.postings import Entry
from loyalty.points.rules import Hold, Lot, Wallet, WalletKey


class Shelf:
    def __init__(self) -> None:
        self._known: dict[UUID, Lot] = {}
        self._lots: dict[UUID, Lot] = {}

    def know(self, lots: Iterable[Lot]) -> None:
        """Take in lots as they are stored; those known already stay as they were decided since."""
        for lot in lots:
            if lot.id not in self._lots:
                self._known[lot.id] = self._lots[lot.id] = lot

    def put(self, lot: Lot) -> None:
        self._lots[lot.id] = lot

    def get(self, lot_id: UUID) -> Lot:
        return self._lots[lot_id]

    def change(self, lot: Lot, **changes: object) -> Lot:
        """Write fields of a lot anew, and return it so."""
        changed = replace(lot, **changes)  # type: ignore[arg-type]  # names and types of a lot's own fields
        self._lots[lot.id] = changed
        return changed

    def of(self, key: WalletKey) -> list[Lot]:
        return [lot for lot in self._lots.values() if lot.wallet == key]

    def of_source(self, key: WalletKey, source_id: UUID) -> list[Lot]:
        return [lot for lot in self._lots.values() if lot.wallet == key and lot.source.id == source_id]

    @property
    def new(self) -> list[Lot]:
        return [lot for lot in self._lots.values() if lot.id not in self._known]

    @property
    def changed(self) -> list[Lot]:
        return [lot for lot in self._lots.values() if lot.id in self._known and self._known[lot.id] != lot]


Due = tuple[datetime, tuple[int, UUID], Hold | Lot]
"""When something is due, its place among what is due at the same instant, and what it is."""


def next_due(lots: Iterable[Lot], holds: Iterable[Hold], wallet: Wallet, zone: ZoneInfo) -> Due | None:
    """Return what is due next in a wallet: of what is due at once, holds end before lots begin before lots end."""
    return min(_dues(lots, holds, wallet, zone), key=lambda due: due[:2], default=None)


def expiring(lots: Iterable[Lot], wallet: Wallet, zone: ZoneInfo) -> list[tuple[datetime, int]]:
    """Return how many spendable points of a wallet expire when, as things stand, the next first."""
    return _summed((lot.ends_at(wallet, zone), lot.free) for lot in lots if not lot.is_pending)


def starting(lots: Iterable[Lot]) -> list[tuple[datetime, int]]:
    """Return how many pending points of a wallet become spendable when, the next first."""
    return _summed((lot.activates_at, lot.remaining) for lot in lots if lot.is_pending)


def reborn(lot: Lot, entry: Entry, points: int, *, waits: bool, **dates: object) -> Lot:
    """Return a lot for points that leave another one: of the same source and, unless told, with the same dates."""
    begun = {} if waits else {"activates_at": None, "activated_at": entry.recorded_at}
    changes = {"granted": points, "remaining": points, "reserved": 0, **begun, **dates}
    return replace(lot, id=ids.new(), wallet=entry.wallet, entry_id=entry.id, **changes)  # type: ignore[arg-type]


def _dues(lots: Iterable[Lot], holds: Iterable[Hold], wallet: Wallet, zone: ZoneInfo) -> Iterator[Due]:
    for hold in holds:
        yield hold.expires_at, (0, hold.id), hold
    for lot in lots:
        if lot.is_pending:
            if lot.activates_at is not None and lot.remaining > 0:
                yield lot.activates_at, (1, lot.id), lot
        elif lot.free > 0 and (ends_at := lot.ends_at(wallet, zone)) is not None:
            yield ends_at, (2, lot.id), lot


def _summed(parts: Iterable[tuple[datetime | None, int]]) -> list[tuple[datetime, int]]:
    """Add up the points that share an instant, the earliest first; what has none is left out."""
    totals: dict[datetime, int] = {}
    for at, points in parts:
        if at is not None:
            totals[at] = totals.get(at, 0) + points
    return sorted((at, points) for at, points in totals.items() if points)
