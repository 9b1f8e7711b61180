"""How alike joiners and their controls are in what is known of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from loyalty.metrics.adjusted import Pair, pairs
from loyalty.metrics.intervals import standardised_difference
from loyalty.metrics.strata import COVARIATES, Cell, Moment

NOTABLE_IMBALANCE = 0.1


@dataclass(frozen=True, slots=True)
class Balance:
    """Standardised difference, joiners less controls, before and after stratification; None where it has no scale."""

    covariate: str
    before: float | None
    after: float | None

    @property
    def notable(self) -> bool:
        return self.after is not None and abs(self.after) > NOTABLE_IMBALANCE


def covariate_balance(cells: Sequence[Cell]) -> list[Balance]:
    """Return one `Balance` per covariate.

    Both differences use the scale of before, so that they can be compared (Austin 2009; Stuart 2010).
    """
    compared = pairs(cells)
    return [_balance(cells, compared, index=index) for index in range(len(COVARIATES))]


def _balance(cells: Sequence[Cell], compared: Sequence[Pair], *, index: int) -> Balance:
    none = Moment(0, 0.0, 0.0)
    first = sum((cell.covariates[index] for cell in cells if cell.joined), start=none)
    second = sum((cell.covariates[index] for cell in cells if not cell.joined), start=none)
    after = [pair for pair in compared if pair.joined.covariates[index].count and pair.controls.covariates[index].count]
    if not (first.count and second.count and after):
        return Balance(COVARIATES[index], None, None)

    def difference(mean_first: float, mean_second: float) -> float | None:
        return standardised_difference(
            mean_first=mean_first,
            mean_second=mean_second,
            variance_first=first.variance,
            variance_second=second.variance,
        )

    joins = sum(pair.joined.covariates[index].count for pair in after)
    mean_joined = sum(pair.joined.covariates[index].total for pair in after) / joins
    mean_control = (
        sum(pair.joined.covariates[index].count * pair.controls.covariates[index].mean for pair in after) / joins
    )
    return Balance(COVARIATES[index], difference(first.mean, second.mean), difference(mean_joined, mean_control))
