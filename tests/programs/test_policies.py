"""When lots begin and expire: calendars, zones, and settings as they are stored."""

import json
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.programs.policies import (
    Activation,
    ActivationKind,
    Clawback,
    ExpiredLot,
    Expiry,
    ExpiryKind,
    LotDates,
    Period,
    RoundUpTo,
    end_of_day,
    idle_until,
    start_of_day,
)
from loyalty.programs.rules import ProgramRules, read_rules

BERLIN = ZoneInfo("Europe/Berlin")
SAO_PAULO = ZoneInfo("America/Sao_Paulo")
CAIRO = ZoneInfo("Africa/Cairo")
APIA = ZoneInfo("Pacific/Apia")
ZONES = [
    *(BERLIN, SAO_PAULO, CAIRO, APIA),
    *map(
        ZoneInfo, ("UTC", "America/New_York", "America/Havana", "Asia/Beirut", "Asia/Kathmandu", "Pacific/Kiritimati")
    ),
]
CALENDAR = ("01-01", "02-28", "02-29", "03-31", "04-30", "06-30", "12-31")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]  # year, month, day and so on


def after(**period: Any) -> Expiry:
    return Expiry(ExpiryKind.AFTER, **period)


def on(*dates: str) -> Expiry:
    return Expiry(ExpiryKind.DATES, dates=dates)


def last_day(expiry: Expiry, start: datetime, zone: ZoneInfo = BERLIN) -> date:
    """Return the last local day on which a lot is good, having checked that it is good for all of it."""
    expires_at = expiry.dates_from(start, zone).expires_at
    assert expires_at is not None
    local = (expires_at - timedelta(microseconds=1)).astimezone(zone)
    assert expires_at.astimezone(zone).date() > local.date()
    return local.date()


@pytest.mark.parametrize(
    ("period", "day", "expected"),
    [
        (Period(months=1), date(2026, 1, 31), date(2026, 2, 28)),
        (Period(months=1), date(2024, 1, 31), date(2024, 2, 29)),
        (Period(months=1), date(2026, 2, 28), date(2026, 3, 28)),
        (Period(months=2), date(2026, 1, 31), date(2026, 3, 31)),
        (Period(months=3), date(2026, 1, 31), date(2026, 4, 30)),
        (Period(months=12), date(2024, 2, 29), date(2025, 2, 28)),
        (Period(months=48), date(2024, 2, 29), date(2028, 2, 29)),
        (Period(months=11), date(2026, 1, 31), date(2026, 12, 31)),
        (Period(months=12), date(2026, 1, 31), date(2027, 1, 31)),
        (Period(months=1), date(2026, 11, 30), date(2026, 12, 30)),
        (Period(months=1), date(2026, 12, 31), date(2027, 1, 31)),
        (Period(months=14), date(2026, 12, 31), date(2028, 2, 29)),
        (Period(months=600), date(2026, 5, 5), date(2076, 5, 5)),
        (Period(days=1), date(2024, 2, 28), date(2024, 2, 29)),
        (Period(days=365), date(2024, 2, 29), date(2025, 2, 28)),
        (Period(days=366), date(2023, 2, 28), date(2024, 2, 29)),
        (Period(days=1, months=1), date(2026, 1, 31), date(2026, 3, 1)),
        (Period(), date(2026, 1, 31), date(2026, 1, 31)),
    ],
)
def test_a_period_ends_on_the_same_day_of_the_month_or_the_last_there_is(
    period: Period, day: date, expected: date
) -> None:
    assert period.after(day) == expected


days = st.dates(date(2012, 1, 1), date(2060, 12, 31))
periods = st.builds(Period, days=st.integers(0, 3650)) | st.builds(Period, months=st.integers(0, 600))


@given(day=days, months=st.integers(0, 600))
def test_months_later_is_the_month_so_many_months_on(day: date, months: int) -> None:
    found = Period(months=months).after(day)
    assert (found.year * 12 + found.month) - (day.year * 12 + day.month) == months
    assert found.day == day.day or (found.day < day.day and (found + timedelta(days=1)).day == 1)


@given(day=days, later=days, period=periods)
def test_a_later_day_never_ends_earlier(day: date, later: date, period: Period) -> None:
    first, second = sorted((day, later))
    assert period.after(first) <= period.after(second)


def test_points_that_never_expire_have_no_dates() -> None:
    assert Expiry().dates_from(utc(2026, 1, 1), BERLIN) == LotDates()


def test_points_are_good_until_their_last_local_day_is_over() -> None:
    assert after(days=30).dates_from(utc(2026, 1, 1, 12), BERLIN) == LotDates(utc(2026, 1, 31, 23))
    assert after(months=12).dates_from(utc(2026, 1, 1, 12), BERLIN) == LotDates(utc(2027, 1, 1, 23))


