from dataclasses import dataclass

from loyalty.core.errors import Conflict, Invalid, NotFound


class AdjustmentNotFound(NotFound):
    """There is no such adjustment in this program."""


@dataclass(eq=False, kw_only=True)
class AdjustmentDiffers(Conflict):
    """An adjustment with this external id is recorded with other content."""

    adjustment_id: str


class DatesOutOfOrder(Invalid):
    """Points begin now or later, and expire after they begin."""


class LotHasNothingToExtend(Conflict):
    """This lot has no free points that could live longer."""


class LotHasNothingExpired(Conflict):
    """No points of this lot have expired, or all of them were reinstated."""


class ExtensionShortens(Invalid):
    """An extension ends later than the lot does now."""
