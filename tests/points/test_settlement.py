"""What time does to a wallet, and what holds, returns, restored points and gifts do beside it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.shop import Shop

from loyalty.points.book import Book
from loyalty.points.errors import NotEnoughPoints
from loyalty.points.postings import EndedHold, Entry, Reversal
from loyalty.points.rules import (
    Account,
    EntryKind,
    Hold,
    Lot,
    Movement,
    Reservation,
    Source,
    SourceKind,
    Take,
    Wallet,
    WalletKey,
    hold_source,
)
from loyalty.points.shelf import expiring, starting
from loyalty.programs.policies import Clawback, ExpiredLot, Expiry, ExpiryKind, LotDates, Period
from loyalty.programs.rules import ProgramRules

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
RULES = ProgramRules(currencies=("EUR",), time_zone="Europe/Berlin")
ORDER, OTHER_ORDER = Source(SourceKind.ORDER, UUID(int=70)), Source(SourceKind.ORDER, UUID(int=72))
REDEMPTION = Source(SourceKind.REDEMPTION, UUID(int=71))
RETURN = Source(SourceKind.RETURN, UUID(int=73))
TRANSFER = Source(SourceKind.TRANSFER, UUID(int=74))
HOLD_ID = UUID(int=80)
HELD = hold_source(HOLD_ID)
ANN = WalletKey(UUID(int=1), UUID(int=2), "points")
BOB = WalletKey(UUID(int=1), UUID(int=3), "points")


def day(number: float) -> datetime:
    return NOW + number * DAY


def lot(number: int, points: int, *, ends: float | None = None, source: Source = ORDER, **details: Any) -> Lot:
    """A lot of Ann's, earned now and spendable since, that expires so many days later."""
    made = Lot(
        UUID(int=number),
        ANN,
        UUID(int=1000 + number),
        source,
        granted=points,
        remaining=points,
        reserved=0,
        earned_at=NOW,
        activated_at=NOW,
        expires_at=None if ends is None else day(ends),
    )
    return replace(made, **details)


def waiting(number: int, points: int, *, begins: float | None = None, ends: float | None = None) -> Lot:
    """A lot that is not spendable yet: it begins so many days later, or with an event."""
    return replace(
        lot(number, points, ends=ends), activated_at=None, activates_at=None if begins is None else day(begins)
    )


def hold(*reservations: tuple[int, int], ends: float) -> Hold:
    """A hold of Ann's on so many points of each lot, by its number."""
    parts = tuple(Reservation(UUID(int=number), points) for number, points in reservations)
    return Hold(HOLD_ID, ANN, sum(points for _, points in reservations), day(ends), parts)


def wallet_of(lots: Iterable[Lot], key: WalletKey = ANN, **details: Any) -> Wallet:
    """Return the wallet that such lots make up, whose dates were noted long ago."""
    own = [made for made in lots if made.wallet == key]
    return replace(
        Wallet(
            key,
            pending=sum(made.remaining for made in own if made.is_pending),
            available=sum(made.free for made in own if not made.is_pending),
            held=sum(made.reserved for made in own),
            debt=0,
            version=0,
            last_at=NOW,
            next_due_at=NOW,
        ),
        **details,
    )


def book_of(
    *lots: Lot, at: float = 0, rules: ProgramRules = RULES, others: Sequence[Wallet] = (), **details: Any
) -> Book:
    book = Book([wallet_of(lots, **details), *others], now=day(at), rules=rules)
    book.lots.know(lots)
    return book


def told(book: Book) -> list[tuple[str, str, str, int]]:
    return [
        (str(entry.movement.kind), str(entry.movement.source), str(entry.movement.target), entry.movement.points)
        for entry in book.entries
    ]


def balances(book: Book, key: WalletKey = ANN) -> tuple[int, int, int, int]:
    wallet = book.wallets[key]
    return (wallet.pending, wallet.available, wallet.held, wallet.debt)


def takes_of(book: Book, entry: Entry) -> list[Take]:
    return [take for entry_id, take in book.takes if entry_id == entry.id]


def left(book: Book) -> dict[int, tuple[int, int]]:
    """Return what remains in each lot that the book changed, and how much of it is held."""
    return {made.id.int: (made.remaining, made.reserved) for made in book.lots.changed}


# Settling


def test_a_lot_expires_at_its_instant_however_late_that_is_noticed() -> None:
    book = book_of(lot(1, 10, ends=1), lot(2, 5), at=4)
    book.settle(ANN, [])
    (entry,) = book.entries
    assert entry.movement == Movement(EntryKind.EXPIRE, Account.AVAILABLE, Account.EXPIRED, 10)
    assert (entry.source, entry.occurred_at, entry.recorded_at) == (ORDER, day(1), day(4))
    assert (entry.balance_after, entry.available_after) == (5, 5)
    assert book.takes == [(entry.id, Take(UUID(int=1), -10))]
    assert book.wallets[ANN].next_due_at is None


def test_a_lot_is_good_until_the_very_instant_it_expires() -> None:
    book = book_of(lot(1, 10, ends=1))
    book.now = day(1) - timedelta(microseconds=1)
    book.settle(ANN, [])
    assert book.entries == []
    book.now = day(1)
    book.settle(ANN, [])
    assert told(book) == [("expire", "available", "expired", 10)]


def test_a_pending_lot_begins_at_its_instant() -> None:
    book = book_of(waiting(1, 10, begins=1, ends=9), at=4)
    book.settle(ANN, [])
    (entry,) = book.entries
    assert entry.movement == Movement(EntryKind.ACTIVATE, Account.PENDING, Account.AVAILABLE, 10)
    assert (entry.source, entry.occurred_at, entry.recorded_at) == (ORDER, day(1), day(4))
    assert book.lots.changed == [replace(waiting(1, 10, begins=1, ends=9), activated_at=day(4))]
    assert book.wallets[ANN].next_due_at == day(9)


