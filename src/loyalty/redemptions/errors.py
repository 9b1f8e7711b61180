from loyalty.core.errors import Conflict, NotFound


class RedemptionNotFound(NotFound):
    """There is no such redemption in this program."""


class RedemptionAlreadyCancelled(Conflict):
    """This redemption was cancelled already."""
