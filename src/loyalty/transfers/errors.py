from loyalty.core.errors import Conflict, Invalid, NotFound


class TransferNotFound(NotFound):
    """There is no such transfer in this program."""


class TransferToOneself(Invalid):
    """Points cannot be transferred to the member they belong to."""


class ReceiverClosed(Conflict):
    """The membership that is to receive the points is closed."""
