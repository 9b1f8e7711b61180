"""Points that are taken back because what earned them did not last."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from loyalty.points import rules
from loyalty.points.calendar import Calendar
from loyalty.points.postings import Reversal
from loyalty.points.rules import Account, EntryKind, Lot, Movement, Source, Take, WalletKey
from loyalty.programs.policies import Clawback


class Reversals(Calendar):
    """Decides what of a source's points goes back, from pending ones to those that expired, were spent or are owed."""

    def reverse(
        self,
        key: WalletKey,
        *,
        points: int,
        source: Source,
        occurred_at: datetime,
        earned_by: UUID,
        policy: Clawback,
        earned_in: Collection[WalletKey] = (),
    ) -> Reversal:
        """Take back points that a source had earned.

        First its own pending points; then by policy what is left of its own lots, what expired of them, and other free
        points, first-expiring first; the rest is written off or owed. Held points are never touched. `earned_in` are
        other wallets where it was earned before a merge, and may have expired.
        """
        own = self.lots.of_source(key, earned_by)
        pending = self._reverse_from(key, [lot for lot in own if lot.is_pending], points, source, occurred_at)
        if policy is Clawback.PENDING_ONLY:
            return Reversal(pending)
        left = points - pending
        begun = sorted(self._begun(key), key=lambda lot: lot.source.id != earned_by)
        own_free = sum(lot.free for lot in begun if lot.source.id == earned_by)
        lapsed = self._reverse_lapsed({key, *earned_in}, earned_by, max(0, left - own_free), source, occurred_at)
        taken = self._reverse_from(key, begun, left - lapsed, source, occurred_at)
        rest = left - taken - lapsed
        if rest == 0:
            return Reversal(pending, taken, lapsed)
        owing = Movement(EntryKind.REVERSE, Account.DEBT, Account.REVERSED, rest)
        entry = self._append(key, owing, source, occurred_at)
        if policy is Clawback.ALLOW_DEBT:
            return Reversal(pending, taken, lapsed, owed=rest)
        off = Movement(EntryKind.WRITE_OFF, Account.WRITTEN_OFF, Account.DEBT, rest)
        self._append(key, off, source, occurred_at, entry.id)
        return Reversal(pending, taken, lapsed, written_off=rest)

    def _reverse_from(
        self, key: WalletKey, lots: Sequence[Lot], points: int, source: Source, occurred_at: datetime
    ) -> int:
        """Take at most `points` from the free part of these lots, all pending or none; return how many."""
        takes = rules.take_in_order(lots, points=points)
        if not takes:
            return 0
        taken = -sum(take.points for take in takes)
        origin = Account.PENDING if lots[0].is_pending else Account.AVAILABLE
        movement = Movement(EntryKind.REVERSE, origin, Account.REVERSED, taken)
        self._take(self._append(key, movement, source, occurred_at), takes)
        return taken

    def _reverse_lapsed(
        self, keys: Collection[WalletKey], earned_by: UUID, points: int, source: Source, occurred_at: datetime
    ) -> int:
        """Turn at most `points` that expired of a source's lots into reversed ones; return how many."""
        left = points
        for lapse in list(self.lapses.values()):
            lot = self.lots.get(lapse.lot_id)
            part = min(left, lapse.points)
            if part == 0 or lot.wallet not in keys or lot.source.id != earned_by:
                continue
            back = Movement(EntryKind.REINSTATE, Account.EXPIRED, Account.AVAILABLE, part)
            reinstated = self._append(lot.wallet, back, source, occurred_at, lapse.entry_id)
            out = Movement(EntryKind.REVERSE, Account.AVAILABLE, Account.REVERSED, part)
            reversed_ = self._append(lot.wallet, out, source, occurred_at)
            self.takes += [(reinstated.id, Take(lot.id, part)), (reversed_.id, Take(lot.id, -part))]
            self.lapses[lapse.entry_id] = replace(lapse, points=lapse.points - part)
            left -= part
        return points - left
