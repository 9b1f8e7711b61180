"""Counting an order: exact division, one rounding, shares that sum, and the version in force."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil, floor
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.core.money import MAX_INTEGER
from loyalty.earning.evaluation import judge_order
from loyalty.earning.facts import Moment, Purchase
from loyalty.earning.rules import RuleVersion, divide, in_force
from loyalty.earning.terms import PointsPerAmount, Rounding, Terms
from loyalty.earning.verdicts import Outcome, Verdict
from loyalty.orders.rules import Line

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ROUNDED: dict[Rounding, Callable[[Fraction], int]] = {
    Rounding.DOWN: floor,
    Rounding.UP: ceil,
    Rounding.HALF_UP: lambda exact: floor(exact + Fraction(1, 2)),
    Rounding.HALF_EVEN: round,
}
amounts = st.integers(0, MAX_INTEGER)
steps = st.integers(1, MAX_INTEGER)
roundings = st.sampled_from(Rounding)


def version(
    number: int = 1,
    *,
    rule: int = 1,
    points: int = 1,
    step: dict[str, int] | None = None,
    rounding: Rounding = Rounding.DOWN,
    begins: datetime = NOW,
    ends: datetime | None = None,
) -> RuleVersion:
    terms = Terms("points", PointsPerAmount(points, step or {"EUR": 100}, rounding))
    return RuleVersion(UUID(int=rule), number, terms, begins, ends)


def count_order(rules: list[RuleVersion], *, currency: str, lines: list[Line]) -> list[Verdict]:
    return judge_order(rules, purchase=Purchase(currency, lines), moment=Moment(NOW))


def lines(*totals: int) -> list[Line]:
    return [Line(f"sku-{number}", 1, total) for number, total in enumerate(totals)]


def points_of(rule: RuleVersion, currency: str, *totals: int) -> int:
    (award,) = count_order([rule], currency=currency, lines=lines(*totals))
    return award.points


@given(numerator=st.integers(0, MAX_INTEGER**2), denominator=steps, rounding=roundings)
def test_division_equals_exact_fractions(numerator: int, denominator: int, rounding: Rounding) -> None:
    assert divide(numerator, denominator, rounding=rounding) == ROUNDED[rounding](Fraction(numerator, denominator))


@given(half=st.integers(0, 10**6), step=st.integers(1, 10**6), rounding=roundings)
def test_division_equals_exact_fractions_at_every_half(half: int, step: int, rounding: Rounding) -> None:
    assert divide((2 * half + 1) * step, 2 * step, rounding=rounding) == ROUNDED[rounding](Fraction(2 * half + 1, 2))


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        (Rounding.DOWN, [0, 0, 0, 1, 1, 1, 2]),
        (Rounding.HALF_UP, [0, 1, 1, 1, 2, 2, 2]),
        (Rounding.HALF_EVEN, [0, 0, 1, 1, 2, 2, 2]),
        (Rounding.UP, [1, 1, 1, 1, 2, 2, 2]),
    ],
)
def test_a_fraction_of_a_point_ends_in_the_direction_the_rule_says(rounding: Rounding, expected: list[int]) -> None:
    assert [divide(cents, 100, rounding=rounding) for cents in (49, 50, 51, 100, 150, 151, 200)] == expected


@given(base=amounts, more=amounts, points=st.integers(1, 10**6), step=steps, rounding=roundings)
def test_a_larger_base_never_earns_less(base: int, more: int, points: int, step: int, rounding: Rounding) -> None:
    rule = version(points=points, step={"EUR": step}, rounding=rounding)
    assert points_of(rule, "EUR", base) <= points_of(rule, "EUR", base + more)


@given(totals=st.lists(st.integers(0, 10**9), min_size=1, max_size=12), step=st.integers(1, 10**6), rounding=roundings)
def test_an_order_rounds_once_however_it_is_split_into_lines(totals: list[int], step: int, rounding: Rounding) -> None:
    rule = version(points=3, step={"EUR": step}, rounding=rounding)
    assert points_of(rule, "EUR", *totals) == points_of(rule, "EUR", sum(totals))


@given(
    totals=st.lists(st.integers(0, MAX_INTEGER // 20), min_size=1, max_size=20),
    points=st.integers(1, 10**9),
    step=st.integers(1, 10**6),
    rounding=roundings,
)
def test_the_lines_shares_sum_exactly_to_the_points(
    totals: list[int], points: int, step: int, rounding: Rounding
) -> None:
    rule = version(points=points, step={"EUR": step}, rounding=rounding)
    (award,) = count_order([rule], currency="EUR", lines=lines(*totals))
    assert sum(award.line_points) == award.points
    assert len(award.line_points) == len(totals)
    whole = sum(totals)
    for share, total in zip(award.line_points, totals, strict=True):
        exact = Fraction(award.points * total, whole) if whole else Fraction(award.points if share else 0)
        assert abs(share - exact) < 1


def test_points_are_bounded_where_the_base_is_not() -> None:
    assert points_of(version(points=MAX_INTEGER, step={"EUR": 1}), "EUR", MAX_INTEGER) == 2**53 - 1


@pytest.mark.parametrize(
    ("currency", "step", "amount", "points"),
    [
        ("JPY", 100, 1_999, 19),  # no decimals: a point for 100 yen
        ("JPY", 100, 2_000, 20),
        ("EUR", 100, 1_999, 19),  # 2 decimals: a point a euro, of 19.99 euros
        ("EUR", 100, 2_000, 20),
        ("KWD", 1_000, 19_999, 19),  # 3 decimals: a point a dinar, of 19.999 dinars
        ("KWD", 1_000, 20_000, 20),
    ],
)
def test_points_count_in_the_currencys_own_minor_unit(currency: str, step: int, amount: int, points: int) -> None:
    rule = version(step={"JPY": 100, "EUR": 100, "KWD": 1_000})
    assert version(step={currency: step}).terms.gives == PointsPerAmount(1, {currency: step})
    assert points_of(rule, currency, amount) == points


def test_a_rule_that_does_not_know_the_currency_gives_no_award() -> None:
    (own,) = count_order([version()], currency="JPY", lines=lines(1_000))
    assert (own.outcome, own.points, own.line_points) == (Outcome.OTHER_CURRENCY, 0, ())


def test_each_rule_gives_its_own_award() -> None:
    rules = [version(rule=1), version(rule=2, points=2, step={"EUR": 1_000}, rounding=Rounding.UP)]
    awards = count_order(rules, currency="EUR", lines=lines(1_050, 50))
    assert [(award.base_minor, award.points, award.line_points) for award in awards] == [
        (1_100, 11, (11, 0)),
        (1_100, 3, (3, 0)),
    ]


def test_the_largest_remainders_take_the_points_left_over() -> None:
    (award,) = count_order([version()], currency="EUR", lines=lines(150, 150, 100, 0))
    assert (award.points, award.line_points) == (4, (2, 1, 1, 0))


def test_an_order_of_nothing_earns_nothing() -> None:
    (award,) = count_order([version(rounding=Rounding.UP)], currency="EUR", lines=lines(0, 0))
    assert (award.points, award.line_points) == (0, (0, 0))


def test_the_last_version_to_begin_is_in_force() -> None:
    versions = [version(1), version(2, begins=NOW + DAY), version(3, begins=NOW + 2 * DAY)]
    at = [NOW - timedelta(microseconds=1), NOW, NOW + DAY - timedelta(microseconds=1), NOW + DAY, NOW + 9 * DAY]
    assert [[own.version for own in in_force(versions, at=instant)] for instant in at] == [[], [1], [1], [2], [3]]


def test_versions_take_over_in_order_of_their_beginning_and_not_of_their_number() -> None:
    versions = [version(2, begins=NOW + 2 * DAY), version(3, begins=NOW + DAY), version(1)]
    assert [in_force(versions, at=NOW + n * DAY)[0].version for n in range(3)] == [1, 3, 2]


def test_a_version_ends_at_its_end_and_the_one_before_does_not_come_back() -> None:
    versions = [version(1), version(2, begins=NOW + DAY, ends=NOW + 2 * DAY)]
    assert [own.version for own in in_force(versions, at=NOW + 2 * DAY - timedelta(microseconds=1))] == [2]
    assert in_force(versions, at=NOW + 2 * DAY) == []


starts = st.tuples(st.integers(1, 3), st.integers(0, 20), st.none() | st.integers(1, 8))


@given(begins=st.lists(starts, unique_by=lambda start: start[:2]), at=st.integers(-1, 30))
def test_at_most_one_version_of_each_rule_is_in_force(begins: list[tuple[int, int, int | None]], at: int) -> None:
    versions = [
        version(number, rule=rule, begins=NOW + day * DAY, ends=None if lasts is None else NOW + (day + lasts) * DAY)
        for number, (rule, day, lasts) in enumerate(begins, start=1)
    ]
    instant = NOW + at * DAY
    expected = []
    for rule in sorted({own.rule_id for own in versions}):
        begun = [own for own in versions if own.rule_id == rule and own.active_from <= instant]
        newest = max(begun, key=lambda own: own.active_from, default=None)
        if newest is not None and (newest.active_until is None or newest.active_until > instant):
            expected.append(newest)
    assert in_force(versions, at=instant) == expected
