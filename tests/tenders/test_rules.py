"""What points pay: exact integers, within bounds, and what goes back in however many parts."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.orders.rules import Line
from loyalty.programs.policies import Burn, BurnRate, Refund
from loyalty.tenders.errors import PointsAboveCeiling, PointsBelowFloor
from loyalty.tenders.rules import Tender, left_on, offer, refunded, tender

rates = st.builds(BurnRate, st.integers(1, 1_000), st.integers(1, 1_000))
burns = st.builds(
    Burn, st.fixed_dictionaries({"EUR": rates}), least_points=st.integers(1, 500), most_percent=st.integers(1, 100)
)
baskets = st.lists(st.integers(0, 50_000), min_size=1, max_size=6)


def lines(totals: list[int]) -> list[Line]:
    return [Line(f"sku-{number}", 1, total) for number, total in enumerate(totals)]


@given(burn=burns, totals=baskets, points=st.integers(1, 200_000))
def test_points_pay_what_they_are_worth_and_never_more_than_may_be_paid(
    burn: Burn, totals: list[int], points: int
) -> None:
    rate, ceiling = burn.rates["EUR"], sum(totals) * burn.most_percent // 100
    worth = points * rate.amount_minor // rate.points
    least = max(burn.least_points, -(-rate.points // rate.amount_minor))
    if points < least:
        with pytest.raises(PointsBelowFloor) as below:
            tender(burn, currency="EUR", lines=lines(totals), points=points)
        assert below.value.least == least
    elif worth > ceiling:
        with pytest.raises(PointsAboveCeiling) as above:
            tender(burn, currency="EUR", lines=lines(totals), points=points)
        most = above.value.most
        assert most * rate.amount_minor // rate.points <= ceiling < (most + 1) * rate.amount_minor // rate.points
    else:
        paid = tender(burn, currency="EUR", lines=lines(totals), points=points)
        assert paid.value_minor == worth > 0
        parts = paid.on(lines(totals))
        assert sum(line.points_minor for line in parts) == worth
        assert all(0 <= line.points_minor <= line.total_minor for line in parts)


@given(burn=burns, totals=baskets, spendable=st.integers(0, 200_000))
def test_an_offers_most_is_accepted_and_no_point_of_it_is_wasted(burn: Burn, totals: list[int], spendable: int) -> None:
    made = offer(burn, currency="EUR", lines=lines(totals), spendable=spendable)
    if made is None:
        return
    assert made.most <= max(spendable, made.least)
    paid = tender(burn, currency="EUR", lines=lines(totals), points=made.most)
    assert paid.value_minor == made.most_minor
    assert (
        made.most == 1 or (made.most - 1) * burn.rates["EUR"].amount_minor // burn.rates["EUR"].points < made.most_minor
    )


@given(
    totals=baskets.filter(sum),
    value=st.integers(1, 10**6),
    points=st.integers(1, 10**6),
    steps=st.lists(st.integers(0, 100), max_size=5),
    by=st.sampled_from(Refund),
)
def test_many_returns_give_back_in_all_what_one_does(
    totals: list[int], value: int, points: int, steps: list[int], by: Refund
) -> None:
    whole = sum(totals)
    paid = Tender(points, min(value, whole), whole)
    given_back = [refunded(paid, returned_minor=whole * percent // 100, by=by) for percent in sorted(steps)]
    assert all(one.points <= other.points for one, other in pairwise(given_back))
    assert all(
        one.value_minor <= whole * percent // 100 + 1 for one, percent in zip(given_back, sorted(steps), strict=True)
    )
    last = refunded(paid, returned_minor=whole, by=by)
    assert (last.points, last.value_minor) == (paid.points, paid.value_minor)
    none = refunded(paid, returned_minor=0, by=by)
    assert (none.points, none.value_minor) == (0, 0)


@given(totals=baskets.filter(sum), value=st.integers(1, 10**6), percent=st.integers(0, 100), by=st.sampled_from(Refund))
def test_what_is_left_is_never_paid_with_more_points_than_it_costs(
    totals: list[int], value: int, percent: int, by: Refund
) -> None:
    whole = sum(totals)
    paid = Tender(100, min(value, whole), whole)
    left = left_on(paid, lines([total * percent // 100 for total in totals]), by=by)
    assert all(0 <= line.points_minor <= line.total_minor for line in left)


def test_the_three_ways_to_refund() -> None:
    """30 of 100 were paid with 300 points; 50 go back."""
    paid = Tender(300, 30, 100)
    found = {by: refunded(paid, returned_minor=50, by=by) for by in Refund}
    assert {by: (own.points, own.value_minor) for by, own in found.items()} == {
        Refund.PROPORTIONAL: (150, 15),
        Refund.MONEY_FIRST: (0, 0),
        Refund.POINTS_FIRST: (300, 30),
    }