def test_what_time_caused_is_written_in_order_of_time() -> None:
    lots = [lot(1, 10, ends=5), waiting(2, 7, begins=2, ends=4), lot(3, 4, ends=1), waiting(4, 1, begins=6)]
    book = book_of(*lots, at=9)
    book.settle(ANN, [])
    assert [(entry.movement.kind, entry.movement.points, entry.occurred_at) for entry in book.entries] == [
        (EntryKind.EXPIRE, 4, day(1)),
        (EntryKind.ACTIVATE, 7, day(2)),
        (EntryKind.EXPIRE, 7, day(4)),
        (EntryKind.EXPIRE, 10, day(5)),
        (EntryKind.ACTIVATE, 1, day(6)),
    ]
    assert balances(book) == (0, 1, 0, 0)


def test_settling_says_exactly_what_is_due_next() -> None:
    book = book_of(lot(1, 10, ends=8), waiting(2, 7, begins=3), waiting(3, 2), next_due_at=day(1), at=1)
    book.settle(ANN, [])
    assert book.entries == []
    assert book.moved == [(book.before[ANN], replace(book.before[ANN], next_due_at=day(3)))]


def test_points_that_wait_for_an_event_are_never_due() -> None:
    book = book_of(waiting(1, 10), at=10_000)
    book.settle(ANN, [])
    assert (book.entries, book.wallets[ANN].next_due_at) == ([], None)


def test_a_hold_past_its_time_gives_its_points_back() -> None:
    book = book_of(lot(1, 10, reserved=4), at=3)
    book.settle(ANN, [hold((1, 4), ends=2)])
    (entry,) = book.entries
    assert entry.movement == Movement(EntryKind.RELEASE, Account.HELD, Account.AVAILABLE, 4)
    assert (entry.source, entry.occurred_at, entry.recorded_at) == (HELD, day(2), day(3))
    assert book.ended_holds == [EndedHold(HOLD_ID, 0, day(2), "expired")]
    assert left(book) == {1: (10, 0)}
    assert balances(book) == (0, 10, 0, 0)


def test_a_hold_and_its_lot_that_end_together_leave_nothing() -> None:
    book = book_of(lot(1, 10, ends=2, reserved=4), at=2)
    book.settle(ANN, [hold((1, 4), ends=2)])
    assert told(book) == [("release", "held", "available", 4), ("expire", "available", "expired", 10)]


def test_a_lot_that_begins_and_ends_at_once_still_does_both() -> None:
    book = book_of(waiting(1, 10, begins=2, ends=2), at=2)
    book.settle(ANN, [])
    assert told(book) == [("activate", "pending", "available", 10), ("expire", "available", "expired", 10)]


def test_held_points_outlive_their_lot_until_the_hold_ends() -> None:
    held = hold((1, 4), ends=3)
    book = book_of(lot(1, 10, ends=1, reserved=4), at=2)
    book.settle(ANN, [held])
    assert told(book) == [("expire", "available", "expired", 6)]
    assert balances(book) == (0, 0, 4, 0)
    assert book.wallets[ANN].next_due_at == day(3)
    book.now = day(9)
    book.settle(ANN, [held])
    assert told(book)[1:] == [("release", "held", "available", 4), ("expire", "available", "expired", 4)]
    assert [entry.occurred_at for entry in book.entries] == [day(1), day(3), day(3)]
    assert balances(book) == (0, 0, 0, 0)


def test_a_clock_behind_the_wallet_settles_what_was_due_by_its_newest_entry() -> None:
    book = book_of(lot(1, 10, ends=2), last_at=day(3))
    book.settle(ANN, [])
    (entry,) = book.entries
    assert (entry.occurred_at, entry.recorded_at) == (day(2), day(3))


def test_idle_points_expire_once_nothing_was_earned_or_spent_for_long_enough() -> None:
    idle = lot(1, 10, idle=Period(days=30))
    book = book_of(idle, active_at=day(10), at=30)
    book.settle(ANN, [])
    assert (book.entries, book.wallets[ANN].next_due_at) == ([], datetime(2026, 2, 10, 23, tzinfo=UTC))
    book.now = datetime(2026, 2, 10, 23, tzinfo=UTC)
    book.settle(ANN, [])
    assert told(book) == [("expire", "available", "expired", 10)]


def test_a_spend_keeps_idle_points_alive() -> None:
    book = book_of(lot(1, 10, idle=Period(days=30)), active_at=NOW, at=29)
    book.spend(ANN, points=1, source=REDEMPTION, occurred_at=day(29))
    book.now = day(58)
    book.settle(ANN, [])
    assert told(book) == [("spend", "available", "redeemed", 1)]
    assert book.wallets[ANN].next_due_at == datetime(2026, 3, 1, 23, tzinfo=UTC)


def test_points_given_to_an_idle_wallet_are_not_over_as_they_begin() -> None:
    rules = replace(RULES, expiry=Expiry(ExpiryKind.INACTIVITY, days=5))
    book = book_of(at=10, rules=rules, active_at=NOW)
    book.award(ANN, points=10, kind=EntryKind.ADJUST, source=ORDER, occurred_at=day(10), origin=Account.ADJUSTED)
    book.settle(ANN, [])
    assert told(book) == [("adjust", "adjusted", "available", 10)]
    assert book.wallets[ANN].next_due_at == datetime(2026, 1, 16, 23, tzinfo=UTC)


def test_news_of_an_earlier_order_makes_nothing_due_before_the_wallet_says_so() -> None:
    """The first activity that a wallet hears of lies before the points that it already has."""
    rules = replace(RULES, expiry=Expiry(ExpiryKind.INACTIVITY, days=5))
    book = book_of(rules=rules, at=10, next_due_at=None)
    book.award(ANN, points=10, kind=EntryKind.ADJUST, source=ORDER, occurred_at=day(10), origin=Account.ADJUSTED)
    book.award(ANN, points=1, kind=EntryKind.EARN, source=OTHER_ORDER, occurred_at=day(4), pending=True)
    says = book.wallets[ANN].next_due_at
    ((at, points),) = expiring(book.lots.of(ANN), book.wallets[ANN], book.rules.zone)
    assert points == 10
    assert says is not None
    assert says <= at


# What is to come


