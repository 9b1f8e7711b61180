"""Intervals for proportions, their differences and ratios, and how strong an unmeasured cause would have to be."""

from dataclasses import dataclass
from math import exp, isclose, log, sqrt
from statistics import NormalDist

LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    method: str
    level: float
    low: float
    high: float

    def covers(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """`successes` out of `trials`, 0 <= successes <= trials."""

    successes: int
    trials: int

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.trials:
            raise ValueError(f"{self.successes} of {self.trials} is not a share")

    @property
    def value(self) -> float | None:
        return self.successes / self.trials if self.trials else None


def z_score(level: float) -> float:
    """Return the two-sided normal quantile: 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def wilson(share: Share, *, level: float = LEVEL) -> Bounds | None:
    """Return the score interval of one proportion (Wilson 1927); None for no trials.

    (p + z²/2n ± z √(pq/n + z²/4n²)) / (1 + z²/n). At 0 of n and n of n the outer limit is exactly 0 or 1.
    """
    n = share.trials
    if n == 0:
        return None
    z = z_score(level)
    p = share.successes / n
    scale = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / scale
    low = 0.0 if share.successes == 0 else max(0.0, centre - half)
    high = 1.0 if share.successes == n else min(1.0, centre + half)
    return Bounds(method="wilson", level=level, low=low, high=high)


def newcombe(first: Share, second: Share, *, level: float = LEVEL) -> Bounds | None:
    """Return the interval of `first - second` for independent groups: Newcombe's method 10 (1998)."""
    one, two = wilson(first, level=level), wilson(second, level=level)
    if one is None or two is None:
        return None
    p1, p2 = first.successes / first.trials, second.successes / second.trials
    low = p1 - p2 - sqrt((p1 - one.low) ** 2 + (two.high - p2) ** 2)
    high = p1 - p2 + sqrt((one.high - p1) ** 2 + (p2 - two.low) ** 2)
    return Bounds(method="newcombe_10", level=level, low=max(-1.0, low), high=min(1.0, high))


def normal(value: float, *, standard_error: float, method: str, level: float = LEVEL) -> Bounds:
    half = z_score(level) * standard_error
    return Bounds(method=method, level=level, low=value - half, high=value + half)


def log_normal(ratio: float, *, log_standard_error: float, method: str, level: float = LEVEL) -> Bounds:
    """Return the interval of a positive ratio, symmetric on the log scale."""
    half = z_score(level) * log_standard_error
    return Bounds(method=method, level=level, low=exp(log(ratio) - half), high=exp(log(ratio) + half))


def e_value(risk_ratio: float) -> float:
    """Return how strongly an unmeasured cause must go with both joining and returning to explain `risk_ratio`.

    RR + √(RR (RR - 1)), ratios below 1 inverted first (VanderWeele & Ding 2017).
    """
    if risk_ratio <= 0:
        raise ValueError("a risk ratio is positive")
    ratio = risk_ratio if risk_ratio >= 1 else 1 / risk_ratio
    return ratio + sqrt(ratio * (ratio - 1))


def e_value_of_limit(bounds: Bounds) -> float:
    """Return the E-value of the limit nearer to 1; 1 when the interval holds 1: then nothing needs explaining."""
    if bounds.covers(1):
        return 1.0
    return e_value(bounds.low if bounds.low > 1 else bounds.high)


def detectable(standard_error: float, *, level: float = LEVEL, power: float = 0.8) -> float:
    """Return the true size that a two-sided test finds with the given power: (z_level + z_power) standard errors."""
    return (z_score(level) + NormalDist().inv_cdf(power)) * standard_error


def standardised_difference(
    *, mean_first: float, mean_second: float, variance_first: float, variance_second: float
) -> float | None:
    """(m1 - m2) / √((v1 + v2) / 2) (Austin 2009); 0 for equal constants, None when unequal constants have no scale."""
    pooled = (variance_first + variance_second) / 2
    if pooled > 0:
        return (mean_first - mean_second) / sqrt(pooled)
    return 0.0 if isclose(mean_first, mean_second) else None
