from dataclasses import dataclass

from loyalty.core.errors import Conflict


class PointsDoNotPay(Conflict):
    """Points do not pay for orders in this currency."""


class PointsNeedAMember(Conflict):
    """Only a member's order can be paid with points."""


@dataclass(eq=False, kw_only=True)
class PointsBelowFloor(Conflict):
    """So few points do not pay for anything."""

    least: int


@dataclass(eq=False, kw_only=True)
class PointsAboveCeiling(Conflict):
    """So many points are worth more than may be paid with points for this order."""

    most: int


class PointsBesideGiftCard(Conflict):
    """Points and a gift card do not pay for one order together."""
