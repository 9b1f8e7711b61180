from dataclasses import dataclass
from typing import Any

from loyalty.core.errors import Conflict, NotFound


class QuoteNotFound(NotFound):
    """There is no such quote in this program."""


@dataclass(eq=False, kw_only=True)
class QuoteExpired(Conflict):
    """This quote is no longer valid; ask for another one."""

    valid_until: str


class QuoteIsForOther(Conflict):
    """This quote is for another buyer, or for other lines."""


@dataclass(eq=False, kw_only=True)
class QuoteDiffers(Conflict):
    """Something has changed since the quote: the order would now come to other figures."""

    differences: list[dict[str, Any]]
