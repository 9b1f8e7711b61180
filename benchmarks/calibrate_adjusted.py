"""Check that the adjusted comparison finds nothing where there is nothing.

Membership is invented at random on real purchases (CDNOW), so its true effect is 0: `random` joins with 15 % of the
orders, `heavy` more often the more and the dearer somebody has bought, `intent` more often those who will return, which
no adjustment on the past can remove. Prints bias, spread and coverage over many seeds.

    python benchmarks/calibrate_adjusted.py random 1000

The estimate is that of `loyalty.metrics.adjusted`; only the counting of trials is repeated here, in memory, and a test
holds it to the SQL. The bias is measured with a control variate: the estimate's linear form around the expected strata
has a known mean, so most of the noise between seeds cancels.
"""

import random
import sys
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from math import log2, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from loyalty.metrics.adjusted import GRACE_DAYS, HORIZON_DAYS, Spread, compare, coverage
from loyalty.metrics.strata import FINE, Cell, Grid, Stratum

CURRENCY = "USD"
DATA_COMPLETE_UNTIL = date(1998, 7, 1)


class Purchase(NamedTuple):
    customer: str
    day: date
    total_minor: int


class Trial(NamedTuple):
    """`counts` is false where the trial is immature or has a purchase inside the grace; it can still be joined at."""

    counts: bool
    stratum: int
    returned: int
    short_before: int | None
    rank: int
    spend: float


@dataclass(frozen=True)
class World:
    """Customers as their orders' would-be trials, in time order."""

    customers: list[list[Trial]]
    strata: list[Stratum]
    returners: list[bool]


class Tally(NamedTuple):
    cells: list[Cell]
    spread: Spread


def cdnow() -> Path:
    spec = find_spec("lifetimes")
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit("install the demo extra: the purchases travel inside the lifetimes wheel")
    return Path(spec.submodule_search_locations[0]) / "datasets" / "CDNOW_master.txt"


def purchases(path: Path) -> list[Purchase]:
    """Read the file; purchases of a customer keep its order within a day."""
    rows = (line.split() for line in path.read_text().splitlines()[1:])
    return sorted(
        (Purchase(row[0], date.fromisoformat(row[1]), round(float(row[3]) * 100)) for row in rows),
        key=lambda one: (one.customer, one.day),
    )


def world(bought: Iterable[Purchase], *, grid: Grid, until: date) -> World:
    by_customer: defaultdict[str, list[Purchase]] = defaultdict(list)
    for purchase in bought:
        by_customer[purchase.customer].append(purchase)
    numbers: dict[Stratum, int] = {}
    customers = [trials_of(orders, grid=grid, until=until, numbers=numbers) for orders in by_customer.values()]
    returners = [len({order.day for order in orders}) > 1 for orders in by_customer.values()]
    return World(customers=customers, strata=list(numbers), returners=returners)


