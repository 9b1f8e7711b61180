"""Members beside comparable non-members: trials indexed by order, compared within strata.

Every counted order of somebody who is not yet a member opens a trial; its customer either joins with that order or does
not. Both arms so have the same time zero, and only trials of one stratum are compared. What remains is that joiners may
have meant to return anyway: nothing here removes that, so the result is an association.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

from loyalty.metrics.intervals import (
    Bounds,
    detectable,
    e_value,
    e_value_of_limit,
    log_normal,
    normal,
)
from loyalty.metrics.strata import Cell, Stratum

GRACE_DAYS = 1
HORIZON_DAYS = 90

MINIMUM_JOINS = 200
MINIMUM_OVERLAP = 0.8


@dataclass(frozen=True, slots=True)
class Spread:
    """Sums over customers of the squared (and crossed) sums of influence, see `Comparison`; scaled by the joins.

    `customers` have a trial in a compared stratum; `placebo_customers` one with a placebo outcome.
    """

    customers: int
    joined_squares: float
    crossed: float
    control_squares: float
    placebo_customers: int
    placebo_squares: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Both arms of a stratum; only strata with both are compared."""

    stratum: Stratum
    joined: Cell
    controls: Cell

    @property
    def weight(self) -> float:
        """How many joins each control stands for."""
        return self.joined.trials / self.controls.trials

    @property
    def placebo_weight(self) -> float:
        return self.joined.placebo_trials / self.controls.placebo_trials


@dataclass(frozen=True, slots=True)
class Contrast:
    """The mean outcome of those who joined, and of their controls weighted to the joiners' strata."""

    joins: int
    controls: int
    joined_rate: float
    control_rate: float
    variance: float

    @property
    def difference(self) -> float:
        return self.joined_rate - self.control_rate

    @property
    def standard_error(self) -> float:
        return sqrt(self.variance)

    @property
    def interval(self) -> Bounds:
        return normal(self.difference, standard_error=self.standard_error, method="influence_clustered_by_customer")


@dataclass(frozen=True, slots=True)
class RiskRatio:
    value: float
    interval: Bounds

    @property
    def e_value(self) -> float:
        return e_value(self.value)

    @property
    def e_value_of_limit(self) -> float:
        return e_value_of_limit(self.interval)