def test_spendable_points_expire_day_by_day_and_pending_ones_begin() -> None:
    lots = [
        lot(1, 10, ends=5, reserved=3),
        lot(2, 4, ends=2),
        lot(3, 6, ends=5),
        lot(4, 100),
        waiting(5, 8, begins=1, ends=2),
        waiting(6, 9, begins=1),
        waiting(7, 50),
    ]
    book = book_of(*lots)
    assert expiring(book.lots.of(ANN), book.wallets[ANN], book.rules.zone) == [(day(2), 4), (day(5), 13)]
    assert starting(book.lots.of(ANN)) == [(day(1), 17)]
    assert expiring(book.lots.of(BOB), book.wallets[ANN], book.rules.zone) == starting(book.lots.of(BOB)) == []


# Awards and debt


def test_an_award_that_begins_on_a_day_waits_for_it_and_expires_counted_from_it() -> None:
    book = book_of(rules=replace(RULES, expiry=Expiry(ExpiryKind.AFTER, days=30)), next_due_at=None)
    book.award(ANN, points=10, kind=EntryKind.EARN, source=ORDER, occurred_at=NOW, activates_at=day(14))
    (made,) = book.lots.new
    assert told(book) == [("earn", "issued", "pending", 10)]
    assert (made.activates_at, made.activated_at) == (day(14), None)
    assert made.expires_at == datetime(2026, 2, 14, 23, tzinfo=UTC)
    assert book.wallets[ANN].next_due_at == day(14)


def test_an_award_that_waits_for_an_event_has_its_expiry_counted_from_the_event() -> None:
    book = book_of(rules=replace(RULES, expiry=Expiry(ExpiryKind.AFTER, days=30)), next_due_at=None)
    book.award(ANN, points=10, kind=EntryKind.EARN, source=ORDER, occurred_at=NOW, pending=True)
    assert (book.lots.new[0].expires_at, book.wallets[ANN].next_due_at) == (None, None)
    book.now = day(20)
    book.activate(ANN, source=ORDER, occurred_at=day(20))
    assert book.lots.new[0].expires_at == datetime(2026, 2, 20, 23, tzinfo=UTC)
    assert book.wallets[ANN].next_due_at == datetime(2026, 2, 20, 23, tzinfo=UTC)


def test_scheduled_points_begin_by_themselves() -> None:
    book = book_of(waiting(1, 10), next_due_at=None)
    book.schedule(ANN, source=ORDER, activates_at=day(14))
    assert book.wallets[ANN].next_due_at == day(14)
    book.now = day(14)
    book.settle(ANN, [])
    assert told(book) == [("activate", "pending", "available", 10)]


def test_scheduled_points_expire_counted_from_when_they_begin() -> None:
    rules = replace(RULES, expiry=Expiry(ExpiryKind.AFTER, days=30))
    book = book_of(waiting(1, 10), rules=rules, next_due_at=None)
    book.schedule(ANN, source=ORDER, activates_at=day(14))
    book.now = day(14)
    book.settle(ANN, [])
    assert [own.expires_at for own in book.lots.changed] == [datetime(2026, 2, 14, 23, tzinfo=UTC)]
    assert book.wallets[ANN].next_due_at == datetime(2026, 2, 14, 23, tzinfo=UTC)


def test_what_is_earned_pays_what_is_owed_first() -> None:
    book = book_of(debt=30)
    book.award(ANN, points=10, kind=EntryKind.EARN, source=ORDER, occurred_at=NOW)
    assert balances(book) == (0, 0, 0, 20)
    book.award(ANN, points=25, kind=EntryKind.EARN, source=OTHER_ORDER, occurred_at=NOW)
    assert balances(book) == (0, 5, 0, 0)
    assert told(book) == [
        ("earn", "issued", "available", 10),
        ("repay", "available", "debt", 10),
        ("earn", "issued", "available", 25),
        ("repay", "available", "debt", 20),
    ]
    assert [entry.balance_after for entry in book.entries] == [-20, -20, 5, 5]
    assert [(made.granted, made.remaining) for made in book.lots.new] == [(10, 0), (25, 5)]
    assert [entry.source for entry in book.entries] == [ORDER, ORDER, OTHER_ORDER, OTHER_ORDER]


def test_points_that_expired_before_they_were_reported_still_pay_what_is_owed() -> None:
    book = book_of(debt=30, at=5)
    book.award(ANN, points=10, kind=EntryKind.EARN, source=ORDER, occurred_at=NOW, dates=LotDates(day(2)))
    assert told(book)[1:] == [("repay", "available", "debt", 10)]


def test_pending_points_pay_when_they_begin_and_not_before() -> None:
    book = book_of(debt=30)
    book.award(ANN, points=40, kind=EntryKind.EARN, source=ORDER, occurred_at=NOW, pending=True)
    assert balances(book) == (40, 0, 0, 30)
    book.activate(ANN, source=ORDER, occurred_at=NOW)
    assert balances(book) == (0, 10, 0, 0)


def test_points_that_begin_by_themselves_pay_what_is_owed_before_they_expire() -> None:
    book = book_of(waiting(1, 40, begins=1, ends=2), debt=30, at=9)
    book.settle(ANN, [])
    assert [(*line, entry.occurred_at) for line, entry in zip(told(book), book.entries, strict=True)] == [
        ("activate", "pending", "available", 40, day(1)),
        ("repay", "available", "debt", 30, day(1)),
        ("expire", "available", "expired", 10, day(2)),
    ]


def test_points_that_a_hold_gives_back_pay_what_is_owed() -> None:
    book = book_of(lot(1, 10, reserved=10), debt=7, at=3)
    book.settle(ANN, [hold((1, 10), ends=2)])
    assert told(book) == [("release", "held", "available", 10), ("repay", "available", "debt", 7)]
    assert left(book) == {1: (3, 0)}
    assert balances(book) == (0, 3, 0, 0)


# Holds


def test_a_hold_locks_the_points_that_expire_first() -> None:
    book = book_of(lot(1, 10), lot(2, 5, ends=9), next_due_at=day(9))
    entry = book.hold(ANN, points=8, hold_id=HOLD_ID, expires_at=day(1), notes={"cart": "7"})
    assert entry.movement == Movement(EntryKind.HOLD, Account.AVAILABLE, Account.HELD, 8)
    assert (entry.source, entry.balance_after, entry.available_after) == (HELD, 15, 7)
    assert book.new_holds == [replace(hold((2, 5), (1, 3), ends=1), notes={"cart": "7"})]
    assert left(book) == {1: (10, 3), 2: (5, 5)}
    assert (balances(book), book.takes) == ((0, 7, 8, 0), [])
    assert book.wallets[ANN].next_due_at == day(1)


