"""What one movement does to a wallet, and which lots a spend takes from."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.points.errors import BalanceOutOfBounds, NotEnoughPoints
from loyalty.points.rules import (
    MAX_POINTS,
    Account,
    EntryKind,
    Lot,
    Movement,
    Source,
    SourceKind,
    Take,
    Wallet,
    WalletKey,
    earlier,
    first_expiring,
    move,
    take_in_order,
)
from loyalty.programs.policies import Period

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEY = WalletKey(UUID(int=1), UUID(int=2), "points")
EMPTY = Wallet(KEY, pending=0, available=0, held=0, debt=0, version=0, last_at=NOW)
OWN = (Account.PENDING, Account.AVAILABLE, Account.HELD, Account.DEBT)


def movement(source: Account, target: Account, points: int) -> Movement:
    return Movement(EntryKind.EARN, source, target, points)


def lot(number: int, remaining: int, *, reserved: int = 0, days: int | None = None, active: bool = True) -> Lot:
    return Lot(
        UUID(int=number),
        KEY,
        UUID(int=1000 + number),
        Source(SourceKind.ORDER, UUID(int=70)),
        granted=remaining,
        remaining=remaining,
        reserved=reserved,
        earned_at=NOW - timedelta(days=9),
        activated_at=NOW if active else None,
        expires_at=None if days is None else NOW + timedelta(days=days),
    )


def test_an_award_raises_the_available_balance_and_the_version() -> None:
    later = NOW + timedelta(seconds=1)
    assert move(EMPTY, movement(Account.ISSUED, Account.AVAILABLE, 7), at=later) == replace(
        EMPTY, available=7, version=1, last_at=later
    )


def test_an_activation_moves_points_within_the_wallet_and_leaves_the_balance() -> None:
    waiting = replace(EMPTY, pending=7, version=4)
    active = move(waiting, movement(Account.PENDING, Account.AVAILABLE, 7), at=NOW)
    assert active == replace(EMPTY, available=7, version=5)
    assert (waiting.balance, active.balance) == (7, 7)


def test_debt_counts_what_is_owed_and_falls_when_points_reach_it() -> None:
    owing = move(EMPTY, movement(Account.DEBT, Account.REVERSED, 30), at=NOW)
    assert (owing.debt, owing.balance, owing.spendable) == (30, -30, 0)
    paying = move(replace(owing, available=50), movement(Account.AVAILABLE, Account.DEBT, 20), at=NOW)
    assert (paying.debt, paying.available, paying.balance, paying.spendable) == (10, 30, 20, 20)


def test_debt_cannot_be_paid_beyond_what_is_owed() -> None:
    with pytest.raises(BalanceOutOfBounds):
        move(replace(EMPTY, available=50, debt=10), movement(Account.AVAILABLE, Account.DEBT, 11), at=NOW)


def test_what_is_owed_cannot_be_spent() -> None:
    assert replace(EMPTY, available=30, debt=20).spendable == 10
    assert replace(EMPTY, available=20, debt=30).spendable == 0


def test_held_and_pending_points_cannot_be_spent() -> None:
    wallet = replace(EMPTY, available=5, held=10, pending=20)
    assert (wallet.spendable, wallet.balance) == (5, 35)


def test_a_spend_beyond_what_is_available_names_what_could_be_spent() -> None:
    with pytest.raises(NotEnoughPoints) as refused:
        move(replace(EMPTY, available=30, debt=20), movement(Account.AVAILABLE, Account.REDEEMED, 31), at=NOW)
    assert (refused.value.spendable, refused.value.requested) == (10, 31)


@pytest.mark.parametrize("account", [Account.PENDING, Account.HELD])
def test_no_account_of_a_wallet_falls_below_zero(account: Account) -> None:
    with pytest.raises(BalanceOutOfBounds):
        move(EMPTY, movement(account, Account.EXPIRED, 1), at=NOW)


@pytest.mark.parametrize("account", [Account.PENDING, Account.AVAILABLE, Account.HELD])
def test_an_account_holds_up_to_the_bound_and_not_one_more(account: Account) -> None:
    full = move(EMPTY, movement(Account.ISSUED, account, MAX_POINTS), at=NOW)
    assert full.balance == 2**53 - 1
    with pytest.raises(BalanceOutOfBounds):
        move(full, movement(Account.ISSUED, account, 1), at=NOW)


def test_the_balance_of_all_accounts_together_stays_within_the_bound() -> None:
    full = replace(EMPTY, available=MAX_POINTS)
    with pytest.raises(BalanceOutOfBounds):
        move(full, movement(Account.ISSUED, Account.PENDING, 1), at=NOW)


@st.composite
def wallets(draw: st.DrawFn) -> Wallet:
    amounts = st.integers(0, 1000)
    return Wallet(KEY, draw(amounts), draw(amounts), draw(amounts), draw(amounts), draw(st.integers(0, 50)), NOW)


@st.composite
def movements(draw: st.DrawFn) -> Movement:
    source, target = draw(st.lists(st.sampled_from(Account), min_size=2, max_size=2, unique=True))
    return movement(source, target, draw(st.integers(1, 1500)))


@given(wallet=wallets(), moved=movements())
def test_a_movement_changes_exactly_its_two_accounts_or_is_refused(wallet: Wallet, moved: Movement) -> None:
    expected = {account: getattr(wallet, account) for account in OWN}
    for account, points in ((moved.source, -moved.points), (moved.target, moved.points)):
        if account in expected:
            expected[account] += -points if account is Account.DEBT else points
    if expected[Account.AVAILABLE] < 0:
        with pytest.raises(NotEnoughPoints):
            move(wallet, moved, at=NOW)
    elif min(expected.values()) < 0:
        with pytest.raises(BalanceOutOfBounds):
            move(wallet, moved, at=NOW)
    else:
        changed = move(wallet, moved, at=NOW)
        assert {account: getattr(changed, account) for account in OWN} == expected
        assert changed.version == wallet.version + 1


@given(wallet=wallets(), moved=movements())
def test_the_balance_changes_by_what_crosses_the_wallets_border(wallet: Wallet, moved: Movement) -> None:
    try:
        changed = move(wallet, moved, at=NOW)
    except (NotEnoughPoints, BalanceOutOfBounds):
        return
    crossed = (moved.points if moved.target in OWN else 0) - (moved.points if moved.source in OWN else 0)
    assert changed.balance == wallet.balance + crossed


def in_order(lots: list[Lot]) -> list[Lot]:
    return sorted(lots, key=lambda own: first_expiring(own, own.expires_at))


def test_lots_that_expire_first_come_first_and_those_without_expiry_last() -> None:
    lots = [lot(1, 10), lot(2, 10, days=30), lot(3, 10, days=3)]
    assert [own.id.int for own in in_order(lots)] == [3, 2, 1]


def test_lots_that_expire_together_come_in_order_of_id() -> None:
    lots = [lot(9, 10, days=3), lot(4, 10, days=3), lot(7, 10, days=3)]
    assert [own.id.int for own in in_order(lots)] == [4, 7, 9]


def test_expiries_a_microsecond_apart_are_told_apart() -> None:
    late = datetime(2200, 1, 1, tzinfo=UTC)
    first = replace(lot(9, 1), expires_at=late)
    second = replace(lot(1, 1), expires_at=late + timedelta(microseconds=1))
    assert in_order([second, first]) == [first, second]


def test_points_are_taken_from_the_first_lots_until_there_are_enough() -> None:
    lots = [lot(3, 10), lot(2, 10), lot(1, 10)]
    assert take_in_order(lots, points=15) == [Take(UUID(int=3), -10), Take(UUID(int=2), -5)]


def test_reserved_points_are_not_taken() -> None:
    lots = [lot(1, 10, reserved=7), lot(2, 10, reserved=10), lot(3, 10)]
    assert take_in_order(lots, points=5) == [Take(UUID(int=1), -3), Take(UUID(int=3), -2)]
    assert take_in_order(lots, points=99) == [Take(UUID(int=1), -3), Take(UUID(int=3), -10)]


@st.composite
def lot_sets(draw: st.DrawFn) -> list[Lot]:
    numbers = draw(st.lists(st.integers(1, 50), max_size=8, unique=True))
    lots = []
    for number in numbers:
        remaining = draw(st.integers(0, 20))
        reserved = draw(st.integers(0, remaining))
        days = draw(st.none() | st.integers(-2, 3))
        lots.append(lot(number, remaining, reserved=reserved, days=days, active=draw(st.booleans())))
    return lots


def _unit_by_unit(lots: list[Lot], points: int) -> dict[UUID, int]:
    """Take points one by one, each from the first lot that has a free one left, while there are any."""
    left = {own.id: own.remaining - own.reserved for own in lots}
    taken: dict[UUID, int] = {}
    for _ in range(min(points, sum(left.values()))):
        chosen = next(lot_id for lot_id, free in left.items() if free > 0)
        left[chosen] -= 1
        taken[chosen] = taken.get(chosen, 0) - 1
    return taken


@given(lots=lot_sets(), points=st.integers(1, 80))
def test_a_take_equals_taking_single_points_from_the_first_lot_that_has_one(lots: list[Lot], points: int) -> None:
    takes = take_in_order(lots, points=points)
    assert {take.lot_id: take.points for take in takes} == _unit_by_unit(lots, points)
    assert len(takes) == len({take.lot_id for take in takes})


def test_held_points_are_not_free() -> None:
    assert lot(1, 10, reserved=7).free == 3


def test_an_idle_lot_ends_with_the_day_on_which_its_wallet_was_idle_long_enough() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    own = replace(lot(1, 10), earned_at=NOW, idle=Period(months=1))
    assert own.ends_at(EMPTY, berlin) == datetime(2026, 2, 1, 23, tzinfo=UTC)
    active = replace(EMPTY, active_at=datetime(2026, 3, 31, 22, 30, tzinfo=UTC))
    assert own.ends_at(active, berlin) == datetime(2026, 5, 1, 22, tzinfo=UTC)
    assert lot(1, 10, days=3).ends_at(active, berlin) == NOW + timedelta(days=3)
    assert lot(1, 10).ends_at(active, berlin) is None


def test_something_is_due_from_its_instant_on_and_never_without_one() -> None:
    due = replace(EMPTY, next_due_at=NOW)
    assert due.is_due(NOW - timedelta(microseconds=1)) is False
    assert due.is_due(NOW) is True
    assert EMPTY.is_due(datetime.max.replace(tzinfo=UTC)) is False


def test_never_is_later_than_any_instant() -> None:
    later = NOW + timedelta(days=1)
    assert earlier(NOW, later) == earlier(later, NOW) == earlier(NOW, None) == earlier(None, NOW) == NOW
    assert earlier(None, None) is None
