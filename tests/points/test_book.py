"""What a book decides about wallets before anything is written."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from loyalty.points.book import Book
from loyalty.points.errors import NotEnoughPoints
from loyalty.points.rules import Account, EntryKind, Lot, Movement, Take, Wallet, WalletKey

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=2)
LATER = NOW + timedelta(days=2)
ORDER, REDEMPTION = UUID(int=70), UUID(int=71)
ANN = WalletKey(UUID(int=1), UUID(int=2), "points")
BOB = WalletKey(UUID(int=1), UUID(int=3), "points")


def wallet(key: WalletKey = ANN, *, available: int = 0, pending: int = 0, last_at: datetime = NOW) -> Wallet:
    return Wallet(key, pending, available, held=0, debt=0, version=3, last_at=last_at)


def earn(book: Book, points: int, *, pending: bool = False, occurred_at: datetime = NOW) -> None:
    book.award(
        ANN,
        points=points,
        kind=EntryKind.EARN,
        source_id=ORDER,
        occurred_at=occurred_at,
        pending=pending,
        expires_at=LATER,
    )


def test_an_award_is_one_entry_and_one_lot() -> None:
    book = Book([wallet(available=5)], now=NOW)
    earn(book, 10, occurred_at=EARLIER)
    (entry,), (lot,) = book.entries, book.lots
    assert entry.movement == Movement(EntryKind.EARN, Account.ISSUED, Account.AVAILABLE, 10)
    assert (entry.version, entry.balance_after, entry.available_after) == (4, 15, 15)
    assert (entry.source_id, entry.corrects_id, entry.occurred_at, entry.recorded_at) == (ORDER, None, EARLIER, NOW)
    assert (lot.wallet, lot.entry_id, lot.source_id, lot.points) == (ANN, entry.id, ORDER, 10)
    assert (lot.earned_at, lot.activated_at, lot.expires_at) == (EARLIER, NOW, LATER)


def test_a_pending_award_makes_a_lot_that_is_not_active() -> None:
    book = Book([wallet(available=5)], now=NOW)
    earn(book, 10, pending=True)
    assert book.entries[0].movement.target is Account.PENDING
    assert (book.entries[0].balance_after, book.entries[0].available_after) == (15, 5)
    assert book.lots[0].activated_at is None


def test_entries_of_one_book_continue_each_other() -> None:
    book = Book([wallet(available=5)], now=NOW)
    earn(book, 10)
    earn(book, 20)
    assert [(entry.version, entry.balance_after) for entry in book.entries] == [(4, 15), (5, 35)]
    assert book.moved == [(wallet(available=5), replace(wallet(available=35), version=5))]


def test_a_wallet_that_nothing_moved_is_not_written() -> None:
    book = Book([wallet(), wallet(BOB)], now=NOW)
    earn(book, 10)
    assert [after.key for _, after in book.moved] == [ANN]


def test_activation_takes_what_remains_of_the_pending_lots_and_no_others() -> None:
    book = Book([wallet(pending=12, available=5)], now=NOW)
    pending = [Lot(UUID(int=1), 10, 0, None, None), Lot(UUID(int=2), 2, 0, None, None)]
    others = [Lot(UUID(int=3), 5, 0, None, NOW), Lot(UUID(int=4), 0, 0, None, None)]
    entry = book.activate(ANN, [*pending, *others], source_id=ORDER, occurred_at=EARLIER)
    assert entry is not None
    assert entry.movement == Movement(EntryKind.ACTIVATE, Account.PENDING, Account.AVAILABLE, 12)
    assert (entry.balance_after, entry.available_after) == (17, 17)
    assert book.activated == [(UUID(int=1), NOW), (UUID(int=2), NOW)]


def test_activating_what_is_active_does_nothing() -> None:
    book = Book([wallet(available=5)], now=NOW)
    assert book.activate(ANN, [Lot(UUID(int=3), 5, 0, None, NOW)], source_id=ORDER, occurred_at=NOW) is None
    assert (book.entries, book.activated, book.moved) == ([], [], [])


def test_a_spend_names_the_lots_that_it_took_from() -> None:
    book = Book([wallet(available=15)], now=NOW)
    lots = [Lot(UUID(int=1), 10, 0, None, NOW), Lot(UUID(int=2), 5, 0, LATER, NOW)]
    entry = book.spend(ANN, lots, points=8, source_id=REDEMPTION, occurred_at=NOW)
    assert entry.movement == Movement(EntryKind.SPEND, Account.AVAILABLE, Account.REDEEMED, 8)
    assert entry.balance_after == 7
    assert book.takes == [(entry.id, Take(UUID(int=2), -5)), (entry.id, Take(UUID(int=1), -3))]


def test_a_refused_spend_leaves_the_book_as_it_was() -> None:
    book = Book([wallet(available=15)], now=NOW)
    with pytest.raises(NotEnoughPoints) as refused:
        book.spend(ANN, [Lot(UUID(int=1), 15, 0, None, NOW)], points=16, source_id=REDEMPTION, occurred_at=NOW)
    assert (refused.value.spendable, refused.value.requested) == (15, 16)
    assert (book.entries, book.takes, book.moved) == ([], [], [])


def test_points_in_expired_lots_cannot_be_spent_even_while_the_balance_still_counts_them() -> None:
    book = Book([wallet(available=15)], now=NOW)
    lots = [Lot(UUID(int=1), 10, 0, NOW, EARLIER), Lot(UUID(int=2), 5, 0, None, EARLIER)]
    with pytest.raises(NotEnoughPoints) as refused:
        book.spend(ANN, lots, points=6, source_id=REDEMPTION, occurred_at=NOW)
    assert (refused.value.spendable, refused.value.requested) == (5, 6)
    assert (book.entries, book.takes, book.moved) == ([], [], [])


def test_a_restore_undoes_a_spend_lot_by_lot_and_names_it() -> None:
    book = Book([wallet(available=7)], now=NOW)
    takes = [Take(UUID(int=2), -5), Take(UUID(int=1), -3)]
    entry = book.restore(ANN, takes, corrects_id=UUID(int=9), source_id=REDEMPTION, occurred_at=NOW)
    assert entry.movement == Movement(EntryKind.RESTORE, Account.REDEEMED, Account.AVAILABLE, 8)
    assert (entry.corrects_id, entry.balance_after) == (UUID(int=9), 15)
    assert book.takes == [(entry.id, Take(UUID(int=2), 5)), (entry.id, Take(UUID(int=1), 3))]


def test_time_never_runs_backwards_within_a_wallet() -> None:
    book = Book([wallet(last_at=LATER)], now=NOW)
    earn(book, 10, occurred_at=EARLIER)
    assert (book.entries[0].occurred_at, book.entries[0].recorded_at) == (EARLIER, LATER)
    assert book.lots[0].activated_at == LATER
    assert book.wallets[ANN].last_at == LATER


def test_a_clock_that_is_behind_the_wallet_does_not_revive_an_expired_lot() -> None:
    book = Book([wallet(available=5, last_at=LATER)], now=NOW)
    with pytest.raises(NotEnoughPoints):
        book.spend(ANN, [Lot(UUID(int=1), 5, 0, LATER, EARLIER)], points=5, source_id=REDEMPTION, occurred_at=NOW)


def test_who_replays_history_moves_now_along() -> None:
    book = Book([wallet(last_at=EARLIER)], now=EARLIER)
    earn(book, 1, occurred_at=EARLIER)
    book.now = NOW
    earn(book, 1, occurred_at=NOW)
    book.now = EARLIER
    earn(book, 1, occurred_at=EARLIER)
    assert [entry.recorded_at for entry in book.entries] == [EARLIER, NOW, NOW]