def test_held_points_can_be_neither_spent_nor_held_again() -> None:
    book = book_of(lot(1, 10))
    book.hold(ANN, points=8, hold_id=HOLD_ID, expires_at=day(1), notes={})
    with pytest.raises(NotEnoughPoints) as unspent:
        book.spend(ANN, points=3, source=REDEMPTION, occurred_at=NOW)
    with pytest.raises(NotEnoughPoints) as unheld:
        book.hold(ANN, points=3, hold_id=UUID(int=81), expires_at=day(1), notes={})
    assert [(own.value.spendable, own.value.requested) for own in (unspent, unheld)] == [(2, 3), (2, 3)]
    assert len(book.entries) == len(book.new_holds) == 1


def test_a_capture_of_a_whole_hold_spends_its_points() -> None:
    book = book_of(lot(1, 10, reserved=3), lot(2, 5, ends=9, reserved=5))
    entry = book.capture(hold((1, 3), (2, 5), ends=1), points=8, source=REDEMPTION)
    assert entry.movement == Movement(EntryKind.CAPTURE, Account.HELD, Account.REDEEMED, 8)
    assert takes_of(book, entry) == [Take(UUID(int=2), -5), Take(UUID(int=1), -3)]
    assert book.entries == [entry]
    assert book.ended_holds == [EndedHold(HOLD_ID, 8, NOW, "captured")]
    assert left(book) == {1: (7, 0), 2: (0, 0)}
    assert balances(book) == (0, 7, 0, 0)


def test_a_capture_of_a_part_takes_what_expires_first_and_frees_the_rest() -> None:
    book = book_of(lot(1, 10, reserved=3), lot(2, 5, ends=9, reserved=5))
    entry = book.capture(hold((1, 3), (2, 5), ends=1), points=4, source=REDEMPTION)
    assert told(book) == [("capture", "held", "redeemed", 4), ("release", "held", "available", 4)]
    assert takes_of(book, entry) == [Take(UUID(int=2), -4)]
    assert book.ended_holds == [EndedHold(HOLD_ID, 4, NOW, "captured")]
    assert left(book) == {1: (10, 0), 2: (1, 0)}
    assert balances(book) == (0, 11, 0, 0)


def test_held_points_can_be_captured_although_their_lot_has_expired() -> None:
    held = hold((1, 4), ends=5)
    book = book_of(lot(1, 4, ends=1, reserved=4), at=2)
    book.settle(ANN, [held])
    book.capture(held, points=3, source=REDEMPTION)
    book.settle(ANN, [])
    assert told(book) == [
        ("capture", "held", "redeemed", 3),
        ("release", "held", "available", 1),
        ("expire", "available", "expired", 1),
    ]


def test_a_released_hold_leaves_every_lot_as_it_was() -> None:
    book = book_of(lot(1, 10), lot(2, 5, ends=9))
    book.hold(ANN, points=8, hold_id=HOLD_ID, expires_at=day(1), notes={})
    book.release(book.new_holds[0], source=HELD, occurred_at=NOW)
    assert told(book)[1:] == [("release", "held", "available", 8)]
    assert book.ended_holds == [EndedHold(HOLD_ID, 0, NOW, "released")]
    assert (left(book), balances(book)) == ({}, (0, 15, 0, 0))


@pytest.mark.parametrize("captured", [0, 3])
def test_points_that_a_hold_frees_before_its_time_are_due_when_their_lot_is(captured: int) -> None:
    held = hold((1, 10), ends=5)
    book = book_of(lot(1, 10, ends=2, reserved=10))
    book.settle(ANN, [held])
    assert book.wallets[ANN].next_due_at == day(5)
    if captured:
        book.capture(held, points=captured, source=REDEMPTION)
    else:
        book.release(held, source=HELD, occurred_at=NOW)
    assert book.wallets[ANN].next_due_at == day(2)


def test_a_hold_beyond_what_is_spendable_changes_nothing() -> None:
    book = book_of(lot(1, 10))
    with pytest.raises(NotEnoughPoints) as refused:
        book.hold(ANN, points=11, hold_id=HOLD_ID, expires_at=day(1), notes={})
    assert (refused.value.spendable, refused.value.requested) == (10, 11)
    assert (book.entries, book.new_holds, book.moved) == ([], [], [])


# Points that come back


TAKEN = [Take(UUID(int=1), -6), Take(UUID(int=2), -3)]


def restored(policy: ExpiredLot, *, expiry: Expiry | None = None, **details: Any) -> tuple[Book, Entry]:
    """On day 10, give back six points of a lot that expired on day 1, and three of one that is good."""
    rules = replace(RULES, expired_lot=policy, grace_days=30, expiry=expiry or Expiry())
    lots = [lot(1, 0, granted=10, ends=1), lot(2, 0, granted=5, ends=20)]
    book = book_of(*lots, at=10, rules=rules, next_due_at=None, **details)
    return book, book.restore(ANN, TAKEN, corrects_id=UUID(int=9), source=REDEMPTION)


def test_points_of_an_expired_lot_come_back_with_a_time_of_grace() -> None:
    book, entry = restored(ExpiredLot.RESTORE_WITH_GRACE)
    assert told(book) == [("restore", "redeemed", "available", 9)]
    assert (entry.corrects_id, takes_of(book, entry)) == (UUID(int=9), [Take(UUID(int=2), 3)])
    (made,) = book.lots.new
    assert (made.entry_id, made.source, made.granted, made.remaining) == (entry.id, REDEMPTION, 6, 6)
    assert (made.earned_at, made.activated_at) == (day(10), day(10))
    assert (made.expires_at, made.idle) == (datetime(2026, 2, 10, 23, tzinfo=UTC), None)
    assert left(book) == {2: (3, 0)}
    assert (balances(book), book.wallets[ANN].next_due_at) == ((0, 9, 0, 0), day(20))