def test_the_day_is_that_of_the_programs_zone() -> None:
    half_past_midnight = utc(2026, 1, 31, 23, 30)
    assert last_day(after(days=1), half_past_midnight, BERLIN) == date(2026, 2, 2)
    assert last_day(after(days=1), half_past_midnight, ZoneInfo("UTC")) == date(2026, 2, 1)
    assert last_day(after(days=1), half_past_midnight, ZoneInfo("Pacific/Kiritimati")) == date(2026, 2, 2)
    assert last_day(after(months=1), half_past_midnight, BERLIN) == date(2026, 3, 1)
    assert last_day(after(months=1), half_past_midnight, ZoneInfo("UTC")) == date(2026, 2, 28)


@pytest.mark.parametrize(
    ("expiry", "start", "expected"),
    [
        (after(months=12, round_up_to=RoundUpTo.MONTH), utc(2026, 1, 5), date(2027, 1, 31)),
        (after(months=1, round_up_to=RoundUpTo.MONTH), utc(2026, 1, 31), date(2026, 2, 28)),
        (after(months=1, round_up_to=RoundUpTo.MONTH), utc(2028, 1, 3), date(2028, 2, 29)),
        (after(days=31, round_up_to=RoundUpTo.MONTH), utc(2026, 1, 31), date(2026, 3, 31)),
        (after(days=28, round_up_to=RoundUpTo.MONTH), utc(2026, 1, 31), date(2026, 2, 28)),
        (after(months=12, round_up_to=RoundUpTo.YEAR), utc(2026, 1, 5), date(2027, 12, 31)),
        (after(months=12, round_up_to=RoundUpTo.YEAR), utc(2026, 12, 31, 12), date(2027, 12, 31)),
        (after(months=12, round_up_to=RoundUpTo.YEAR), utc(2026, 12, 31, 23), date(2028, 12, 31)),
        (after(days=1, round_up_to=RoundUpTo.YEAR), utc(2026, 12, 31, 12), date(2027, 12, 31)),
    ],
)
def test_a_period_rounded_up_ends_with_its_month_or_year(expiry: Expiry, start: datetime, expected: date) -> None:
    assert last_day(expiry, start) == expected


@pytest.mark.parametrize(
    ("expiry", "start", "expected"),
    [
        (on("12-31"), utc(2026, 5, 5), date(2026, 12, 31)),
        (on("12-31"), utc(2026, 12, 31, 12), date(2026, 12, 31)),
        (on("12-31"), utc(2026, 12, 31, 22, 59), date(2026, 12, 31)),
        (on("12-31"), utc(2026, 12, 31, 23), date(2027, 12, 31)),
        (on("06-30", "12-31"), utc(2026, 6, 30, 12), date(2026, 6, 30)),
        (on("12-31", "06-30"), utc(2026, 7, 1, 12), date(2026, 12, 31)),
        (on("12-31", "06-30"), utc(2027, 1, 1, 12), date(2027, 6, 30)),
        (on("02-29"), utc(2026, 1, 1), date(2026, 2, 28)),
        (on("02-29"), utc(2028, 1, 1), date(2028, 2, 29)),
        (on("02-29"), utc(2028, 2, 29, 12), date(2028, 2, 29)),
        (on("02-29"), utc(2028, 3, 1), date(2029, 2, 28)),
        (on("02-29"), utc(2027, 3, 1), date(2028, 2, 29)),
        (on("02-28", "02-29"), utc(2028, 2, 28, 23, 30), date(2028, 2, 29)),
    ],
)
def test_points_expire_with_the_next_of_the_calendars_days(expiry: Expiry, start: datetime, expected: date) -> None:
    assert last_day(expiry, start) == expected


def test_idle_points_carry_a_period_and_no_instant() -> None:
    expiry = Expiry(ExpiryKind.INACTIVITY, months=6)
    assert expiry.dates_from(utc(2026, 1, 1), BERLIN) == LotDates(idle=Period(months=6))


def test_a_wallet_is_idle_at_the_end_of_the_local_day() -> None:
    assert idle_until(utc(2026, 1, 31, 22, 59), Period(months=1), BERLIN) == utc(2026, 2, 28, 23)
    assert idle_until(utc(2026, 1, 31, 23), Period(months=1), BERLIN) == utc(2026, 3, 1, 23)
    assert idle_until(utc(2026, 3, 28, 12), Period(days=1), BERLIN) == utc(2026, 3, 29, 22)