@dataclass(frozen=True, slots=True)
class Placebo:
    contrast: Contrast

    @property
    def detectable(self) -> float:
        return detectable(self.contrast.standard_error)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The effect on those who joined, if joiners and controls of a stratum differ in nothing else.

    The estimate is Σ_s (n1_s / N1) (p1_s - p0_s) over strata with controls: A - B, with A the rate of the joiners and B
    the rate of the controls standardised to them. Its influence function, strata sizes being random (the plug-in
    estimate of an average effect on the treated, Hahn 1998; Lunceford & Davidian 2004), gives a trial with outcome y

        to A:  f_s (y - A) / N1 if joined       else 0
        to B:  f_s (p0_s - B) / N1 if joined    else g_s (n1_s / n0_s) (y - p0_s) / N1

    summed per customer, squared, summed, times C / (C - 1) for C customers (Liang & Zeger 1986). f and g account for
    p0_s being an estimate: g_s = √(n0_s / (n0_s - 1)), as a residual from one's own mean is too small (HC2, MacKinnon &
    White 1985), f_s = √(n0_s / (n0_s + 1)), as one from another group's mean is too large. Without a difference, the
    squares of a stratum are then expected to sum to its variance, pq (n1_s + n1_s² / n0_s). One control alone leaves no
    residual: there f = g = 1, right for one join. p1_s is not subtracted: strata with one join would look free of
    error.
    """

    contrast: Contrast
    risk_ratio: RiskRatio | None
    mantel_haenszel: float
    placebo: Placebo | None
    worst_case: float


@dataclass(frozen=True, slots=True)
class Coverage:
    joins: int
    joins_with_controls: int
    controls: int
    strata: int

    @property
    def overlap(self) -> float | None:
        return self.joins_with_controls / self.joins if self.joins else None

    @property
    def withheld_because(self) -> str | None:
        """Why no comparison is shown; None when one is."""
        if self.joins < MINIMUM_JOINS:
            return "fewer_than_200_joins"
        if self.joins_with_controls < MINIMUM_OVERLAP * self.joins:
            return "less_than_80_percent_of_joins_have_controls"
        return None


def pairs(cells: Iterable[Cell]) -> list[Pair]:
    """Return the strata that hold both arms, in the order of their first cell."""
    arms: defaultdict[Stratum, dict[bool, Cell]] = defaultdict(dict)
    for cell in cells:
        arms[cell.stratum][cell.joined] = cell
    return [Pair(stratum, arm[True], arm[False]) for stratum, arm in arms.items() if len(arm) > 1]


def coverage(cells: Sequence[Cell]) -> Coverage:
    compared = pairs(cells)
    return Coverage(
        joins=sum(cell.trials for cell in cells if cell.joined),
        joins_with_controls=sum(pair.joined.trials for pair in compared),
        controls=sum(pair.controls.trials for pair in compared),
        strata=len(compared),
    )


def compare(cells: Sequence[Cell], spread: Spread, *, unlinkable_orders: int) -> Comparison:
    """Compare the arms; `unlinkable_orders` are guest orders that may be anybody's return.

    At least one stratum must hold both arms.
    """
    compared = pairs(cells)
    contrast = outcome_contrast(compared, spread)
    return Comparison(
        contrast=contrast,
        risk_ratio=risk_ratio(contrast, spread),
        mantel_haenszel=mantel_haenszel(compared),
        placebo=placebo(compared, spread),
        worst_case=worst_case(compared, unlinkable_orders=unlinkable_orders),
    )


def outcome_contrast(compared: Sequence[Pair], spread: Spread) -> Contrast:
    joins = sum(pair.joined.trials for pair in compared)
    squares = spread.joined_squares - 2 * spread.crossed + spread.control_squares
    return Contrast(
        joins=joins,
        controls=sum(pair.controls.trials for pair in compared),
        joined_rate=sum(pair.joined.returned for pair in compared) / joins,
        control_rate=sum(pair.weight * pair.controls.returned for pair in compared) / joins,
        variance=clustered(squares, joins=joins, customers=spread.customers),
    )


def clustered(squares: float, *, joins: int, customers: int) -> float:
    if customers < 2:  # noqa: PLR2004 - one cluster has no spread
        return 0.0
    return max(0.0, squares) / joins**2 * customers / (customers - 1)


def risk_ratio(contrast: Contrast, spread: Spread) -> RiskRatio | None:
    """Return A / B, its interval on the log scale by the delta method; None when a rate is zero."""
    a, b = contrast.joined_rate, contrast.control_rate
    if a <= 0 or b <= 0:
        return None
    squares = spread.joined_squares / a**2 - 2 * spread.crossed / (a * b) + spread.control_squares / b**2
    error = sqrt(clustered(squares, joins=contrast.joins, customers=spread.customers))
    return RiskRatio(a / b, log_normal(a / b, log_standard_error=error, method="influence_clustered_by_customer_log"))


def mantel_haenszel(compared: Sequence[Pair]) -> float:
    """Return Σ (x1 n0 - x0 n1) / n over Σ n1 n0 / n (Greenland & Robins 1985).

    It weighs strata by their information, not by their joins, hence speaks of other people than the headline does when
    the difference is not the same in all strata.
    """
    above = below = 0.0
    for pair in compared:
        n1, n0 = pair.joined.trials, pair.controls.trials
        above += (pair.joined.returned * n0 - pair.controls.returned * n1) / (n1 + n0)
        below += n1 * n0 / (n1 + n0)
    return above / below


def placebo(compared: Sequence[Pair], spread: Spread) -> Placebo | None:
    """Repeat the comparison for what joining cannot have caused: that the gap before the previous one was short.

    None when no compared join has such a gap (it needs three purchase days). Passing does not rule out a difference in
    intent.
    """
    held = [pair for pair in compared if pair.joined.placebo_trials and pair.controls.placebo_trials]
    joins = sum(pair.joined.placebo_trials for pair in held)
    if joins == 0:
        return None
    return Placebo(
        Contrast(
            joins=joins,
            controls=sum(pair.controls.placebo_trials for pair in held),
            joined_rate=sum(pair.joined.placebo_short for pair in held) / joins,
            control_rate=sum(pair.placebo_weight * pair.controls.placebo_short for pair in held) / joins,
            variance=clustered(spread.placebo_squares, joins=joins, customers=spread.placebo_customers),
        )
    )


def worst_case(compared: Sequence[Pair], *, unlinkable_orders: int) -> float:
    """Return the difference if each unlinkable order were the missing return of a control, the heaviest first.

    One order can complete one trial at most: two unreturned trials of a customer lie further apart than the horizon.
    """
    joins = sum(pair.joined.trials for pair in compared)
    control = sum(pair.weight * pair.controls.returned for pair in compared)
    left = unlinkable_orders
    for pair in sorted(compared, key=lambda one: one.weight, reverse=True):
        turned = min(left, pair.controls.trials - pair.controls.returned)
        control += pair.weight * turned
        left -= turned
    return (sum(pair.joined.returned for pair in compared) - control) / joins
