"""What a book writes down as it decides: entries that continue each other, lots that change, what is due when."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from loyalty.core import ids
from loyalty.points import rules
from loyalty.points.postings import EndedHold, Entry, Lapse
from loyalty.points.rules import EntryKind, Hold, Lot, Movement, Source, Take, Wallet, WalletKey, earlier
from loyalty.points.shelf import Shelf
from loyalty.programs.rules import ProgramRules

_ACTIVITY: Final = {EntryKind.EARN, EntryKind.REFERRAL, EntryKind.SPEND, EntryKind.HOLD, EntryKind.CAPTURE}


class Journal:
    def __init__(self, wallets: Iterable[Wallet], *, now: datetime, rules: ProgramRules) -> None:
        self.now = now
        self.rules = rules
        self.before = {wallet.key: wallet for wallet in wallets}
        self.wallets = dict(self.before)
        self.entries: list[Entry] = []
        self.takes: list[tuple[UUID, Take]] = []
        self.new_holds: list[Hold] = []
        self.ended_holds: list[EndedHold] = []
        self.live_holds: dict[WalletKey, list[Hold]] = {}
        self.lots = Shelf()
        self.lapses: dict[UUID, Lapse] = {}

    @property
    def moved(self) -> list[tuple[Wallet, Wallet]]:
        """The wallets that changed, as they were and as they are now."""
        return [(was, self.wallets[key]) for key, was in self.before.items() if self.wallets[key] != was]

    def _put(self, lot: Lot) -> None:
        self.lots.put(lot)
        self._note_due(lot.wallet, lot.activates_at if lot.is_pending else self._ends_at(lot))

    def _take(self, entry: Entry, takes: Iterable[Take]) -> None:
        for take in takes:
            lot = self.lots.get(take.lot_id)
            self.lots.change(lot, remaining=lot.remaining + take.points)
            self.takes.append((entry.id, take))
            if take.points > 0:
                self._note_due(lot.wallet, self._ends_at(lot))

    def _ends_at(self, lot: Lot) -> datetime | None:
        """Return when a lot ends as things stand."""
        return lot.ends_at(self.wallets[lot.wallet], self.rules.zone)

    def _note_due(self, key: WalletKey, instant: datetime | None) -> None:
        wallet = self.wallets[key]
        due_at = earlier(wallet.next_due_at, instant)
        if due_at != wallet.next_due_at:
            self.wallets[key] = replace(wallet, next_due_at=due_at)

    def _append(
        self,
        key: WalletKey,
        movement: Movement,
        source: Source,
        occurred_at: datetime,
        corrects_id: UUID | None = None,
    ) -> Entry:
        was = self.wallets[key]
        active_at = occurred_at if movement.kind in _ACTIVITY else None
        now = rules.move(was, movement, at=max(self.now, was.last_at), active_at=active_at)
        entry = Entry(
            ids.new(),
            key,
            now.version,
            movement,
            now.balance,
            now.available,
            source,
            corrects_id,
            occurred_at,
            now.last_at,
        )
        self.wallets[key] = now
        self.entries.append(entry)
        return entry