@pytest.mark.parametrize(
    ("zone", "day", "starts", "ends"),
    [
        pytest.param(BERLIN, date(2026, 1, 1), utc(2025, 12, 31, 23), utc(2026, 1, 1, 23), id="winter"),
        pytest.param(BERLIN, date(2026, 7, 1), utc(2026, 6, 30, 22), utc(2026, 7, 1, 22), id="summer"),
        pytest.param(BERLIN, date(2026, 3, 29), utc(2026, 3, 28, 23), utc(2026, 3, 29, 22), id="23 hours"),
        pytest.param(BERLIN, date(2026, 10, 25), utc(2026, 10, 24, 22), utc(2026, 10, 25, 23), id="25 hours"),
        pytest.param(SAO_PAULO, date(2018, 11, 3), utc(2018, 11, 3, 3), utc(2018, 11, 4, 3), id="before no midnight"),
        pytest.param(SAO_PAULO, date(2018, 11, 4), utc(2018, 11, 4, 3), utc(2018, 11, 5, 2), id="no midnight"),
        pytest.param(SAO_PAULO, date(2018, 2, 17), utc(2018, 2, 17, 2), utc(2018, 2, 18, 3), id="23 o'clock twice"),
        pytest.param(CAIRO, date(2023, 4, 27), utc(2023, 4, 26, 22), utc(2023, 4, 27, 22), id="before Cairo's gap"),
        pytest.param(CAIRO, date(2023, 4, 28), utc(2023, 4, 27, 22), utc(2023, 4, 28, 21), id="Cairo's gap"),
        pytest.param(CAIRO, date(2023, 10, 26), utc(2023, 10, 25, 21), utc(2023, 10, 26, 22), id="Cairo's fold"),
        pytest.param(APIA, date(2011, 12, 29), utc(2011, 12, 29, 10), utc(2011, 12, 30, 10), id="before no day"),
        pytest.param(APIA, date(2011, 12, 30), utc(2011, 12, 30, 10), utc(2011, 12, 30, 10), id="no day"),
        pytest.param(APIA, date(2011, 12, 31), utc(2011, 12, 30, 10), utc(2011, 12, 31, 10), id="after no day"),
    ],
)
def test_a_local_day_lasts_from_its_first_moment_to_the_next_days(
    zone: ZoneInfo, day: date, starts: datetime, ends: datetime
) -> None:
    assert start_of_day(day, zone) == starts
    assert end_of_day(day, zone) == ends


@given(zone=st.sampled_from(ZONES), day=days)
def test_every_moment_of_a_day_lies_between_its_start_and_its_end(zone: ZoneInfo, day: date) -> None:
    starts, ends = start_of_day(day, zone), end_of_day(day, zone)
    assert starts.astimezone(zone).date() == day
    assert (ends - timedelta(microseconds=1)).astimezone(zone).date() == day
    assert (starts - timedelta(microseconds=1)).astimezone(zone).date() == day - timedelta(days=1)
    assert timedelta(hours=22) < ends - starts < timedelta(hours=26)


def test_points_given_on_the_eve_of_a_day_that_never_was_are_good_for_all_of_the_eve() -> None:
    """Samoa went from 29 to 31 December 2011: a day after the 29th is over at once, and the next one is not."""
    start = utc(2011, 12, 29, 20)
    assert after(days=1).dates_from(start, APIA) == LotDates(utc(2011, 12, 30, 10))
    assert after(days=2).dates_from(start, APIA) == LotDates(utc(2011, 12, 31, 10))
    assert on("12-30").dates_from(start, APIA) == LotDates(utc(2011, 12, 30, 10))


