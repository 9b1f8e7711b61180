from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.metrics.intervals import (
    Bounds,
    Share,
    detectable,
    e_value,
    e_value_of_limit,
    log_normal,
    newcombe,
    normal,
    standardised_difference,
    wilson,
)


def share(successes: int, trials: int) -> Share:
    return Share(successes=successes, trials=trials)


shares = st.integers(1, 100_000).flatmap(lambda n: st.builds(share, st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_limits(successes: int, trials: int, low: float, high: float) -> None:
    bounds = wilson(share(successes, trials))
    assert bounds is not None
    assert (round(bounds.low, 4), round(bounds.high, 4)) == (low, high)
    assert (bounds.method, bounds.level) == ("wilson", 0.95)


# The published tables of Newcombe (1998), and the same to six digits from an independent implementation of method 10.
@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((10, 10), (0, 20), 0.6791, 1),
    ],
)
def test_newcombe_gives_the_published_limits(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    bounds = newcombe(share(*first), share(*second))
    assert bounds is not None
    assert (round(bounds.low, 4), round(bounds.high, 4)) == (low, high)


def test_no_trials_have_no_interval() -> None:
    assert wilson(share(0, 0)) is None
    assert newcombe(share(1, 2), share(0, 0)) is None
    assert share(0, 0).value is None


@pytest.mark.parametrize(("successes", "trials"), [(2, 1), (-1, 5)])
def test_an_impossible_share_is_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="not a share"):
        share(successes, trials)


@given(shares)
def test_wilson_holds_its_proportion_and_stays_between_0_and_1(one: Share) -> None:
    bounds = wilson(one)
    assert bounds is not None
    assert one.value is not None
    assert 0 <= bounds.low <= one.value <= bounds.high <= 1
    assert bounds.low < bounds.high


@given(shares)
def test_wilson_of_the_failures_is_the_mirror_image(one: Share) -> None:
    bounds, mirror = wilson(one), wilson(share(one.trials - one.successes, one.trials))
    assert bounds is not None
    assert mirror is not None
    assert isclose(bounds.low, 1 - mirror.high, abs_tol=1e-12)


@given(shares, shares)
def test_newcombe_is_antisymmetric_and_holds_the_difference(one: Share, two: Share) -> None:
    there, back = newcombe(one, two), newcombe(two, one)
    assert there is not None
    assert back is not None
    assert isclose(there.low, -back.high, abs_tol=1e-12)
    assert isclose(there.high, -back.low, abs_tol=1e-12)
    difference = one.successes / one.trials - two.successes / two.trials
    assert -1 <= there.low <= difference <= there.high <= 1


@pytest.mark.parametrize(("ratio", "value"), [(3.9, 7.26), (1.2, 1.69), (0.8, 1.81), (1.0, 1.0)])
def test_e_value_gives_the_published_figures(ratio: float, value: float) -> None:
    assert round(e_value(ratio), 2) == value


@given(st.floats(0.01, 100))
def test_e_value_is_the_same_for_a_ratio_and_its_inverse(ratio: float) -> None:
    assert isclose(e_value(ratio), e_value(1 / ratio), rel_tol=1e-9)
    assert e_value(ratio) >= 1


def test_e_value_refuses_a_ratio_of_nothing() -> None:
    with pytest.raises(ValueError, match="positive"):
        e_value(0)


def test_the_limit_nearer_to_one_decides() -> None:
    def bounds(low: float, high: float) -> Bounds:
        return Bounds(method="log_normal", level=0.95, low=low, high=high)

    assert e_value_of_limit(bounds(0.9, 1.4)) == 1
    assert e_value_of_limit(bounds(1.2, 3.0)) == e_value(1.2)
    assert e_value_of_limit(bounds(0.3, 0.8)) == e_value(0.8)


def test_normal_and_log_normal_limits() -> None:
    plain = normal(0.1, standard_error=0.02, method="clustered")
    assert (round(plain.low, 6), round(plain.high, 6)) == (0.060801, 0.139199)
    ratio = log_normal(2.0, log_standard_error=0.1, method="clustered_log")
    assert (round(ratio.low, 4), round(ratio.high, 4)) == (1.6440, 2.4330)


def test_the_detectable_size_is_2_8_standard_errors() -> None:
    assert round(detectable(1.0), 3) == 2.802


def test_standardised_difference() -> None:
    d = standardised_difference
    assert d(mean_first=12, mean_second=10, variance_first=3, variance_second=5) == 1.0
    assert d(mean_first=1, mean_second=1, variance_first=0, variance_second=0) == 0
    assert d(mean_first=1, mean_second=2, variance_first=0, variance_second=0) is None
