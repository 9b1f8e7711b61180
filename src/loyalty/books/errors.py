from dataclasses import dataclass
from datetime import datetime

from loyalty.core.errors import Conflict, Invalid


class MonthsOutOfOrder(Invalid):
    """Name two months as YYYY-MM, the first not after the last, at most ten years apart."""


@dataclass(eq=False, kw_only=True)
class DaysNotSealed(Conflict):
    """Some of these days are not sealed yet; let the worker run first."""

    program: str
    sealed_until: datetime | None


@dataclass(eq=False, kw_only=True)
class BooksDoNotHold(Conflict):
    """A program's books do not hold, so nothing may stand for its entries; see `loyalty ledger verify`."""

    program: str
