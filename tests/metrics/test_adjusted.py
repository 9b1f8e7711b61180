from dataclasses import replace
from datetime import date
from math import exp, isclose, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.metrics.adjusted import Spread, compare, coverage, mantel_haenszel, pairs
from loyalty.metrics.balance import covariate_balance
from loyalty.metrics.strata import COARSE, FINE, Cell, Grid, Moment, Stratum

FIRST = Stratum(rank=1, month=date(2026, 1, 1), currency="EUR", spend=10, gap=0, channel="")
SECOND = replace(FIRST, rank=2, gap=3)
THIRD = replace(FIRST, rank=3, gap=3)
NOTHING = (Moment(0, 0, 0),) * 4
STILL = Spread(customers=100, joined_squares=0, crossed=0, control_squares=0, placebo_customers=50, placebo_squares=0)


def cell(stratum: Stratum, *, joined: bool, trials: int, returned: int, placebo: tuple[int, int] = (0, 0)) -> Cell:
    return Cell(stratum, joined, trials, returned, placebo[0], placebo[1], NOTHING)


# First: 40 joins, 20 return; 80 controls, 24 return. Second: 10 joins, 8 return; 10 controls, 5 return.
CELLS = [
    cell(FIRST, joined=True, trials=40, returned=20),
    cell(FIRST, joined=False, trials=80, returned=24),
    cell(SECOND, joined=True, trials=10, returned=8, placebo=(10, 6)),
    cell(SECOND, joined=False, trials=10, returned=5, placebo=(8, 2)),
    cell(THIRD, joined=True, trials=7, returned=7),
]


def test_strata_are_weighted_by_their_joins() -> None:
    found = compare(CELLS, STILL, unlinkable_orders=0)
    assert isclose(found.contrast.joined_rate, 28 / 50)
    assert isclose(found.contrast.control_rate, (40 * 0.3 + 10 * 0.5) / 50)
    assert isclose(found.contrast.difference, 0.22)
    assert (found.contrast.joins, found.contrast.controls) == (50, 90)


def test_joins_without_controls_are_left_out_and_counted() -> None:
    found = coverage(CELLS)
    assert (found.joins, found.joins_with_controls, found.controls, found.strata) == (57, 50, 90, 2)
    assert found.overlap == 50 / 57


def test_few_joins_or_little_overlap_withhold_the_comparison() -> None:
    assert coverage(CELLS).withheld_because == "fewer_than_200_joins"
    many = [replace(one, trials=one.trials * 10, returned=one.returned * 10) for one in CELLS]
    assert coverage(many).withheld_because is None
    lonely = cell(THIRD, joined=True, trials=200, returned=7)
    assert coverage([*many, lonely]).withheld_because == "less_than_80_percent_of_joins_have_controls"
    assert coverage([]).withheld_because == "fewer_than_200_joins"
    assert coverage([]).overlap is None


def test_mantel_haenszel_weighs_by_information() -> None:
    above = (20 * 80 - 24 * 40) / 120 + (8 * 10 - 5 * 10) / 20
    below = 40 * 80 / 120 + 10 * 10 / 20
    assert isclose(mantel_haenszel(pairs(CELLS)), above / below)


def test_the_interval_comes_from_the_sums_of_influence_per_customer() -> None:
    spread = replace(STILL, joined_squares=9.0, crossed=1.0, control_squares=6.0)
    found = compare(CELLS, spread, unlinkable_orders=0)
    error = sqrt((9 - 2 + 6) / 50**2 * 100 / 99)
    assert isclose(found.contrast.standard_error, error)
    assert isclose(found.contrast.interval.low, 0.22 - 1.959963984540054 * error)


def test_the_risk_ratio_and_its_e_value() -> None:
    found = compare(CELLS, replace(STILL, joined_squares=9.0, crossed=1.0, control_squares=6.0), unlinkable_orders=0)
    assert found.risk_ratio is not None
    assert isclose(found.risk_ratio.value, 0.56 / 0.34)
    squares = 9 / 0.56**2 - 2 / (0.56 * 0.34) + 6 / 0.34**2
    error = sqrt(squares / 50**2 * 100 / 99)
    assert isclose(found.risk_ratio.interval.high, 0.56 / 0.34 * exp(1.959963984540054 * error))
    assert found.risk_ratio.e_value > found.risk_ratio.e_value_of_limit > 1


