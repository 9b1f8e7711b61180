"""The calibration in `benchmarks/` counts trials in memory; here it is held to the SQL, and its bias to the strata."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert

from loyalty.core import ids
from loyalty.members.models import Member
from loyalty.metrics import trials as trial_queries
from loyalty.metrics.adjusted import GRACE_DAYS, HORIZON_DAYS, compare
from loyalty.metrics.strata import COARSE, FINE, Cell, Grid
from loyalty.metrics.windows import Window
from loyalty.orders.models import Order

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from types import ModuleType

    from tests.metrics.conftest import OpenShop, Shop

    from loyalty.metrics.rules import Trials

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "calibrate_adjusted.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = spec_from_file_location("calibrate_adjusted", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bought(bench: ModuleType) -> list[Any]:
    try:
        path = bench.cdnow()
    except SystemExit as missing:
        pytest.skip(str(missing))
    every: list[Any] = bench.purchases(path)
    return every


async def load(shop: Shop, bought: Sequence[Any], joined_at: Sequence[int | None]) -> None:
    customers = list(dict.fromkeys(one.customer for one in bought))
    people = dict(zip(customers, await shop.customers(len(customers)), strict=True))
    orders: list[dict[str, Any]] = []
    of: dict[str, list[dict[str, Any]]] = {customer: [] for customer in customers}
    for one in bought:
        order_id = ids.new()
        at = shop.at(one.day.isoformat())
        row = {
            "program_id": shop.program_id,
            "id": order_id,
            "external_id": order_id.hex,
            "customer_id": people[one.customer],
            "content_digest": b"",
            "currency": "USD",
            "total_minor": one.total_minor,
            "placed_at": at,
            "recorded_at": at,
            "paid_at": at,
            "payment_recorded_at": at,
            "paid_when_placed": True,
            "imported": True,
        }
        orders.append(row)
        of[one.customer].append(row)
    joins = [
        (of[customer][at], people[customer])
        for customer, at in zip(customers, joined_at, strict=True)
        if at is not None
    ]
    members = [
        {
            "program_id": shop.program_id,
            "id": customer_id,
            "enrolled_at": row["placed_at"],
            "recorded_at": row["placed_at"],
            "enrolment_external_order_id": row["external_id"],
            "status": "active",
        }
        for row, customer_id in joins
    ]
    await shop.session.execute(insert(Order), orders)
    await shop.session.execute(insert(Member), members)


async def counted(shop: Shop, *, grid: Grid, until: date) -> Trials:
    first = until.replace(year=until.year - 2)
    return await trial_queries.find_trials(
        shop.session,
        view=shop.view(until.isoformat()),
        window=Window(first=first, end=until, zone=shop.zone),
        grid=grid,
        grace_days=GRACE_DAYS,
        horizon_days=HORIZON_DAYS,
    )


def bare(cells: Sequence[Cell]) -> set[tuple[Any, ...]]:
    return {(c.stratum, c.joined, c.trials, c.returned, c.placebo_trials, c.placebo_short) for c in cells}


async def test_the_sql_and_the_calibration_count_the_same(
    open_shop: OpenShop, bench: ModuleType, bought: list[Any]
) -> None:
    shop = await open_shop("America/New_York")
    some = [one for one in bought if int(one.customer) % 16 == 0]
    until = bench.DATA_COMPLETE_UNTIL
    of = bench.world(some, grid=FINE, until=until)
    chances = [[bench.joining(trial, scenario="heavy") for trial in trials] for trials in of.customers]
    joined_at = bench.draw(chances, seed=1)
    await load(shop, some, joined_at)
    for grid in (FINE, COARSE):
        expected = bench.tally(bench.world(some, grid=grid, until=until), joined_at)
        found = await counted(shop, grid=grid, until=until)
        assert bare(found.cells) == bare(expected.cells)
        one = compare(found.cells, found.spread, unlinkable_orders=0)
        two = compare(expected.cells, expected.spread, unlinkable_orders=0)
        assert isclose(one.contrast.difference, two.contrast.difference, abs_tol=1e-9)
        assert isclose(one.contrast.standard_error, two.contrast.standard_error, abs_tol=1e-9)
        assert one.risk_ratio is not None
        assert two.risk_ratio is not None
        assert isclose(one.risk_ratio.interval.low, two.risk_ratio.interval.low, abs_tol=1e-9)
        assert one.placebo is not None
        assert two.placebo is not None
        assert isclose(one.placebo.contrast.difference, two.placebo.contrast.difference, abs_tol=1e-9)
        assert isclose(one.placebo.contrast.standard_error, two.placebo.contrast.standard_error, abs_tol=1e-9)


@pytest.mark.parametrize("scenario", ["random", "heavy"])
def test_fine_strata_leave_no_bias_to_speak_of(bench: ModuleType, bought: list[Any], scenario: str) -> None:
    of = bench.world(bought, grid=FINE, until=bench.DATA_COMPLETE_UNTIL)
    chances = [[bench.joining(trial, scenario=scenario) for trial in trials] for trials in of.customers]
    assert abs(bench.expected(of, chances).bias) <= 0.0005


def test_hidden_intent_is_beyond_any_strata(bench: ModuleType, bought: list[Any]) -> None:
    of = bench.world(bought, grid=FINE, until=bench.DATA_COMPLETE_UNTIL)
    chances = [[bench.joining(trial, scenario="intent") for trial in trials] for trials in of.customers]
    assert bench.expected(of, chances).bias > 0.2