instants = st.datetimes(datetime(2012, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
calendars = st.lists(st.sampled_from(CALENDAR), min_size=1, max_size=4).map(tuple)
roundings = st.none() | st.sampled_from(RoundUpTo)
expiries_on_a_date = (
    st.builds(Expiry, st.just(ExpiryKind.AFTER), days=st.integers(1, 3650), round_up_to=roundings)
    | st.builds(Expiry, st.just(ExpiryKind.AFTER), months=st.integers(1, 600), round_up_to=roundings)
    | st.builds(Expiry, st.just(ExpiryKind.DATES), dates=calendars)
)
idle_expiries = st.builds(Expiry, st.just(ExpiryKind.INACTIVITY), days=st.integers(1, 3650)) | st.builds(
    Expiry, st.just(ExpiryKind.INACTIVITY), months=st.integers(1, 600)
)


@given(expiry=expiries_on_a_date, start=instants, zone=st.sampled_from(ZONES))
def test_points_expire_after_they_began_and_at_the_end_of_a_local_day(
    expiry: Expiry, start: datetime, zone: ZoneInfo
) -> None:
    dates = expiry.dates_from(start, zone)
    assert dates.expires_at is not None
    assert dates.idle is None
    assert dates.expires_at > start
    assert dates.expires_at == start_of_day(dates.expires_at.astimezone(zone).date(), zone)


@given(expiry=expiries_on_a_date, starts=st.tuples(instants, instants), zone=st.sampled_from(ZONES))
def test_points_that_begin_later_never_expire_earlier(
    expiry: Expiry, starts: tuple[datetime, datetime], zone: ZoneInfo
) -> None:
    ends = [expiry.dates_from(start, zone).expires_at for start in sorted(starts)]
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0] <= ends[1]


@given(expiry=expiries_on_a_date, start=instants, seconds=st.integers(1, 100_000), zone=st.sampled_from(ZONES))
def test_points_that_begin_a_little_later_never_expire_earlier(
    expiry: Expiry, start: datetime, seconds: int, zone: ZoneInfo
) -> None:
    first, second = (
        expiry.dates_from(begins, zone).expires_at for begins in (start, start + timedelta(seconds=seconds))
    )
    assert first is not None
    assert second is not None
    assert first <= second


@given(expiry=expiries_on_a_date, start=instants, zone=st.sampled_from(ZONES))
def test_rounding_up_never_shortens_and_stops_at_the_end_of_the_month_or_year(
    expiry: Expiry, start: datetime, zone: ZoneInfo
) -> None:
    if expiry.kind is not ExpiryKind.AFTER:
        return
    plain, month, year = (
        last_day(Expiry(expiry.kind, expiry.days, expiry.months, to), start, zone)
        for to in (None, RoundUpTo.MONTH, RoundUpTo.YEAR)
    )
    assert plain <= month <= year
    assert (month.year, month.month) == (plain.year, plain.month)
    assert (month + timedelta(days=1)).day == 1
    assert year == date(plain.year, 12, 31)


@given(active_at=instants, later=instants, idle=periods, zone=st.sampled_from(ZONES))
def test_who_was_active_later_is_never_idle_earlier(
    active_at: datetime, later: datetime, idle: Period, zone: ZoneInfo
) -> None:
    first, second = sorted((active_at, later))
    assert first < idle_until(first, idle, zone) <= idle_until(second, idle, zone)


def test_a_delay_ends_with_the_start_of_a_local_day() -> None:
    delay = Activation(ActivationKind.DELAY, days=14)
    assert delay.starts_at(utc(2026, 3, 20, 12), BERLIN) == utc(2026, 4, 2, 22)
    assert delay.starts_at(utc(2026, 3, 20, 22, 59), BERLIN) == utc(2026, 4, 2, 22)
    assert delay.starts_at(utc(2026, 3, 20, 23), BERLIN) == utc(2026, 4, 3, 22)


def test_a_delay_that_ends_where_midnight_is_skipped_ends_with_the_gap() -> None:
    assert Activation(ActivationKind.DELAY, days=1).starts_at(utc(2018, 11, 3, 12), SAO_PAULO) == utc(2018, 11, 4, 3)


@given(paid_at=instants, days_late=st.integers(1, 365), zone=st.sampled_from(ZONES))
def test_a_delay_of_days_lies_after_the_payment(paid_at: datetime, days_late: int, zone: ZoneInfo) -> None:
    starts_at = Activation(ActivationKind.DELAY, days_late).starts_at(paid_at, zone)
    assert starts_at > paid_at
    assert starts_at - paid_at <= timedelta(days=days_late, hours=2)


all_rules = st.builds(
    ProgramRules,
    currencies=st.lists(st.sampled_from(("EUR", "JPY", "USD")), min_size=1, unique=True).map(tuple),
    time_zone=st.sampled_from([zone.key for zone in ZONES]),
    unit=st.sampled_from(("points", "miles")),
    late_order_days=st.integers(0, 365),
    expiry=st.just(Expiry()) | expiries_on_a_date | idle_expiries,
    activation=st.builds(Activation, st.sampled_from(ActivationKind), st.integers(0, 365)),
    clawback=st.sampled_from(Clawback),
    expired_lot=st.sampled_from(ExpiredLot),
    grace_days=st.integers(1, 3650),
)


@given(rules=all_rules)
def test_settings_are_read_as_they_were_stored(rules: ProgramRules) -> None:
    read = read_rules(json.loads(json.dumps(asdict(rules))))
    assert read == rules
    assert type(read.expiry.kind) is ExpiryKind
    assert type(read.activation.kind) is ActivationKind
    assert type(read.clawback) is Clawback
    assert type(read.expired_lot) is ExpiredLot
    assert read.expiry.round_up_to is None or type(read.expiry.round_up_to) is RoundUpTo


def test_settings_of_an_older_version_have_the_defaults_of_what_it_did_not_know() -> None:
    assert read_rules({"currencies": ["EUR"], "time_zone": "Europe/Berlin"}) == ProgramRules(
        currencies=("EUR",),
        time_zone="Europe/Berlin",
        unit="points",
        late_order_days=7,
        expiry=Expiry(ExpiryKind.NEVER),
        activation=Activation(ActivationKind.AT_ONCE),
        clawback=Clawback.CLAMP_TO_ZERO,
        expired_lot=ExpiredLot.RESTORE_WITH_GRACE,
        grace_days=30,
    )
