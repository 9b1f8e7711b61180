"""Wallets under lock, and everything decided about them that is still to be written."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from loyalty.core import ids
from loyalty.points import rules
from loyalty.points.errors import NotEnoughPoints
from loyalty.points.postings import EndedHold, Entry
from loyalty.points.reversals import Reversals
from loyalty.points.rules import (
    Account,
    EntryKind,
    Hold,
    Lot,
    Movement,
    Reservation,
    Source,
    Take,
    WalletKey,
)
from loyalty.points.shelf import reborn
from loyalty.programs.policies import ExpiredLot, LotDates, end_of_day


class Book(Reversals):
    """Decides movements of wallets that the caller has locked. Nothing is stored until the book is posted.

    `occurred_at` is when a fact happened; its entry is recorded at `now`, or at the wallet's newest entry where that is
    later, so that time never runs backwards within a wallet. Who replays history moves `now` along. `lots` are those
    that the decisions need: the caller makes them known.
    """

    def award(
        self,
        key: WalletKey,
        *,
        points: int,
        kind: EntryKind,
        source: Source,
        occurred_at: datetime,
        origin: Account = Account.ISSUED,
        pending: bool = False,
        activates_at: datetime | None = None,
        dates: LotDates | None = None,
        corrects_id: UUID | None = None,
    ) -> Entry:
        """Credit points as a lot of their own: spendable at once, from an instant on, or pending until an event.

        Without `dates` the program's expiry says when it expires, counted from when it becomes spendable, even if that
        lies back.
        """
        waits = pending or (activates_at is not None and activates_at > self.now)
        target = Account.PENDING if waits else Account.AVAILABLE
        entry = self._append(key, Movement(kind, origin, target, points), source, occurred_at, corrects_id)
        self._grant(entry, points, earned_at=occurred_at, waits=waits, activates_at=activates_at, dates=dates)
        if not waits:
            self._repay(key, source, occurred_at)
        return entry

    def activate(
        self, key: WalletKey, *, source: Source, occurred_at: datetime, begins_at: datetime | None = None
    ) -> Entry | None:
        """Make a source's points spendable that wait for an event; None if there are none.

        Their dates are counted from `begins_at`, or from the event.
        """
        waiting = [lot for lot in self.lots.of_source(key, source.id) if lot.waits_for_event]
        pending = [lot for lot in waiting if lot.remaining > 0]
        if not pending:
            return None
        points = sum(lot.remaining for lot in pending)
        entry = self._append(
            key, Movement(EntryKind.ACTIVATE, Account.PENDING, Account.AVAILABLE, points), source, occurred_at
        )
        for lot in pending:
            self._start(lot, entry, from_=begins_at or occurred_at)
        self._repay(key, source, occurred_at)
        return entry

    def schedule(self, key: WalletKey, *, source: Source, activates_at: datetime) -> None:
        """Let a source's points that waited for an event become spendable at an instant."""
        for lot in self.lots.of_source(key, source.id):
            if lot.waits_for_event and lot.remaining > 0:
                dates = self.rules.expiry.dates_from(activates_at, self.rules.zone)
                self.lots.change(lot, activates_at=activates_at, expires_at=dates.expires_at, idle=dates.idle)
                self._note_due(key, activates_at)

    def spend(
        self,
        key: WalletKey,
        *,
        points: int,
        source: Source,
        occurred_at: datetime,
        kind: EntryKind = EntryKind.SPEND,
        target: Account = Account.REDEEMED,
    ) -> Entry:
        """Take points from the lots that expire first; raises NotEnoughPoints."""
        takes = self._plan(key, points)
        entry = self._append(key, Movement(kind, Account.AVAILABLE, target, points), source, occurred_at)
        self._take(entry, takes)
        return entry

    def restore(self, key: WalletKey, takes: Sequence[Take], *, corrects_id: UUID, source: Source) -> Entry:
        """Undo the taking of points: put them back into the very lots they came from.

        Points of a lot that has expired meanwhile go where the program's policy says.
        """
        points = -sum(take.points for take in takes)
        entry = self._append(
            key,
            Movement(EntryKind.RESTORE, Account.REDEEMED, Account.AVAILABLE, points),
            source,
            self.now,
            corrects_id,
        )
        lapsed = 0
        for take in takes:
            if self._is_over(self.lots.get(take.lot_id)) and self.rules.expired_lot is not ExpiredLot.FORFEIT:
                lapsed -= take.points
            else:
                self._take(entry, [Take(take.lot_id, -take.points)])
        if lapsed:
            self._grant(entry, lapsed, earned_at=self.now, dates=self._renewed(max(self.now, entry.recorded_at)))
        self._forfeit_lapsed(key, takes, source)
        self._repay(key, source, self.now)
        return entry

    def hold(self, key: WalletKey, *, points: int, hold_id: UUID, expires_at: datetime, notes: dict[str, str]) -> Entry:
        """Lock points for a time; raises NotEnoughPoints."""
        source = rules.hold_source(hold_id)
        takes = self._plan(key, points)
        entry = self._append(key, Movement(EntryKind.HOLD, Account.AVAILABLE, Account.HELD, points), source, self.now)
        for take in takes:
            self.lots.change(self.lots.get(take.lot_id), reserved=self.lots.get(take.lot_id).reserved - take.points)
        reservations = tuple(Reservation(take.lot_id, -take.points) for take in takes)
        self.new_holds.append(Hold(hold_id, key, points, expires_at, reservations, notes))
        self._note_due(key, expires_at)
        return entry

    def capture(self, hold: Hold, *, points: int, source: Source) -> Entry:
        """Spend what a live hold has locked, in whole or part; the rest is released."""
        in_order = sorted(hold.reservations, key=lambda own: self._rank(self.lots.get(own.lot_id)))
        entry = self._append(
            hold.wallet, Movement(EntryKind.CAPTURE, Account.HELD, Account.REDEEMED, points), source, self.now
        )
        left = points
        kept = []
        for reservation in in_order:
            part = min(left, reservation.points)
            left -= part
            if part:
                lot = self.lots.get(reservation.lot_id)
                self.lots.change(lot, reserved=lot.reserved - part)
                self._take(entry, [Take(lot.id, -part)])
            if part < reservation.points:
                kept.append(Reservation(reservation.lot_id, reservation.points - part))
        self._free(replace(hold, reservations=tuple(kept)), source, self.now)
        self.ended_holds.append(EndedHold(hold.id, points, entry.recorded_at, "captured"))
        return entry

    def extend(self, lot: Lot, *, expires_at: datetime, source: Source) -> None:
        """Move a lot's free points into a lot of the same origin with a later end."""
        out = Movement(EntryKind.EXTEND, Account.AVAILABLE, Account.ADJUSTED, lot.free)
        taken = self._append(lot.wallet, out, source, self.now)
        self._take(taken, [Take(lot.id, -lot.free)])
        back = Movement(EntryKind.EXTEND, Account.ADJUSTED, Account.AVAILABLE, lot.free)
        entry = self._append(lot.wallet, back, source, self.now, taken.id)
        self._put(reborn(lot, entry, lot.free, began_at=lot.began_at, expires_at=expires_at, idle=None))

    def give(self, key: WalletKey, lots: Sequence[tuple[Lot, int]], *, kind: EntryKind, source: Source) -> None:
        """Credit points that come out of another wallet, each part with the dates of the lot it comes from."""
        for waits, target in ((True, Account.PENDING), (False, Account.AVAILABLE)):
            parts = [(lot, points) for lot, points in lots if lot.is_pending is waits]
            if not parts:
                continue
            total = sum(points for _, points in parts)
            entry = self._append(key, Movement(kind, Account.TRANSFERRED, target, total), source, self.now)
            for lot, points in parts:
                began_at = lot.activates_at if waits else max(lot.began_at, self._active_at(lot))
                self._put(reborn(lot, entry, points, waits=waits, began_at=began_at))
        self._repay(key, source, self.now)

    def merge(self, giver: WalletKey, receiver: WalletKey, *, source: Source) -> None:
        """Move everything of one wallet into another: pending and spendable lots with their dates, and debt.

        All lots of both must be known. Held points do not move; the caller sees that there are none.
        """
        for origin, waits in ((Account.PENDING, True), (Account.AVAILABLE, False)):
            takes = [Take(lot.id, -lot.free) for lot in self.lots.of(giver) if lot.free and lot.is_pending is waits]
            if takes:
                points = -sum(take.points for take in takes)
                movement = Movement(EntryKind.MERGE, origin, Account.TRANSFERRED, points)
                out = self._append(giver, movement, source, self.now)
                self._take(out, takes)
                self.give(receiver, self.taken_by(out), kind=EntryKind.MERGE, source=source)
        owed = self.wallets[giver].debt
        if owed:
            self._append(giver, Movement(EntryKind.MERGE, Account.TRANSFERRED, Account.DEBT, owed), source, self.now)
            self._append(receiver, Movement(EntryKind.MERGE, Account.DEBT, Account.TRANSFERRED, owed), source, self.now)
            self._repay(receiver, source, self.now)

    def taken_by(self, entry: Entry) -> list[tuple[Lot, int]]:
        """Return which lots an entry of this book took points from, and how many."""
        return [(self.lots.get(take.lot_id), -take.points) for entry_id, take in self.takes if entry_id == entry.id]

    def _plan(self, key: WalletKey, points: int) -> list[Take]:
        wallet = self.wallets[key]
        if points > wallet.spendable:
            raise NotEnoughPoints(spendable=wallet.spendable, requested=points)
        takes = rules.take_in_order([lot for lot in self._begun(key) if not self._is_over(lot)], points=points)
        good = -sum(take.points for take in takes)
        if good < points:
            raise NotEnoughPoints(spendable=good, requested=points)
        return takes

    def _active_at(self, lot: Lot) -> datetime:
        """Return when the wallet that a lot comes from was last active: its idleness goes with it."""
        return self.wallets[lot.wallet].active_at or lot.began_at

    def _forfeit_lapsed(self, key: WalletKey, takes: Sequence[Take], source: Source) -> None:
        """Let points that came back to an expired lot go again, where that is the policy."""
        for take in takes:
            lot = self.lots.get(take.lot_id)
            if self.rules.expired_lot is ExpiredLot.FORFEIT and self._is_over(lot) and lot.free > 0:
                movement = Movement(EntryKind.FORFEIT, Account.AVAILABLE, Account.FORFEITED, lot.free)
                self._take(self._append(key, movement, source, self.now), [Take(lot.id, -lot.free)])

    def _renewed(self, now: datetime) -> LotDates:
        """Return the dates of points whose own lot has expired: a time of grace, or those of a new lot."""
        if self.rules.expired_lot is ExpiredLot.NEW_LOT:
            return self.rules.expiry.dates_from(now, self.rules.zone)
        last = now.astimezone(self.rules.zone).date() + timedelta(days=self.rules.grace_days)
        return LotDates(end_of_day(last, self.rules.zone))

    def _grant(
        self,
        entry: Entry,
        points: int,
        *,
        earned_at: datetime,
        waits: bool = False,
        activates_at: datetime | None = None,
        dates: LotDates | None = None,
    ) -> None:
        """Make the lot of a credit. One that waits for an event gets its dates when that happens."""
        if dates is None:
            waits_for_event = waits and activates_at is None
            start = activates_at or earned_at
            dates = LotDates() if waits_for_event else self.rules.expiry.dates_from(start, self.rules.zone)
        self._put(
            Lot(
                id=ids.new(),
                wallet=entry.wallet,
                entry_id=entry.id,
                source=entry.source,
                granted=points,
                remaining=points,
                reserved=0,
                earned_at=earned_at,
                activates_at=activates_at,
                activated_at=None if waits else entry.recorded_at,
                expires_at=dates.expires_at,
                idle=dates.idle,
            )
        )
