from dataclasses import dataclass

from loyalty.core.errors import Conflict, NotFound


class OrderNotFound(NotFound):
    """There is no such order in this program."""


@dataclass(eq=False, kw_only=True)
class OrderDiffers(Conflict):
    """An order with this external id was recorded with other content."""

    order_id: str


@dataclass(eq=False, kw_only=True)
class CurrencyNotAccepted(Conflict):
    """This program does not accept the currency."""

    currency: str
    accepted: list[str]


@dataclass(eq=False, kw_only=True)
class PlacedOutOfTime(Conflict):
    """The order was placed in the future, or longer ago than this program accepts."""

    earliest: str
    latest: str


class OrderAlreadyPaid(Conflict):
    """This order was paid already."""


class PaidBeforePlaced(Conflict):
    """An order cannot be paid before it was placed."""