def trials_of(orders: Sequence[Purchase], *, grid: Grid, until: date, numbers: dict[Stratum, int]) -> list[Trial]:
    days = sorted({order.day for order in orders})
    place = {day: index for index, day in enumerate(days)}
    found = []
    spent = 0
    for rank, order in enumerate(orders, start=1):
        spent += order.total_minor
        at = place[order.day]
        gap = (order.day - days[at - 1]).days if at else 0
        wait = (days[at + 1] - order.day).days if at + 1 < len(days) else None
        inside_grace = wait is not None and wait <= GRACE_DAYS
        stratum = Stratum(
            rank=bisect_right(grid.rank_edges, rank),
            month=order.day.replace(day=1),
            currency=CURRENCY,
            spend=bisect_right(grid.spend_edges, spent // rank),
            gap=bisect_right(grid.gap_edges, gap),
            channel="",
        )
        found.append(
            Trial(
                counts=(until - order.day).days > GRACE_DAYS + HORIZON_DAYS and not inside_grace,
                stratum=numbers.setdefault(stratum, len(numbers)),
                returned=int(wait is not None and wait <= GRACE_DAYS + HORIZON_DAYS),
                short_before=int((days[at - 1] - days[at - 2]).days <= HORIZON_DAYS) if at > 1 else None,
                rank=rank,
                spend=spent / rank,
            )
        )
    return found


def joining(trial: Trial, *, scenario: str) -> float:
    """Return the chance that the order's customer joins with it."""
    if scenario == "random":
        return 0.15
    if scenario == "heavy":
        return min(0.6, 0.03 + 0.03 * trial.rank + 0.04 * max(0.0, log2(max(trial.spend, 1) / 2_500)))
    if scenario == "intent":
        return 0.25 if trial.returned else 0.10
    raise SystemExit(f"no scenario {scenario}")


def draw(chances: Sequence[Sequence[float]], *, seed: int) -> list[int | None]:
    """At which of their orders customers join, None for never."""
    uniform = random.Random(seed).random
    return [next((at for at, chance in enumerate(row) if uniform() < chance), None) for row in chances]


def tally(of: World, joined_at: Sequence[int | None]) -> Tally:
    """Count the trials and sum the influence per customer, as the SQL does."""
    size = len(of.strata)
    n, y, m, z = ([[0] * size, [0] * size] for _ in range(4))
    for trials, at in zip(of.customers, joined_at, strict=True):
        for index, trial in enumerate(trials if at is None else trials[: at + 1]):
            if trial.counts:
                arm = int(index == at)
                n[arm][trial.stratum] += 1
                y[arm][trial.stratum] += trial.returned
                if trial.short_before is not None:
                    m[arm][trial.stratum] += 1
                    z[arm][trial.stratum] += trial.short_before
    cells = [
        Cell(stratum, bool(arm), n[arm][s], y[arm][s], m[arm][s], z[arm][s], ())
        for s, stratum in enumerate(of.strata)
        for arm in (0, 1)
        if n[arm][s]
    ]
    return Tally(cells, spread(of, joined_at, n=n, y=y, m=m, z=z))


def spread(
    of: World,
    joined_at: Sequence[int | None],
    *,
    n: list[list[int]],
    y: list[list[int]],
    m: list[list[int]],
    z: list[list[int]],
) -> Spread:
    both = [s for s in range(len(of.strata)) if n[0][s] and n[1][s]]
    held = [s for s in both if m[0][s] and m[1][s]]
    p0 = {s: y[0][s] / n[0][s] for s in both}
    q0 = {s: z[0][s] / m[0][s] for s in held}
    weight = {s: n[1][s] / n[0][s] * sqrt(n[0][s] / max(n[0][s] - 1, 1)) for s in both}
    placebo_weight = {s: m[1][s] / m[0][s] * sqrt(m[0][s] / max(m[0][s] - 1, 1)) for s in held}
    share = {s: sqrt(n[0][s] / (n[0][s] + 1)) if n[0][s] > 1 else 1.0 for s in both}
    placebo_share = {s: sqrt(m[0][s] / (m[0][s] + 1)) if m[0][s] > 1 else 1.0 for s in held}
    joins = sum(n[1][s] for s in both)
    a = sum(y[1][s] for s in both) / joins
    b = sum(n[1][s] * p0[s] for s in both) / joins
    placebo_joins = sum(m[1][s] for s in held)
    c = sum(z[1][s] - m[1][s] * q0[s] for s in held) / placebo_joins if placebo_joins else 0.0
    customers = placebo_customers = 0
    squares = crossed = control_squares = placebo_squares = 0.0
    for trials, at in zip(of.customers, joined_at, strict=True):
        on_joined = on_control = on_placebo = 0.0
        seen = seen_placebo = False
        for index, trial in enumerate(trials if at is None else trials[: at + 1]):
            s = trial.stratum
            if not trial.counts or s not in p0:
                continue
            seen = True
            if index == at:
                on_joined += share[s] * (trial.returned - a)
                on_control += share[s] * (p0[s] - b)
            else:
                on_control += weight[s] * (trial.returned - p0[s])
            if trial.short_before is not None and s in q0:
                seen_placebo = True
                off = trial.short_before - q0[s]
                on_placebo += placebo_share[s] * (off - c) if index == at else -placebo_weight[s] * off
        customers += seen
        placebo_customers += seen_placebo
        squares += on_joined**2
        crossed += on_joined * on_control
        control_squares += on_control**2
        placebo_squares += on_placebo**2
    return Spread(customers, squares, crossed, control_squares, placebo_customers, placebo_squares)


@dataclass(frozen=True)
class Expected:
    """The strata that a scenario gives on average, and the estimate's linear form around them."""

    joins: float
    rates: list[float]
    weights: list[float]
    bias: float

    def linear(self, cells: Iterable[Cell], *, numbers: dict[Stratum, int]) -> float:
        total = 0.0
        for cell in cells:
            s = numbers[cell.stratum]
            total += (1 if cell.joined else -self.weights[s]) * (cell.returned - self.rates[s] * cell.trials)
        return total / self.joins


def expected(of: World, chances: Sequence[Sequence[float]]) -> Expected:
    size = len(of.strata)
    n, y = ([[0.0] * size, [0.0] * size] for _ in range(2))
    for trials, row in zip(of.customers, chances, strict=True):
        still = 1.0
        for trial, chance in zip(trials, row, strict=True):
            if trial.counts:
                for arm, share in ((1, still * chance), (0, still * (1 - chance))):
                    n[arm][trial.stratum] += share
                    y[arm][trial.stratum] += share * trial.returned
            still *= 1 - chance
    rates = [y0 / n0 if n0 else 0.0 for y0, n0 in zip(y[0], n[0], strict=True)]
    joins = sum(n[1])
    return Expected(
        joins=joins,
        rates=rates,
        weights=[n1 / n0 if n0 else 0.0 for n1, n0 in zip(n[1], n[0], strict=True)],
        bias=sum(y1 - rate * n1 for y1, rate, n1 in zip(y[1], rates, n[1], strict=True)) / joins,
    )


def naive(of: World, joined_at: Sequence[int | None]) -> float:
    members = [again for again, at in zip(of.returners, joined_at, strict=True) if at is not None]
    others = [again for again, at in zip(of.returners, joined_at, strict=True) if at is None]
    return fmean(members) - fmean(others)


def main(scenario: str, seeds: int, *, grid: Grid = FINE) -> None:
    of = world(purchases(cdnow()), grid=grid, until=DATA_COMPLETE_UNTIL)
    chances = [[joining(trial, scenario=scenario) for trial in trials] for trials in of.customers]
    mean = expected(of, chances)
    numbers = {stratum: s for s, stratum in enumerate(of.strata)}
    began = time.monotonic()
    runs = []
    for seed in range(seeds):
        joined_at = draw(chances, seed=seed)
        cells, spread_found = tally(of, joined_at)
        found = compare(cells, spread_found, unlinkable_orders=0)
        size = coverage(cells)
        corrected = found.contrast.difference - mean.linear(cells, numbers=numbers) + mean.bias
        runs.append((found, size, corrected, naive(of, joined_at)))
    points = [100 * found.contrast.difference for found, *_ in runs]
    corrected_points = [100 * corrected for *_, corrected, _ in runs]
    errors = [100 * found.contrast.standard_error for found, *_ in runs]
    placebos = [found.placebo.contrast for found, *_ in runs if found.placebo]
    print(f"{scenario}: {seeds} seeds, {len(of.customers)} customers, {len(of.strata)} strata ({grid.name})")
    print(f"  joins {fmean(size.joins for _, size, *_ in runs):.0f}", end=", ")
    print(f"overlap {fmean(size.overlap or 0 for _, size, *_ in runs):.3f}")
    print(f"  mean estimate {fmean(points):+.3f} pp, standard deviation {stdev(points):.3f}", end=", ")
    print(f"mean standard error {fmean(errors):.3f}")
    print(f"  bias {fmean(corrected_points):+.3f} pp (± {1.96 * stdev(corrected_points) / sqrt(seeds):.3f})", end=", ")
    print(f"of that by the strata's width {100 * mean.bias:+.3f}")
    print(f"  interval holds 0 in {fmean(found.contrast.interval.covers(0) for found, *_ in runs):.4f}", end=", ")
    print(f"placebo's in {fmean(one.interval.covers(0) for one in placebos):.4f}")
    print(f"  Mantel-Haenszel {100 * fmean(found.mantel_haenszel for found, *_ in runs):+.3f} pp", end=", ")
    print(f"naive {100 * fmean(value for *_, value in runs):+.1f} pp, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