def test_no_ratio_to_controls_who_never_return() -> None:
    cells = [cell(FIRST, joined=True, trials=4, returned=2), cell(FIRST, joined=False, trials=4, returned=0)]
    assert compare(cells, STILL, unlinkable_orders=0).risk_ratio is None


def test_the_placebo_uses_trials_that_have_the_earlier_gap() -> None:
    found = compare(CELLS, replace(STILL, placebo_squares=4.0), unlinkable_orders=0).placebo
    assert found is not None
    assert isclose(found.contrast.difference, 0.6 - 0.25)
    assert (found.contrast.joins, found.contrast.controls) == (10, 8)
    assert isclose(found.contrast.standard_error, sqrt(4 / 100 * 50 / 49))
    assert isclose(found.detectable, 2.8015852 * found.contrast.standard_error, rel_tol=1e-6)
    assert compare(CELLS[:2], STILL, unlinkable_orders=0).placebo is None


def test_the_worst_case_gives_unlinkable_orders_to_the_heaviest_controls() -> None:
    # A control of the second stratum stands for one join, one of the first for half of one.
    assert isclose(compare(CELLS, STILL, unlinkable_orders=3).worst_case, (28 - 17 - 3) / 50)
    assert isclose(compare(CELLS, STILL, unlinkable_orders=7).worst_case, (28 - 17 - 5 - 2 * 0.5) / 50)
    assert isclose(compare(CELLS, STILL, unlinkable_orders=10**9).worst_case, (28 - 50) / 50)


def test_balance_before_and_after() -> None:
    def filled(one: Cell, moment: Moment) -> Cell:
        return replace(one, covariates=(moment,) * 4)

    cells = [
        filled(cell(FIRST, joined=True, trials=1, returned=0), Moment(1, 1, 1)),
        filled(cell(FIRST, joined=False, trials=3, returned=0), Moment(3, 3, 3)),
        filled(cell(SECOND, joined=True, trials=3, returned=0), Moment(3, 9, 27)),
        filled(cell(SECOND, joined=False, trials=1, returned=0), Moment(1, 3, 9)),
    ]
    first = covariate_balance(cells)[0]
    assert first.covariate == "rank"
    assert first.before is not None
    assert isclose(first.before, 1.0)
    assert first.after == 0
    assert not first.notable


def test_a_covariate_that_no_trial_has_gives_no_difference() -> None:
    assert [one.before for one in covariate_balance(CELLS)] == [None] * 4


@pytest.mark.parametrize("grid", [FINE, COARSE], ids=lambda grid: grid.name)
def test_classes_begin_in_rising_order(grid: Grid) -> None:
    for edges in (grid.rank_edges, grid.spend_edges, grid.gap_edges):
        assert list(edges) == sorted(set(edges))


def test_coarse_classes_are_unions_of_fine_ones() -> None:
    assert set(COARSE.rank_edges) <= set(FINE.rank_edges)
    assert set(COARSE.spend_edges) <= set(FINE.spend_edges)
    assert set(COARSE.gap_edges) <= set(FINE.gap_edges)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50), st.integers(1, 50)), min_size=1, max_size=8))
def test_equal_rates_in_every_stratum_differ_by_nothing(sizes: list[tuple[int, int, int]]) -> None:
    cells = []
    for rank, (joins, returned, factor) in enumerate(sizes):
        stratum = replace(FIRST, rank=rank)
        hits = min(joins, returned)
        cells.append(cell(stratum, joined=True, trials=joins, returned=hits))
        cells.append(cell(stratum, joined=False, trials=joins * factor, returned=hits * factor))
    found = compare(cells, STILL, unlinkable_orders=0)
    assert isclose(found.contrast.difference, 0, abs_tol=1e-12)
    assert isclose(found.mantel_haenszel, 0, abs_tol=1e-12)
    assert found.worst_case <= found.contrast.difference + 1e-12
