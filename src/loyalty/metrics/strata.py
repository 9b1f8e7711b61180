"""Strata of comparable trials, and what is counted in each.

The covariates of a trial are known at its order; classes are fixed, not quantiles, so that a stratum means the same in
every program and every run and no sampling error enters through its edges.
"""

from dataclasses import dataclass
from datetime import date
from math import isqrt

ROUNDING = 1e-12

COVARIATES = ("rank", "log_spend_per_order", "mean_gap_days", "days_since_previous")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Where classes begin: the order's rank, mean spend per order so far (minor units), days since the last purchase.

    A value below the first edge is in class 0 (a first purchase has no gap), one at edge k or above in class k or more.
    Spend grows by a constant factor, because it is roughly log-normal in any currency: the bulk of doubling classes are
    about five, and five classes remove some 90 % of a covariate's bias (Cochran 1968).
    """

    name: str
    rank_edges: tuple[int, ...]
    spend_edges: tuple[int, ...]
    gap_edges: tuple[int, ...]


# A week, a fortnight, a month, then doubling.
GAP_EDGES = (1, 8, 15, 31, 61, 121)
SPEND_POWERS = 54

# The coarse grid leaves some 0.1 to 0.3 points of bias when heavy buyers join more, because joining and returning both
# still rise with rank and spend inside its classes, which are unions of the fine ones. It serves programs so small that
# the fine grid would leave joins without controls: there the standard error is far larger than that bias.
FINE = Grid(
    name="fine",
    rank_edges=(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30),
    spend_edges=tuple(sorted({isqrt(2**k) for k in range(2 * SPEND_POWERS)})),
    gap_edges=GAP_EDGES,
)
COARSE = Grid(
    name="coarse",
    rank_edges=(1, 2, 3, 4, 6, 10),
    spend_edges=tuple(2**k for k in range(SPEND_POWERS)),
    gap_edges=GAP_EDGES,
)
FINE_OVERLAP = 0.9


@dataclass(frozen=True, slots=True)
class Stratum:
    """Classes by a `Grid`; `month` is the local month of the order."""

    rank: int
    month: date
    currency: str
    spend: int
    gap: int
    channel: str


@dataclass(frozen=True, slots=True)
class Moment:
    """Count, sum and sum of squares of a covariate."""

    count: int
    total: float
    squares: float

    def __add__(self, other: "Moment") -> "Moment":
        return Moment(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        return self.total / self.count

    @property
    def variance(self) -> float:
        if self.count == 1:
            return 0.0
        spread = self.squares - self.total**2 / self.count
        # What rounding leaves of a constant is no spread.
        return spread / (self.count - 1) if spread > ROUNDING * self.squares else 0.0


@dataclass(frozen=True, slots=True)
class Cell:
    """The trials of one arm in one stratum, and those that have a gap before their previous gap (`placebo_trials`)."""

    stratum: Stratum
    joined: bool
    trials: int
    returned: int
    placebo_trials: int
    placebo_short: int
    covariates: tuple[Moment, ...]
