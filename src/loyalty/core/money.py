"""Money is an integer count of a currency's minor unit; nothing here is a float."""

from dataclasses import dataclass
from typing import Final

MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly; bounds points and amounts alike."""


@dataclass(frozen=True)
class Money:
    amount: int
    currency: str


def share(total: int, *, weights: list[int]) -> list[int]:
    """Split `total` in proportion to non-negative `weights` by largest remainder, so that the parts sum exactly.

    Ties go to the earlier part. With all weights zero the first part takes everything.
    """
    if not weights:
        return []
    whole = sum(weights)
    if whole == 0:
        return [total, *([0] * (len(weights) - 1))]
    parts = [total * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in order[: total - sum(parts)]:
        parts[i] += 1
    return parts
