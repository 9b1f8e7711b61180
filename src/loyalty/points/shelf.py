"""The lots that a book works with: as they are stored, and as the book has decided since."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from heapq import heappop, heappush
from itertools import count
from uuid import UUID
from zoneinfo import ZoneInfo

from loyalty.core import ids
from loyalty.points.postings import Entry
from loyalty.points.rules import Hold, Lot, Wallet, WalletKey


class Shelf:
    def __init__(self) -> None:
        self._known: dict[UUID, Lot] = {}
        self._lots: dict[UUID, Lot] = {}
        self._by_wallet: dict[WalletKey, dict[UUID, None]] = {}

    def know(self, lots: Iterable[Lot]) -> None:
        """Take in lots as they are stored; those known already stay as they were decided since."""
        for lot in lots:
            if lot.id not in self._lots:
                self._known[lot.id] = lot
                self.put(lot)

    def put(self, lot: Lot) -> None:
        self._lots[lot.id] = lot
        self._by_wallet.setdefault(lot.wallet, {})[lot.id] = None

    def get(self, lot_id: UUID) -> Lot:
        return self._lots[lot_id]

    def change(self, lot: Lot, **changes: object) -> Lot:
        """Write fields of a lot anew, and return it so."""
        changed = replace(lot, **changes)  # type: ignore[arg-type]  # names and types of a lot's own fields
        self._lots[lot.id] = changed
        return changed

    def of(self, key: WalletKey) -> list[Lot]:
        return [self._lots[lot_id] for lot_id in self._by_wallet.get(key, ())]

    def of_source(self, key: WalletKey, source_id: UUID) -> list[Lot]:
        return [lot for lot in self.of(key) if lot.source.id == source_id]

    @property
    def new(self) -> list[Lot]:
        return [lot for lot in self._lots.values() if lot.id not in self._known]

    @property
    def changed(self) -> list[Lot]:
        return [lot for lot in self._lots.values() if lot.id in self._known and self._known[lot.id] != lot]


class Agenda:
    """What is due in a wallet, in order of time; of what is due at once, holds end, then lots begin, then lots end."""

    def __init__(self, lots: Iterable[Lot], holds: Iterable[Hold], wallet: Wallet, zone: ZoneInfo) -> None:
        self._wallet = wallet
        self._zone = zone
        self._number = count()
        self._heap: list[tuple[datetime, int, UUID, int, Hold | Lot]] = []
        for hold in holds:
            self._push(hold.expires_at, 0, hold)
        self.add(lots)

    def add(self, lots: Iterable[Lot]) -> None:
        """Put down when these lots begin, or when what is free of them ends.

        Lots that end by idleness are over at their end even with nothing free: what returns later finds them so.
        """
        for lot in lots:
            if lot.is_pending:
                if lot.activates_at is not None and lot.remaining > 0:
                    self._push(lot.activates_at, 1, lot)
                continue
            ends_at = lot.ends_at(self._wallet, self._zone)
            if ends_at is not None and (lot.free > 0 or lot.idle is not None):
                self._push(ends_at, 2, lot)

    def take_until(self, now: datetime) -> tuple[datetime, Hold | Lot] | None:
        """Strike out what is due next, if that is by now."""
        if not self._heap or self._heap[0][0] > now:
            return None
        at, *_, what = heappop(self._heap)
        return at, what

    @property
    def next_at(self) -> datetime | None:
        return self._heap[0][0] if self._heap else None

    def _push(self, at: datetime, place: int, what: Hold | Lot) -> None:
        heappush(self._heap, (at, place, what.id, next(self._number), what))


def expiring(lots: Iterable[Lot], wallet: Wallet, zone: ZoneInfo) -> list[tuple[datetime, int]]:
    """Return how many spendable points of a wallet expire when, as things stand, the next first."""
    return _summed((lot.ends_at(wallet, zone), lot.free) for lot in lots if not lot.is_pending)


def starting(lots: Iterable[Lot]) -> list[tuple[datetime, int]]:
    """Return how many pending points of a wallet become spendable when, the next first."""
    return _summed((lot.activates_at, lot.remaining) for lot in lots if lot.is_pending)


def reborn(
    lot: Lot, entry: Entry, points: int, *, began_at: datetime | None, waits: bool = False, **dates: object
) -> Lot:
    """Return a lot for points that leave another one: of the same source and, unless told, with the same dates."""
    begun = {"activates_at": began_at, "activated_at": None if waits else entry.recorded_at}
    changes = {"granted": points, "remaining": points, "reserved": 0, **begun, **dates}
    return replace(lot, id=ids.new(), wallet=entry.wallet, entry_id=entry.id, **changes)  # type: ignore[arg-type]


def _summed(parts: Iterable[tuple[datetime | None, int]]) -> list[tuple[datetime, int]]:
    """Add up the points that share an instant, the earliest first; what has none is left out."""
    totals: dict[datetime, int] = {}
    for at, points in parts:
        if at is not None:
            totals[at] = totals.get(at, 0) + points
    return sorted((at, points) for at, points in totals.items() if points)
