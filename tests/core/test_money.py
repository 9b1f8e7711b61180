from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.core.money import MAX_INTEGER, share

TOTALS = st.integers(0, MAX_INTEGER)
WEIGHTS = st.lists(st.integers(0, MAX_INTEGER), min_size=1, max_size=30)


@given(TOTALS, WEIGHTS)
def test_the_parts_sum_to_the_total(total: int, weights: list[int]) -> None:
    parts = share(total, weights=weights)
    assert sum(parts) == total
    assert len(parts) == len(weights)
    assert min(parts) >= 0


@given(TOTALS, WEIGHTS.filter(any))
def test_each_part_is_its_exact_share_rounded_one_way_or_the_other(total: int, weights: list[int]) -> None:
    for part, weight in zip(share(total, weights=weights), weights, strict=True):
        exact = Fraction(total * weight, sum(weights))
        assert abs(part - exact) < 1


@given(TOTALS, WEIGHTS.filter(any))
def test_what_weighs_nothing_gets_nothing_and_what_weighs_more_never_less(total: int, weights: list[int]) -> None:
    parts = share(total, weights=weights)
    assert all(part == 0 for part, weight in zip(parts, weights, strict=True) if weight == 0)
    by_weight = sorted(zip(weights, parts, strict=True))
    heavier = [(one, other) for one, other in pairwise(by_weight) if one[0] < other[0]]
    assert all(one[1] <= other[1] for one, other in heavier)


@given(TOTALS, WEIGHTS, st.integers(1, 1_000))
def test_the_scale_of_the_weights_does_not_matter(total: int, weights: list[int], scale: int) -> None:
    assert share(total, weights=[weight * scale for weight in weights]) == share(total, weights=weights)


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (100, [1, 1, 1], [34, 33, 33]),
        (2, [1, 1, 1], [1, 1, 0]),
        (10, [3, 3, 4], [3, 3, 4]),
        (7, [50, 30, 20], [4, 2, 1]),
        (1, [1, 2], [0, 1]),
        (5, [0, 0], [5, 0]),
        (0, [1, 2], [0, 0]),
        (5, [], []),
        (MAX_INTEGER, [1, 1], [MAX_INTEGER // 2 + 1, MAX_INTEGER // 2]),
    ],
)
def test_the_largest_remainder_comes_first_and_ties_go_to_the_earlier(
    total: int, weights: list[int], parts: list[int]
) -> None:
    assert share(total, weights=weights) == parts
