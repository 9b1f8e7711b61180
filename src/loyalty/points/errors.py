from dataclasses import dataclass

from loyalty.core.errors import Conflict


@dataclass(eq=False, kw_only=True)
class NotEnoughPoints(Conflict):
    """The balance does not cover the spend."""

    spendable: int
    requested: int


class BalanceOutOfBounds(Conflict):
    """A balance cannot pass 2^53 - 1 points."""