def test_points_of_an_expired_lot_come_back_as_a_new_lot_with_dates_of_its_own() -> None:
    book, entry = restored(ExpiredLot.NEW_LOT, expiry=Expiry(ExpiryKind.AFTER, months=12))
    assert told(book) == [("restore", "redeemed", "available", 9)]
    assert takes_of(book, entry) == [Take(UUID(int=2), 3)]
    (made,) = book.lots.new
    assert (made.granted, made.earned_at, made.expires_at) == (6, day(10), datetime(2027, 1, 11, 23, tzinfo=UTC))


def test_points_of_an_expired_lot_that_come_back_are_forfeited() -> None:
    book, entry = restored(ExpiredLot.FORFEIT)
    assert told(book) == [("restore", "redeemed", "available", 9), ("forfeit", "available", "forfeited", 6)]
    assert takes_of(book, entry) == [Take(UUID(int=1), 6), Take(UUID(int=2), 3)]
    assert takes_of(book, book.entries[1]) == [Take(UUID(int=1), -6)]
    assert (left(book), book.lots.new) == ({2: (3, 0)}, [])
    assert balances(book) == (0, 3, 0, 0)


def test_points_that_come_back_as_a_new_lot_are_not_over_as_they_begin() -> None:
    """The wallet has been idle for longer than points may be: their own lot is over, the new one begins."""
    idle = Expiry(ExpiryKind.INACTIVITY, days=5)
    book, _ = restored(ExpiredLot.NEW_LOT, expiry=idle, active_at=NOW)
    book.settle(ANN, [])
    assert told(book) == [("restore", "redeemed", "available", 9)]
    assert book.wallets[ANN].next_due_at == datetime(2026, 1, 16, 23, tzinfo=UTC)


@pytest.mark.parametrize("policy", ExpiredLot)
def test_points_of_lots_that_are_good_go_back_where_they_came_from(policy: ExpiredLot) -> None:
    rules = replace(RULES, expired_lot=policy)
    book = book_of(lot(1, 0, granted=10, ends=11), lot(2, 0, granted=5), at=10, rules=rules)
    entry = book.restore(ANN, TAKEN, corrects_id=UUID(int=9), source=REDEMPTION)
    assert takes_of(book, entry) == [Take(UUID(int=1), 6), Take(UUID(int=2), 3)]
    assert (book.entries, book.lots.new, left(book)) == ([entry], [], {1: (6, 0), 2: (3, 0)})


@pytest.mark.parametrize(
    ("policy", "owed", "available"),
    [(ExpiredLot.RESTORE_WITH_GRACE, 0, 5), (ExpiredLot.NEW_LOT, 0, 5), (ExpiredLot.FORFEIT, 1, 0)],
)
def test_points_that_come_back_pay_what_is_owed(policy: ExpiredLot, owed: int, available: int) -> None:
    book, _ = restored(policy, debt=4)
    assert balances(book) == (0, available, 0, owed)
    assert book.entries[-1].movement.kind is EntryKind.REPAY


def test_a_lot_that_was_idle_too_long_has_expired() -> None:
    rules = replace(RULES, expired_lot=ExpiredLot.FORFEIT)
    book = book_of(lot(1, 0, granted=10, idle=Period(days=5)), at=10, rules=rules, active_at=day(2))
    book.restore(ANN, [Take(UUID(int=1), -6)], corrects_id=UUID(int=9), source=REDEMPTION)
    assert told(book) == [("restore", "redeemed", "available", 6), ("forfeit", "available", "forfeited", 6)]


# Returns


def reverse(book: Book, points: int, policy: Clawback) -> Reversal:
    return book.reverse(ANN, points=points, source=RETURN, occurred_at=NOW, earned_by=ORDER.id, policy=policy)


@pytest.mark.parametrize("policy", Clawback)
def test_a_return_takes_pending_points_of_its_order_first(policy: Clawback) -> None:
    book = book_of(waiting(1, 10), lot(2, 5), replace(waiting(3, 8), source=OTHER_ORDER))
    assert reverse(book, 10, policy) == Reversal(pending=10)
    assert told(book) == [("reverse", "pending", "reversed", 10)]
    assert left(book) == {1: (0, 0)}
    assert balances(book) == (8, 5, 0, 0)


def test_a_return_that_may_take_only_pending_points_leaves_spendable_ones() -> None:
    book = book_of(waiting(1, 10), lot(2, 50))
    assert reverse(book, 25, Clawback.PENDING_ONLY) == Reversal(pending=10)
    assert balances(book) == (0, 50, 0, 0)


def test_a_return_takes_its_orders_own_points_before_others_that_expire_first() -> None:
    lots = [lot(1, 4), lot(2, 6, ends=3), lot(3, 7, ends=1, source=OTHER_ORDER), lot(4, 8, source=OTHER_ORDER)]
    book = book_of(waiting(5, 2), *lots)
    assert reverse(book, 15, Clawback.CLAMP_TO_ZERO) == Reversal(pending=2, taken=13)
    assert told(book) == [("reverse", "pending", "reversed", 2), ("reverse", "available", "reversed", 13)]
    assert takes_of(book, book.entries[1]) == [Take(UUID(int=2), -6), Take(UUID(int=1), -4), Take(UUID(int=3), -3)]
    assert balances(book) == (0, 12, 0, 0)


def test_what_a_return_finds_no_points_for_is_written_off() -> None:
    book = book_of(lot(1, 4), lot(2, 3, source=OTHER_ORDER))
    assert reverse(book, 10, Clawback.CLAMP_TO_ZERO) == Reversal(taken=7, written_off=3)
    assert told(book) == [
        ("reverse", "available", "reversed", 7),
        ("reverse", "debt", "reversed", 3),
        ("write_off", "written_off", "debt", 3),
    ]
    assert book.entries[2].corrects_id == book.entries[1].id
    assert balances(book) == (0, 0, 0, 0)


def test_what_a_return_finds_no_points_for_is_owed() -> None:
    book = book_of(lot(1, 4), debt=0)
    assert reverse(book, 10, Clawback.ALLOW_DEBT) == Reversal(taken=4, owed=6)
    assert told(book) == [("reverse", "available", "reversed", 4), ("reverse", "debt", "reversed", 6)]
    assert (balances(book), book.wallets[ANN].balance) == ((0, 0, 0, 6), -6)


