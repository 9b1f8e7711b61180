from collections.abc import Sequence
from dataclasses import dataclass, replace

from loyalty.core.money import share
from loyalty.orders.rules import Line
from loyalty.programs.policies import Burn, Refund
from loyalty.tenders.errors import PointsAboveCeiling, PointsBelowFloor, PointsDoNotPay


@dataclass(frozen=True)
class Tender:
    """Points that pay `value_minor` of an order's `total_minor`."""

    points: int
    value_minor: int
    total_minor: int

    def on(self, lines: Sequence[Line]) -> list[Line]:
        """Return the lines, each with its part of what is paid with points."""
        return _spread(lines, self.value_minor)


@dataclass(frozen=True)
class Offer:
    """From how many to how many points may pay for an order, and what the most are worth."""

    least: int
    most: int
    most_minor: int


@dataclass(frozen=True)
class Refunded:
    """What of a tender has gone back."""

    points: int
    value_minor: int


def offer(burn: Burn, *, currency: str, lines: Sequence[Line], spendable: int) -> Offer | None:
    """Return what a member with so many points may pay with; None where points pay for nothing."""
    rate = burn.rates.get(currency)
    if rate is None:
        return None
    least = max(burn.least_points, rate.least_for(1))
    payable = sum(line.total_minor for line in lines) * burn.most_percent // 100
    worth = rate.value_of(min(spendable, rate.most_within(payable)))
    most = rate.least_for(worth)
    return Offer(least, most, worth) if most >= least else None


def tender(burn: Burn, *, currency: str, lines: Sequence[Line], points: int) -> Tender:
    """Return what points pay for an order; the value is rounded down to the currency's minor unit.

    Raises PointsDoNotPay, PointsBelowFloor, PointsAboveCeiling.
    """
    rate = burn.rates.get(currency)
    if rate is None:
        raise PointsDoNotPay
    least = max(burn.least_points, rate.least_for(1))
    if points < least:
        raise PointsBelowFloor(least=least)
    total = sum(line.total_minor for line in lines)
    most = rate.most_within(total * burn.most_percent // 100)
    if points > most:
        raise PointsAboveCeiling(most=most)
    return Tender(points, rate.value_of(points), total)


def refunded(paid: Tender, *, returned_minor: int, by: Refund) -> Refunded:
    """Return what of a tender has gone back once so much of the order was returned, in however many parts."""
    match by:
        case Refund.PROPORTIONAL:
            left = paid.value_minor * (paid.total_minor - returned_minor) // paid.total_minor
            value = paid.value_minor - left
        case Refund.MONEY_FIRST:
            value = max(0, returned_minor - (paid.total_minor - paid.value_minor))
        case Refund.POINTS_FIRST:
            value = min(paid.value_minor, returned_minor)
    return Refunded(paid.points * value // paid.value_minor, value)


def left_on(paid: Tender, lines: Sequence[Line], *, by: Refund) -> list[Line]:
    """Return what is left of an order's lines, each with its part of what is still paid with points."""
    returned = paid.total_minor - sum(line.total_minor for line in lines)
    return _spread(lines, paid.value_minor - refunded(paid, returned_minor=returned, by=by).value_minor)


def _spread(lines: Sequence[Line], value_minor: int) -> list[Line]:
    parts = share(value_minor, weights=[line.total_minor for line in lines])
    return [replace(line, points_minor=part) for line, part in zip(lines, parts, strict=True)]
