from dataclasses import dataclass

from loyalty.core.errors import Conflict, Invalid, NotFound


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


class OrderCancelled(Conflict):
    """This order was cancelled."""


class OrderAlreadyDelivered(Conflict):
    """This order was delivered already."""


class ReturnNotFound(NotFound):
    """There is no such return in this program."""


@dataclass(eq=False, kw_only=True)
class ReturnDiffers(Conflict):
    """A return with this external id is recorded with other content."""

    return_id: str


@dataclass(frozen=True)
class LineLeft:
    """What of an order's line can still be returned; amounts in the order's currency."""

    line: int
    quantity: int
    total_minor: int


@dataclass(eq=False, kw_only=True)
class ReturnExceedsOrder(Conflict):
    """More is returned than was bought and not yet returned; what is left is told by line."""

    left: list[LineLeft]


@dataclass(eq=False, kw_only=True)
class OrderTooLarge(Conflict):
    """With these lines the order has too many, or its total passes 2^53 - 1."""

    most_lines: int


class ReturnedBeforePlaced(Invalid):
    """An order cannot be returned before it was placed."""


class NothingToReturn(Conflict):
    """Everything of this order was returned already."""


class DeliveredBeforePlaced(Invalid):
    """An order cannot be delivered before it was placed."""


class OrderHasABuyer(Conflict):
    """This order is another customer's."""


class ClaimNotProven(Conflict):
    """The order was placed with another e-mail address than the member's."""
