"""What a book decides about wallets before anything is written."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.points.book import Book
from loyalty.points.errors import NotEnoughPoints
from loyalty.points.rules import Account, EntryKind, Lot, Movement, Source, SourceKind, Take, Wallet, WalletKey
from loyalty.programs.policies import LotDates
from loyalty.programs.rules import ProgramRules

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=2)
LATER = NOW + timedelta(days=2)
RULES = ProgramRules(currencies=("EUR",), time_zone="Europe/Berlin")
ORDER, OTHER_ORDER = Source(SourceKind.ORDER, UUID(int=70)), Source(SourceKind.ORDER, UUID(int=72))
REDEMPTION = Source(SourceKind.REDEMPTION, UUID(int=71))
ANN = WalletKey(UUID(int=1), UUID(int=2), "points")
BOB = WalletKey(UUID(int=1), UUID(int=3), "points")


def wallet(key: WalletKey = ANN, *, available: int = 0, pending: int = 0, last_at: datetime = NOW) -> Wallet:
    return Wallet(key, pending, available, held=0, debt=0, version=3, last_at=last_at)


def lot(
    number: int,
    remaining: int,
    *,
    expires_at: datetime | None = None,
    activated_at: datetime | None = NOW,
    source: Source = ORDER,
) -> Lot:
    return Lot(
        UUID(int=number),
        ANN,
        UUID(int=1000 + number),
        source,
        granted=100,
        remaining=remaining,
        reserved=0,
        earned_at=EARLIER,
        activated_at=activated_at,
        expires_at=expires_at,
    )


def book_of(*wallets: Wallet, now: datetime = NOW, lots: Iterable[Lot] = ()) -> Book:
    book = Book(wallets, now=now, rules=RULES)
    book.lots.know(lots)
    return book


def earn(book: Book, points: int, *, pending: bool = False, occurred_at: datetime = NOW) -> None:
    book.award(
        ANN,
        points=points,
        kind=EntryKind.EARN,
        source=ORDER,
        occurred_at=occurred_at,
        pending=pending,
        dates=LotDates(LATER),
    )


def test_an_award_is_one_entry_and_one_lot() -> None:
    book = book_of(wallet(available=5))
    earn(book, 10, occurred_at=EARLIER)
    (entry,), (made,) = book.entries, book.lots.new
    assert entry.movement == Movement(EntryKind.EARN, Account.ISSUED, Account.AVAILABLE, 10)
    assert (entry.version, entry.balance_after, entry.available_after) == (4, 15, 15)
    assert (entry.source, entry.corrects_id, entry.occurred_at, entry.recorded_at) == (ORDER, None, EARLIER, NOW)
    assert (made.wallet, made.entry_id, made.source) == (ANN, entry.id, ORDER)
    assert (made.granted, made.remaining, made.reserved) == (10, 10, 0)
    assert (made.earned_at, made.activated_at, made.expires_at) == (EARLIER, NOW, LATER)


def test_a_pending_award_makes_a_lot_that_is_not_active() -> None:
    book = book_of(wallet(available=5))
    earn(book, 10, pending=True)
    assert book.entries[0].movement.target is Account.PENDING
    assert (book.entries[0].balance_after, book.entries[0].available_after) == (15, 5)
    assert (book.lots.new[0].activates_at, book.lots.new[0].activated_at) == (None, None)


def test_entries_of_one_book_continue_each_other() -> None:
    book = book_of(wallet(available=5))
    earn(book, 10)
    earn(book, 20)
    assert [(entry.version, entry.balance_after) for entry in book.entries] == [(4, 15), (5, 35)]
    after = replace(wallet(available=35), version=5, active_at=NOW, next_due_at=LATER)
    assert book.moved == [(wallet(available=5), after)]


def test_a_wallet_that_nothing_moved_is_not_written() -> None:
    book = book_of(wallet(), wallet(BOB))
    earn(book, 10)
    assert [after.key for _, after in book.moved] == [ANN]


def test_activation_takes_what_remains_of_the_sources_pending_lots_and_no_others() -> None:
    pending = [lot(1, 10, activated_at=None), lot(2, 2, activated_at=None)]
    others = [lot(3, 5), lot(4, 0, activated_at=None), lot(5, 6, activated_at=None, source=OTHER_ORDER)]
    book = book_of(wallet(pending=18, available=5), lots=[*pending, *others])
    entry = book.activate(ANN, source=ORDER, occurred_at=EARLIER)
    assert entry is not None
    assert entry.movement == Movement(EntryKind.ACTIVATE, Account.PENDING, Account.AVAILABLE, 12)
    assert (entry.balance_after, entry.available_after) == (23, 17)
    assert book.lots.changed == [replace(own, activates_at=EARLIER, activated_at=NOW) for own in pending]


def test_activating_what_is_active_does_nothing() -> None:
    book = book_of(wallet(available=5), lots=[lot(3, 5)])
    assert book.activate(ANN, source=ORDER, occurred_at=NOW) is None
    assert (book.entries, book.lots.changed, book.moved) == ([], [], [])


def test_a_spend_names_the_lots_that_it_took_from() -> None:
    book = book_of(wallet(available=15), lots=[lot(1, 10), lot(2, 5, expires_at=LATER)])
    entry = book.spend(ANN, points=8, source=REDEMPTION, occurred_at=NOW)
    assert entry.movement == Movement(EntryKind.SPEND, Account.AVAILABLE, Account.REDEEMED, 8)
    assert entry.balance_after == 7
    assert book.takes == [(entry.id, Take(UUID(int=2), -5)), (entry.id, Take(UUID(int=1), -3))]
    assert book.lots.changed == [lot(1, 7), lot(2, 0, expires_at=LATER)]
    assert book.taken_by(entry) == [(lot(2, 0, expires_at=LATER), 5), (lot(1, 7), 3)]


def test_a_spend_sees_what_the_book_has_just_decided() -> None:
    book = book_of(wallet())
    earn(book, 10)
    entry = book.spend(ANN, points=10, source=REDEMPTION, occurred_at=NOW)
    assert [take for _, take in book.takes] == [Take(book.lots.new[0].id, -10)]
    assert (entry.balance_after, book.lots.new[0].granted, book.lots.new[0].remaining) == (0, 10, 0)
    assert book.lots.changed == []


def test_two_spends_of_one_book_cannot_both_take_the_last_points() -> None:
    book = book_of(wallet(available=10), lots=[lot(1, 10)])
    book.spend(ANN, points=10, source=REDEMPTION, occurred_at=NOW)
    book.lots.know([lot(1, 10)])
    with pytest.raises(NotEnoughPoints) as refused:
        book.spend(ANN, points=10, source=REDEMPTION, occurred_at=NOW)
    assert (refused.value.spendable, refused.value.requested) == (0, 10)


def test_a_refused_spend_leaves_the_book_as_it_was() -> None:
    book = book_of(wallet(available=15), lots=[lot(1, 15)])
    with pytest.raises(NotEnoughPoints) as refused:
        book.spend(ANN, points=16, source=REDEMPTION, occurred_at=NOW)
    assert (refused.value.spendable, refused.value.requested) == (15, 16)
    assert (book.entries, book.takes, book.lots.changed, book.moved) == ([], [], [], [])


def test_points_in_expired_lots_cannot_be_spent_even_while_the_balance_still_counts_them() -> None:
    lots = [lot(1, 10, expires_at=NOW, activated_at=EARLIER), lot(2, 5, activated_at=EARLIER)]
    book = book_of(wallet(available=15), lots=lots)
    with pytest.raises(NotEnoughPoints) as refused:
        book.spend(ANN, points=6, source=REDEMPTION, occurred_at=NOW)
    assert (refused.value.spendable, refused.value.requested) == (5, 6)
    assert (book.entries, book.takes, book.moved) == ([], [], [])


def test_a_restore_undoes_a_spend_lot_by_lot_and_names_it() -> None:
    book = book_of(wallet(available=7), lots=[lot(1, 7), lot(2, 0, expires_at=LATER)])
    takes = [Take(UUID(int=2), -5), Take(UUID(int=1), -3)]
    entry = book.restore(ANN, takes, corrects_id=UUID(int=9), source=REDEMPTION)
    assert entry.movement == Movement(EntryKind.RESTORE, Account.REDEEMED, Account.AVAILABLE, 8)
    assert (entry.corrects_id, entry.balance_after) == (UUID(int=9), 15)
    assert book.takes == [(entry.id, Take(UUID(int=2), 5)), (entry.id, Take(UUID(int=1), 3))]
    assert book.lots.changed == [lot(1, 10), lot(2, 5, expires_at=LATER)]
    assert book.lots.new == []


@given(
    remaining=st.lists(st.integers(0, 20), min_size=1, max_size=6),
    expiry_days=st.lists(st.none() | st.integers(1, 3), min_size=6, max_size=6),
    points=st.integers(1, 120),
)
def test_a_restore_puts_every_lot_back_exactly(
    remaining: list[int], expiry_days: list[int | None], points: int
) -> None:
    lots = [
        lot(number, left, expires_at=None if days is None else NOW + timedelta(days=days))
        for number, (left, days) in enumerate(zip(remaining, expiry_days, strict=False))
    ]
    book = book_of(wallet(available=sum(remaining)), lots=lots)
    if points > sum(remaining):
        with pytest.raises(NotEnoughPoints):
            book.spend(ANN, points=points, source=REDEMPTION, occurred_at=NOW)
        return
    spent = book.spend(ANN, points=points, source=REDEMPTION, occurred_at=NOW)
    takes = [take for entry_id, take in book.takes if entry_id == spent.id]
    restored = book.restore(ANN, takes, corrects_id=spent.id, source=REDEMPTION)
    assert book.lots.changed == []
    assert [take for entry_id, take in book.takes if entry_id == restored.id] == [
        Take(take.lot_id, -take.points) for take in takes
    ]
    assert book.wallets[ANN].available == sum(remaining)


def test_time_never_runs_backwards_within_a_wallet() -> None:
    book = book_of(wallet(last_at=LATER))
    earn(book, 10, occurred_at=EARLIER)
    assert (book.entries[0].occurred_at, book.entries[0].recorded_at) == (EARLIER, LATER)
    assert book.lots.new[0].activated_at == LATER
    assert book.wallets[ANN].last_at == LATER


def test_a_clock_that_is_behind_the_wallet_does_not_revive_an_expired_lot() -> None:
    lots = [lot(1, 5, expires_at=LATER, activated_at=EARLIER)]
    book = book_of(wallet(available=5, last_at=LATER), lots=lots)
    with pytest.raises(NotEnoughPoints):
        book.spend(ANN, points=5, source=REDEMPTION, occurred_at=NOW)


def test_who_replays_history_moves_now_along() -> None:
    book = book_of(wallet(last_at=EARLIER), now=EARLIER)
    earn(book, 1, occurred_at=EARLIER)
    book.now = NOW
    earn(book, 1, occurred_at=NOW)
    book.now = EARLIER
    earn(book, 1, occurred_at=EARLIER)
    assert [entry.recorded_at for entry in book.entries] == [EARLIER, NOW, NOW]


def test_a_lot_known_already_is_as_the_book_has_decided_since() -> None:
    book = book_of(wallet(available=10), lots=[lot(1, 10)])
    book.spend(ANN, points=4, source=REDEMPTION, occurred_at=NOW)
    book.lots.know([lot(1, 10), lot(2, 0)])
    assert book.lots.changed == [lot(1, 6)]


def test_earning_and_spending_count_as_activity_and_what_happened_earlier_does_not_undo_it() -> None:
    book = book_of(replace(wallet(available=10), active_at=EARLIER), lots=[lot(1, 10)])
    book.spend(ANN, points=1, source=REDEMPTION, occurred_at=NOW)
    assert book.wallets[ANN].active_at == NOW
    earn(book, 1, occurred_at=EARLIER)
    assert book.wallets[ANN].active_at == NOW


@pytest.mark.parametrize("kind", [EntryKind.ADJUST, EntryKind.TRANSFER, EntryKind.MERGE])
def test_points_that_the_member_did_nothing_for_are_no_activity(kind: EntryKind) -> None:
    book = book_of(replace(wallet(), active_at=EARLIER))
    book.award(ANN, points=1, kind=kind, source=ORDER, occurred_at=NOW, origin=Account.ADJUSTED)
    assert book.wallets[ANN].active_at == EARLIER