def test_a_write_off_leaves_older_debts_alone() -> None:
    book = book_of(debt=5)
    assert reverse(book, 10, Clawback.CLAMP_TO_ZERO) == Reversal(written_off=10)
    assert balances(book) == (0, 0, 0, 5)


@pytest.mark.parametrize(
    ("policy", "found", "debt"),
    [
        (Clawback.CLAMP_TO_ZERO, Reversal(taken=6, written_off=4), 0),
        (Clawback.ALLOW_DEBT, Reversal(taken=6, owed=4), 4),
    ],
)
def test_a_return_never_touches_held_points(policy: Clawback, found: Reversal, debt: int) -> None:
    book = book_of(lot(1, 10, reserved=4))
    assert reverse(book, 10, policy) == found
    assert (left(book), balances(book)) == ({1: (4, 4)}, (0, 0, 4, debt))


def test_a_debt_is_paid_by_the_hold_that_kept_its_points_from_the_return() -> None:
    book = book_of(lot(1, 10, reserved=4))
    reverse(book, 10, Clawback.ALLOW_DEBT)
    book.release(hold((1, 4), ends=5), source=HELD, occurred_at=NOW)
    assert (left(book), balances(book)) == ({1: (0, 0)}, (0, 0, 0, 0))


def test_a_return_of_nothing_writes_nothing() -> None:
    book = book_of(lot(1, 10))
    assert reverse(book, 0, Clawback.ALLOW_DEBT) == Reversal()
    assert (book.entries, book.moved) == ([], [])


# Gifts


def bob(*, debt: int = 0) -> Wallet:
    return wallet_of([], BOB, next_due_at=None, debt=debt)


def give_away(book: Book, points: int) -> Entry:
    spent = book.spend(
        ANN, points=points, source=TRANSFER, occurred_at=NOW, kind=EntryKind.TRANSFER, target=Account.TRANSFERRED
    )
    book.give(BOB, book.taken_by(spent), kind=EntryKind.TRANSFER, source=TRANSFER)
    return spent


def test_given_points_keep_the_dates_of_the_lots_they_come_from() -> None:
    book = book_of(lot(1, 10, granted=30, reserved=2, idle=Period(days=9)), lot(2, 5, ends=2), others=[bob()])
    spent = give_away(book, 8)
    received = book.entries[1]
    assert told(book) == [("transfer", "available", "transferred", 8), ("transfer", "transferred", "available", 8)]
    assert (spent.wallet, received.wallet, received.source) == (ANN, BOB, TRANSFER)
    assert [(own.wallet, own.entry_id, own.granted, own.remaining, own.reserved) for own in book.lots.new] == [
        (BOB, received.id, 5, 5, 0),
        (BOB, received.id, 3, 3, 0),
    ]
    assert [(own.expires_at, own.idle, own.earned_at) for own in book.lots.new] == [
        (day(2), None, NOW),
        (None, Period(days=9), NOW),
    ]
    assert len({own.id for own in book.lots.new} | {UUID(int=1), UUID(int=2)}) == 4
    assert (balances(book), balances(book, BOB)) == ((0, 5, 2, 0), (0, 8, 0, 0))
    assert book.wallets[BOB].next_due_at == day(2)


def test_given_points_pay_what_the_receiver_owes() -> None:
    book = book_of(lot(1, 10), others=[bob(debt=5)])
    give_away(book, 8)
    assert told(book)[2:] == [("repay", "available", "debt", 5)]
    assert balances(book, BOB) == (0, 3, 0, 0)


def test_given_pending_points_still_wait() -> None:
    book = book_of(others=[bob(debt=5)])
    parts = [(waiting(1, 10, begins=3, ends=7), 4), (waiting(2, 6), 6), (lot(3, 2), 2)]
    book.give(BOB, parts, kind=EntryKind.MERGE, source=TRANSFER)
    assert told(book) == [
        ("merge", "transferred", "pending", 10),
        ("merge", "transferred", "available", 2),
        ("repay", "available", "debt", 2),
    ]
    assert [(own.granted, own.activates_at, own.activated_at, own.expires_at) for own in book.lots.new] == [
        (4, day(3), None, day(7)),
        (6, None, None, None),
        (2, lot(3, 2).began_at, NOW, None),
    ]
    assert (balances(book, BOB), book.wallets[BOB].next_due_at) == ((10, 0, 0, 3), day(3))


# Whole histories, against what the docstrings promise


DAYS_OF_EXPIRY: Final = 4
EXPIRIES = (
    Expiry(),
    Expiry(ExpiryKind.AFTER, days=DAYS_OF_EXPIRY),
    Expiry(ExpiryKind.DATES, dates=("01-03", "01-06", "01-11")),
    Expiry(ExpiryKind.INACTIVITY, days=DAYS_OF_EXPIRY),
)
WEIGHTS = {
    "earn": 5,
    "earn_late": 2,
    "earn_late_pending": 1,
    "earn_pending": 3,
    "earn_delayed": 3,
    "adjust": 1,
    "activate": 2,
    "schedule": 1,
    "spend": 5,
    "hold": 5,
    "capture": 3,
    "release": 2,
    "cancel": 4,
    "return_": 5,
    "give": 2,
    "advance": 6,
}
Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from([what for what, weight in WEIGHTS.items() for _ in range(weight)]),
        st.integers(0, 99),
        st.integers(0, 99),
    ),
    max_size=40,
)
programs = st.builds(
    ProgramRules,
    currencies=st.just(("EUR",)),
    time_zone=st.just("Europe/Berlin"),
    expiry=st.sampled_from(EXPIRIES),
    clawback=st.sampled_from(Clawback),
    expired_lot=st.sampled_from(ExpiredLot),
    grace_days=st.integers(1, 3),
)


