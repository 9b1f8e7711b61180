from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.metrics.errors import WindowRefused
from loyalty.metrics.windows import (
    Mode,
    Period,
    Window,
    add_months,
    first_instant,
    last_finished,
    local_day,
    mature_end,
    period_holding,
    trailing,
)

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [BERLIN, ZoneInfo("UTC"), ZoneInfo("America/Sao_Paulo"), ZoneInfo("Africa/Cairo"), ZoneInfo("Asia/Kathmandu")]
days = st.dates(date(1990, 1, 1), date(2037, 12, 31))


def window(first: date, end: date, zone: ZoneInfo = BERLIN) -> Window:
    return Window(first=first, end=end, zone=zone)


def test_a_day_with_a_clock_change_is_one_day_of_23_or_25_hours() -> None:
    spring = window(date(2026, 3, 29), date(2026, 3, 30))
    assert (spring.starts_at, spring.ends_at) == (
        datetime(2026, 3, 28, 23, tzinfo=UTC),
        datetime(2026, 3, 29, 22, tzinfo=UTC),
    )
    autumn = window(date(2026, 10, 25), date(2026, 10, 26))
    assert autumn.ends_at - autumn.starts_at == timedelta(hours=25)
    assert spring.days == autumn.days == 1


def test_a_midnight_that_the_clock_skips_begins_at_the_change() -> None:
    sao_paulo = ZoneInfo("America/Sao_Paulo")
    assert first_instant(date(2018, 11, 4), zone=sao_paulo) == datetime(2018, 11, 4, 3, tzinfo=UTC)


def test_a_midnight_that_happens_twice_begins_at_the_first() -> None:
    havana = ZoneInfo("America/Havana")
    assert first_instant(date(2026, 11, 1), zone=havana) == datetime(2026, 11, 1, 4, tzinfo=UTC)


@given(days, st.sampled_from(ZONES))
def test_the_first_instant_of_a_day_is_in_it_and_the_one_before_is_not(day: date, zone: ZoneInfo) -> None:
    instant = first_instant(day, zone=zone)
    assert local_day(instant, zone=zone) == day
    assert local_day(instant - timedelta(microseconds=1), zone=zone) == day - timedelta(days=1)


def test_previous_windows_are_of_the_same_kind() -> None:
    march = window(date(2024, 3, 1), date(2024, 4, 1))
    assert march.previous() == window(date(2024, 2, 1), date(2024, 3, 1))
    assert march.previous().days == 29
    quarter = window(date(2026, 1, 1), date(2026, 4, 1))
    assert quarter.previous() == window(date(2025, 10, 1), date(2026, 1, 1))
    week = window(date(2024, 3, 1), date(2024, 3, 8))
    assert week.previous() == window(date(2024, 2, 23), date(2024, 3, 1))
    assert (march.mode, week.mode) == (Mode.CALENDAR, Mode.ROLLING)


@given(days, st.integers(1, 800))
def test_a_previous_window_ends_where_the_window_begins(day: date, length: int) -> None:
    later = window(day, day + timedelta(days=length))
    before = later.previous()
    assert before.end == later.first
    assert before.ends_at == later.starts_at
    assert later.mode is Mode.CALENDAR or before.days == length


@given(days, st.sampled_from(Period))
def test_a_period_holds_its_day_and_periods_tile_the_calendar(day: date, period: Period) -> None:
    held = period_holding(day, period=period, zone=BERLIN)
    assert held.first <= day < held.end
    assert period_holding(held.first - timedelta(days=1), period=period, zone=BERLIN) == held.previous()


def test_the_last_finished_period_is_judged_by_the_local_clock() -> None:
    just_after = datetime(2026, 3, 31, 22, 0, tzinfo=UTC)
    last = last_finished(just_after, period=Period.QUARTER, zone=BERLIN)
    assert last == window(date(2026, 1, 1), date(2026, 4, 1))
    just_before = just_after - timedelta(seconds=1)
    assert last_finished(just_before, period=Period.QUARTER, zone=BERLIN) == last.previous()


def test_entrants_mature_when_the_day_after_their_horizon_is_over() -> None:
    as_of = datetime(2026, 4, 11, 9, tzinfo=UTC)
    end = mature_end(as_of, horizon_days=10, zone=BERLIN)
    assert end == date(2026, 4, 1)
    assert trailing(end=end, days=90, zone=BERLIN) == window(date(2026, 1, 1), date(2026, 4, 1))


def test_empty_backward_and_endless_windows_are_refused() -> None:
    for end in (date(2026, 1, 1), date(2025, 1, 1), date(2040, 1, 1)):
        with pytest.raises(WindowRefused):
            window(date(2026, 1, 1), end)


def test_months_shift_only_from_the_first() -> None:
    assert add_months(date(2024, 2, 1), -14) == date(2022, 12, 1)
    with pytest.raises(ValueError, match="first of a month"):
        add_months(date(2024, 1, 31), 1)
