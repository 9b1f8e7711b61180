"""Wallets under lock, and everything decided about them that is still to be written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from loyalty.core import ids
from loyalty.points import rules
from loyalty.points.errors import NotEnoughPoints
from loyalty.points.rules import Account, EntryKind, Lot, Movement, Take, Wallet, WalletKey


@dataclass(frozen=True)
class Entry:
    """One line of the ledger, as it will be written."""

    id: UUID
    wallet: WalletKey
    version: int
    movement: Movement
    balance_after: int
    available_after: int
    source_id: UUID
    corrects_id: UUID | None
    occurred_at: datetime
    recorded_at: datetime


@dataclass(frozen=True)
class NewLot:
    """A lot to be written; `activated_at` None means that it waits for its source's event."""

    id: UUID
    wallet: WalletKey
    entry_id: UUID
    source_id: UUID
    points: int
    earned_at: datetime
    activated_at: datetime | None
    expires_at: datetime | None


class Book:
    """Decides movements of wallets that the caller has locked. Nothing is stored until the book is posted.

    `occurred_at` is when a fact happened; its entry is recorded at `now`, or at the wallet's newest entry where that is
    later, so that time never runs backwards within a wallet. Who replays history moves `now` along.
    """

    def __init__(self, wallets: Iterable[Wallet], *, now: datetime) -> None:
        self.now = now
        self.before = {wallet.key: wallet for wallet in wallets}
        self.wallets = dict(self.before)
        self.entries: list[Entry] = []
        self.lots: list[NewLot] = []
        self.takes: list[tuple[UUID, Take]] = []
        self.activated: list[tuple[UUID, datetime]] = []

    def award(
        self,
        key: WalletKey,
        *,
        points: int,
        kind: EntryKind,
        source_id: UUID,
        occurred_at: datetime,
        pending: bool = False,
        expires_at: datetime | None = None,
    ) -> Entry:
        """Credit points as a lot of their own, spendable at once or pending."""
        target = Account.PENDING if pending else Account.AVAILABLE
        entry = self._append(key, Movement(kind, Account.ISSUED, target, points), source_id, occurred_at)
        activated_at = None if pending else entry.recorded_at
        self.lots.append(NewLot(ids.new(), key, entry.id, source_id, points, occurred_at, activated_at, expires_at))
        return entry

    def activate(self, key: WalletKey, lots: Sequence[Lot], *, source_id: UUID, occurred_at: datetime) -> Entry | None:
        """Make pending lots spendable; None if none of them was pending."""
        pending = [lot for lot in lots if lot.activated_at is None and lot.remaining > 0]
        if not pending:
            return None
        points = sum(lot.remaining for lot in pending)
        entry = self._append(
            key, Movement(EntryKind.ACTIVATE, Account.PENDING, Account.AVAILABLE, points), source_id, occurred_at
        )
        self.activated.extend((lot.id, entry.recorded_at) for lot in pending)
        return entry

    def spend(
        self, key: WalletKey, lots: Iterable[Lot], *, points: int, source_id: UUID, occurred_at: datetime
    ) -> Entry:
        """Take points from the lots that expire first; raises NotEnoughPoints."""
        wallet = self.wallets[key]
        if points > wallet.spendable:
            raise NotEnoughPoints(spendable=wallet.spendable, requested=points)
        takes = rules.take_first_expiring(lots, points=points, at=max(self.now, wallet.last_at))
        entry = self._append(
            key, Movement(EntryKind.SPEND, Account.AVAILABLE, Account.REDEEMED, points), source_id, occurred_at
        )
        self.takes.extend((entry.id, take) for take in takes)
        return entry

    def restore(
        self, key: WalletKey, takes: Sequence[Take], *, corrects_id: UUID, source_id: UUID, occurred_at: datetime
    ) -> Entry:
        """Undo a spend: put its points back into the very lots they came from."""
        points = -sum(take.points for take in takes)
        entry = self._append(
            key,
            Movement(EntryKind.RESTORE, Account.REDEEMED, Account.AVAILABLE, points),
            source_id,
            occurred_at,
            corrects_id=corrects_id,
        )
        self.takes.extend((entry.id, take) for take in rules.put_back(takes))
        return entry

    @property
    def moved(self) -> list[tuple[Wallet, Wallet]]:
        """The wallets that changed, as they were and as they are now."""
        return [(was, self.wallets[key]) for key, was in self.before.items() if self.wallets[key] != was]

    def _append(
        self,
        key: WalletKey,
        movement: Movement,
        source_id: UUID,
        occurred_at: datetime,
        corrects_id: UUID | None = None,
    ) -> Entry:
        was = self.wallets[key]
        now = rules.move(was, movement, at=max(self.now, was.last_at))
        entry = Entry(
            ids.new(),
            key,
            now.version,
            movement,
            now.balance,
            now.available,
            source_id,
            corrects_id,
            occurred_at,
            now.last_at,
        )
        self.wallets[key] = now
        self.entries.append(entry)
        return entry