@dataclass
class Store:
    """Two wallets as they would be stored: each step opens a book on them, and its decisions are written back."""

    rules: ProgramRules
    now: datetime = NOW
    wallets: dict[WalletKey, Wallet] = field(default_factory=lambda: {key: wallet_of([], key) for key in (ANN, BOB)})
    lots: dict[UUID, Lot] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    takes: list[tuple[UUID, Take]] = field(default_factory=list)
    orders: list[tuple[WalletKey, Source, int]] = field(default_factory=list)
    spends: list[Entry] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: count(100))

    def copy(self) -> "Store":
        return Store(self.rules, self.now, dict(self.wallets), dict(self.lots), dict(self.holds))

    def open(self) -> Book:
        book = Book(self.wallets.values(), now=self.now, rules=self.rules)
        book.lots.know(self.lots.values())
        return book

    def settle(self) -> None:
        book = self.open()
        for key in self.wallets:
            if self.wallets[key].is_due(self.now):
                book.settle(key, [held for held in self.holds.values() if held.wallet == key])
        self.write(book)

    def write(self, book: Book) -> None:
        self.wallets.update({after.key: after for _, after in book.moved})
        self.lots.update({own.id: own for own in [*book.lots.new, *book.lots.changed]})
        self.holds.update({held.id: held for held in book.new_holds})
        for ended in book.ended_holds:
            del self.holds[ended.id]
        self.entries += book.entries
        self.takes += book.takes

    def step(self, step: Step) -> None:
        what, first, second = step
        self.settle()
        book = self.open()
        try:
            getattr(self, what)(book, first, second)
        except NotEnoughPoints:
            return
        self.write(book)

    def advance(self, _: Book, first: int, second: int) -> None:
        self.now += timedelta(hours=first % 60, minutes=second % 60)

    def earn(self, book: Book, first: int, second: int) -> None:
        self._earn(book, first, second)

    def earn_late(self, book: Book, first: int, second: int) -> None:
        self._earn(book, first, second, occurred_at=self.now - timedelta(hours=second))

    def earn_late_pending(self, book: Book, first: int, second: int) -> None:
        self._earn(book, first, second, occurred_at=self.now - timedelta(hours=second), pending=True)

    def earn_pending(self, book: Book, first: int, second: int) -> None:
        self._earn(book, first, second, pending=True)

    def earn_delayed(self, book: Book, first: int, second: int) -> None:
        self._earn(book, first, second, activates_at=self.now + timedelta(hours=second))

    def adjust(self, book: Book, first: int, second: int) -> None:
        self._earn(book, first, second, kind=EntryKind.ADJUST, origin=Account.ADJUSTED)

    def _earn(self, book: Book, first: int, second: int, **details: Any) -> None:
        source = Source(SourceKind.ORDER, UUID(int=next(self.numbers)))
        key = (ANN, BOB)[second % 2]
        book.award(
            key, **{"points": 1 + first, "kind": EntryKind.EARN, "occurred_at": self.now, "source": source, **details}
        )
        self.orders.append((key, source, 1 + first))

    def activate(self, book: Book, first: int, second: int) -> None:
        if self.orders:
            key, source, _ = self.orders[first % len(self.orders)]
            book.activate(key, source=source, occurred_at=self.now - timedelta(hours=second % 3))

    def schedule(self, book: Book, first: int, second: int) -> None:
        if self.orders:
            key, source, _ = self.orders[first % len(self.orders)]
            book.schedule(key, source=source, activates_at=self.now + timedelta(hours=second))

    def spend(self, book: Book, first: int, second: int) -> None:
        key = (ANN, BOB)[second % 2]
        self.spends.append(book.spend(key, points=1 + first, source=REDEMPTION, occurred_at=self.now))

    def hold(self, book: Book, first: int, second: int) -> None:
        key = (ANN, BOB)[second % 2]
        hold_id, expires_at = UUID(int=next(self.numbers)), self.now + timedelta(hours=1 + second)
        book.hold(key, points=1 + first // 2, hold_id=hold_id, expires_at=expires_at, notes={})

    def capture(self, book: Book, first: int, second: int) -> None:
        if self.holds:
            held = list(self.holds.values())[first % len(self.holds)]
            self.spends.append(book.capture(held, points=1 + second % held.points, source=hold_source(held.id)))

    def release(self, book: Book, first: int, _: int) -> None:
        if self.holds:
            held = list(self.holds.values())[first % len(self.holds)]
            book.release(held, source=hold_source(held.id), occurred_at=self.now)

    def cancel(self, book: Book, first: int, _: int) -> None:
        if self.spends:
            spent = self.spends.pop(first % len(self.spends))
            takes = [take for entry_id, take in self.takes if entry_id == spent.id]
            book.restore(spent.wallet, takes, corrects_id=spent.id, source=spent.source)

    def return_(self, book: Book, first: int, second: int) -> None:
        if self.orders:
            key, source, points = self.orders[first % len(self.orders)]
            part = 1 + second % points
            found = book.reverse(
                key, points=part, source=RETURN, occurred_at=self.now, earned_by=source.id, policy=self.rules.clawback
            )
            sums = (found.pending + found.taken, found.owed, found.written_off)
            if self.rules.clawback is Clawback.PENDING_ONLY:
                assert found == Reversal(min(found.pending, part))
            else:
                assert sum(sums) == part
            assert found.owed == 0 or self.rules.clawback is Clawback.ALLOW_DEBT
            assert found.written_off == 0 or self.rules.clawback is Clawback.CLAMP_TO_ZERO

    def give(self, book: Book, first: int, second: int) -> None:
        giver, receiver = ((ANN, BOB), (BOB, ANN))[second % 2]
        spent = book.spend(
            giver,
            points=1 + first,
            source=TRANSFER,
            occurred_at=self.now,
            kind=EntryKind.TRANSFER,
            target=Account.TRANSFERRED,
        )
        book.give(receiver, book.taken_by(spent), kind=EntryKind.TRANSFER, source=TRANSFER)


OWN = (Account.PENDING, Account.AVAILABLE, Account.HELD, Account.DEBT)


def crossed(entry: Entry, accounts: Sequence[Account]) -> int:
    """Return by how much an entry changes the sum of these accounts."""
    movement = entry.movement
    return movement.points * ((movement.target in accounts) - (movement.source in accounts))


def check_wallets(store: Store) -> None:
    """Each wallet is the sum of its lots and of its entries."""
    for key, wallet in store.wallets.items():
        made = wallet_of(store.lots.values(), key)
        assert (wallet.pending, wallet.available, wallet.held) == (made.pending, made.available, made.held)
        assert wallet.debt >= 0
        assert wallet.debt == 0 or wallet.available == 0
        entries = [entry for entry in store.entries if entry.wallet == key]
        for account, balance in zip(OWN, (wallet.pending, wallet.available, wallet.held, -wallet.debt), strict=True):
            assert sum(crossed(entry, [account]) for entry in entries) == balance
        running = available = 0
        for version, entry in enumerate(entries, start=1):
            running += crossed(entry, OWN)
            available += crossed(entry, [Account.AVAILABLE])
            assert (entry.version, entry.balance_after, entry.available_after) == (version, running, available)
        assert (wallet.version, wallet.balance) == (len(entries), running)
        assert [entry.recorded_at for entry in entries] == sorted(entry.recorded_at for entry in entries)
    assert sum(crossed(entry, [Account.TRANSFERRED]) for entry in store.entries) == 0


def check_lots(store: Store) -> None:
    """Each lot is its grant and what was taken from it; each entry is what it granted and took."""
    held: Counter[UUID] = Counter()
    for live in store.holds.values():
        assert sum(part.points for part in live.reservations) == live.points
        for part in live.reservations:
            held[part.lot_id] += part.points
    touched: Counter[UUID] = Counter()
    taken: Counter[UUID] = Counter()
    for entry_id, take in store.takes:
        taken[take.lot_id] += take.points
        touched[entry_id] += take.points
    assert len({(entry_id, take.lot_id) for entry_id, take in store.takes}) == len(store.takes)
    for own in store.lots.values():
        assert 0 <= own.reserved <= own.remaining <= own.granted
        assert (own.reserved, own.remaining) == (held[own.id], own.granted + taken[own.id])
        assert own.reserved == 0 or not own.is_pending
        assert own.expires_at is None or own.expires_at > own.earned_at
        assert own.expires_at is None or own.idle is None
        touched[own.entry_id] += own.granted
    for entry in store.entries:
        assert touched[entry.id] == crossed(entry, [Account.PENDING, Account.AVAILABLE, Account.HELD])


def check_due(store: Store) -> None:
    """Nothing is due in a wallet before it says so."""
    for key, wallet in store.wallets.items():
        due = [held.expires_at for held in store.holds.values() if held.wallet == key]
        for own in store.lots.values():
            if own.wallet != key:
                continue
            if own.is_pending:
                due += [own.activates_at] if own.activates_at and own.remaining else []
            elif own.free and (ends_at := own.ends_at(wallet, store.rules.zone)):
                due.append(ends_at)
        if due:
            assert wallet.next_due_at is not None
            assert wallet.next_due_at <= min(due)


@settings(max_examples=300)
@given(rules=programs, taken=steps)
def test_after_whatever_happens_the_books_hold(rules: ProgramRules, taken: list[Step]) -> None:
    store = Store(rules)
    for step in taken:
        store.step(step)
        check_wallets(store)
        check_lots(store)
        check_due(store)


@settings(max_examples=200)
@given(rules=programs, taken=steps)
def test_settling_twice_changes_nothing(rules: ProgramRules, taken: list[Step]) -> None:
    store = Store(rules)
    for step in taken:
        store.step(step)
    store.settle()
    assert not any(wallet.is_due(store.now) for wallet in store.wallets.values())
    again = store.open()
    for key in again.wallets:
        again.settle(key, [held for held in store.holds.values() if held.wallet == key])
    assert (again.entries, again.lots.new, again.lots.changed, again.ended_holds) == ([], [], [], [])
    for was, after in again.moved:
        assert after == replace(was, next_due_at=after.next_due_at)
        assert was.next_due_at is not None
        assert after.next_due_at is None or after.next_due_at > was.next_due_at


@settings(max_examples=200)
@given(
    rules=programs, taken=steps, looks=st.lists(st.integers(0, 240), min_size=1, max_size=5), end=st.integers(240, 300)
)
def test_how_often_a_wallet_is_settled_makes_no_difference(
    rules: ProgramRules, taken: list[Step], looks: list[int], end: int
) -> None:
    often = Store(rules)
    for step in taken:
        often.step(step)
    once = often.copy()
    often.entries = []
    start = often.now
    for hours in [*sorted(looks), end]:
        often.now = start + timedelta(hours=hours)
        often.settle()
    once.now = often.now
    once.settle()

    def dateless(lots: Iterable[Lot]) -> list[Lot]:
        """When a lot was seen to begin is a fact about the looking, not about the lot."""
        return [replace(own, activated_at=own.activated_at and NOW) for own in lots]

    assert dateless(often.lots.values()) == dateless(once.lots.values())
    assert often.holds == once.holds
    for key in (ANN, BOB):
        assert replace(often.wallets[key], last_at=NOW) == replace(once.wallets[key], last_at=NOW)
        mine, theirs = (
            [
                (entry.movement, entry.source, entry.occurred_at, entry.balance_after)
                for entry in own
                if entry.wallet == key
            ]
            for own in (often.entries, once.entries)
        )
        assert mine == theirs


# Through the doors


async def test_every_order_paid_under_a_delay_begins_by_itself(shop: Shop) -> None:
    """The second payment changes a lot, and nothing of the wallet: the same day is already noted there."""
    await shop.send("PATCH", "/v1/program", {"activation": {"kind": "delay", "days": 14}}, expect=200)
    member = await shop.enrol()
    for euros in (10, 20):
        order = await shop.order(euros, customer_id=member["customer_id"], status="placed")
        await shop.post(f"/v1/orders/{order['id']}/payments", {})
    assert (await shop.wallet(member["id"]))["starting"] == [{"at": "2026-01-14T23:00:00Z", "points": 30}]
    await shop.post("/v1/test-clock/advance", {"to": "2026-01-14T23:00:00Z"}, expect=200)
    wallet = await shop.wallet(member["id"])
    assert (wallet["pending"], wallet["available"]) == (0, 30)
    await shop.books_hold()
