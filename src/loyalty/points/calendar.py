"""What time causes in wallets under lock: holds end, lots begin, lots expire."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from loyalty.points import rules
from loyalty.points.journal import Journal
from loyalty.points.postings import EndedHold, Entry
from loyalty.points.rules import Account, EntryKind, Hold, Lot, Movement, Source, Take, WalletKey
from loyalty.points.shelf import Agenda


class Calendar(Journal):
    def release(self, hold: Hold, *, source: Source, occurred_at: datetime, by: str = "released") -> None:
        """Give a live hold's points back."""
        self._free(hold, source, occurred_at)
        self.ended_holds.append(EndedHold(hold.id, 0, occurred_at, by))

    def catch_up(self, keys: Iterable[WalletKey]) -> None:
        """Do what is due in these wallets by now, for who replays history; all of their dated lots must be known."""
        for key in keys:
            if self.wallets[key].is_due(self.now):
                holds = self.live_holds.get(key, [])
                self.settle(key, holds)
                ended = {own.id for own in self.ended_holds}
                self.live_holds[key] = [hold for hold in holds if hold.id not in ended]

    def settle(self, key: WalletKey, holds: Iterable[Hold]) -> None:
        """Do what time has caused in a wallet, in order of time: end holds, activate lots, expire lots.

        All of its lots with points or dates, and its live holds, must be known. Afterwards `next_due_at` is exact.
        """
        now = max(self.now, self.wallets[key].last_at)
        agenda = Agenda(self.lots.of(key), holds, self.wallets[key], self.rules.zone)
        reached: datetime | None = None
        while (due := agenda.take_until(now)) is not None:
            at, what = due
            reached = at if reached is None else max(reached, at)
            if isinstance(what, Hold):
                self.release(what, source=rules.hold_source(what.id), occurred_at=reached, by="expired")
                agenda.add(self.lots.get(reservation.lot_id) for reservation in what.reservations)
                continue
            lot = self.lots.get(what.id)
            if lot.is_pending:
                self._activate_one(lot, reached)
                agenda.add([self.lots.get(lot.id)])
                continue
            if lot.free > 0:
                self._expire(lot, reached)
            self._close(lot.id, at)
        self.wallets[key] = replace(self.wallets[key], next_due_at=agenda.next_at)

    def _begun(self, key: WalletKey) -> list[Lot]:
        """Return the lots that have begun, the first to end first."""
        return sorted((lot for lot in self.lots.of(key) if not lot.is_pending), key=self._rank)

    def _rank(self, lot: Lot) -> tuple[bool, float, UUID]:
        return rules.first_expiring(lot, self._ends_at(lot))

    def _is_over(self, lot: Lot) -> bool:
        ends_at = self._ends_at(lot)
        return ends_at is not None and ends_at <= max(self.now, self.wallets[lot.wallet].last_at)

    def _free(self, hold: Hold, source: Source, occurred_at: datetime) -> None:
        points = sum(reservation.points for reservation in hold.reservations)
        if points == 0:
            return
        self._append(
            hold.wallet, Movement(EntryKind.RELEASE, Account.HELD, Account.AVAILABLE, points), source, occurred_at
        )
        for reservation in hold.reservations:
            lot = self.lots.get(reservation.lot_id)
            self.lots.change(lot, reserved=lot.reserved - reservation.points)
            self._note_due(hold.wallet, self._ends_at(lot))
        self._repay(hold.wallet, source, occurred_at)
        for lot in sorted((self.lots.get(own.lot_id) for own in hold.reservations), key=self._rank):
            ends_at = self._ends_at(lot)
            if lot.free > 0 and ends_at is not None and ends_at <= occurred_at:
                self._expire(lot, occurred_at)
                self._close(lot.id, ends_at)

    def _repay(self, key: WalletKey, source: Source, occurred_at: datetime) -> None:
        """Let points that became spendable pay what is owed."""
        wallet = self.wallets[key]
        points = min(wallet.debt, wallet.available)
        if points == 0:
            return
        # Whoever owes has nothing else available, so the points are those of lots that the book has just credited.
        takes = rules.take_in_order(self._begun(key), points=points)
        movement = Movement(EntryKind.REPAY, Account.AVAILABLE, Account.DEBT, points)
        self._take(self._append(key, movement, source, occurred_at), takes)

    def _activate_one(self, lot: Lot, at: datetime) -> None:
        movement = Movement(EntryKind.ACTIVATE, Account.PENDING, Account.AVAILABLE, lot.remaining)
        entry = self._append(lot.wallet, movement, lot.source, at)
        self._start(lot, entry, from_=at)
        self._repay(lot.wallet, lot.source, at)

    def _start(self, lot: Lot, entry: Entry, *, from_: datetime) -> None:
        """Let a pending lot be spendable; one that waited for an event has its dates counted from there."""
        if lot.activates_at is None and lot.expires_at is None and lot.idle is None:
            dates = self.rules.expiry.dates_from(from_, self.rules.zone)
            lot = self.lots.change(lot, activates_at=from_, expires_at=dates.expires_at, idle=dates.idle)
        lot = self.lots.change(lot, activated_at=entry.recorded_at)
        self._note_due(lot.wallet, self._ends_at(lot))

    def _expire(self, lot: Lot, at: datetime) -> None:
        movement = Movement(EntryKind.EXPIRE, Account.AVAILABLE, Account.EXPIRED, lot.free)
        self._take(self._append(lot.wallet, movement, lot.source, at), [Take(lot.id, -lot.free)])

    def _close(self, lot_id: UUID, at: datetime) -> None:
        """Let a lot that ended by idleness be over for good: it does not live again with the wallet's next activity."""
        if self.lots.get(lot_id).idle is not None:
            self.lots.change(self.lots.get(lot_id), expires_at=at, idle=None)
