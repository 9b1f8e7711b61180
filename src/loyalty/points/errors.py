from dataclasses import dataclass

from loyalty.core.errors import Conflict, NotFound


@dataclass(eq=False, kw_only=True)
class NotEnoughPoints(Conflict):
    """The balance does not cover the spend."""

    spendable: int
    requested: int


class BalanceOutOfBounds(Conflict):
    """A balance cannot pass 2^53 - 1 points."""


class HoldNotFound(NotFound):
    """There is no such hold in this program."""


@dataclass(eq=False, kw_only=True)
class HoldEnded(Conflict):
    """This hold is over: captured, released or expired."""

    ended_by: str


@dataclass(eq=False, kw_only=True)
class CaptureExceedsHold(Conflict):
    """A capture cannot take more points than its hold has locked."""

    held: int
    requested: int


class LotNotFound(NotFound):
    """There is no such lot in this program."""


class MemberHasLiveHolds(Conflict):
    """Points of this member are held; capture or release the holds first."""


@dataclass(eq=False, kw_only=True)
class EntriesStraddle(Conflict):
    """A wallet's entries were not numbered in the order of their ids there; take off up to another month."""

    wallets: int
