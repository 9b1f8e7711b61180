from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from loyalty.core import ids
from loyalty.programs.policies import LimitPeriod
from loyalty.rewards.errors import RewardEndsTooSoon

COUPON_SYMBOLS: Final = 16
SHORTEST_CODE: Final = 4
LONGEST_CODE: Final = 40
_FOLD: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})


class RewardKind(StrEnum):
    AMOUNT_OFF = "amount_off"
    PERCENT_OFF = "percent_off"
    FREE_PRODUCT = "free_product"
    FREE_SHIPPING = "free_shipping"
    GIFT_CARD = "gift_card"
    PERK = "perk"


@dataclass(frozen=True)
class MemberLimit:
    """How many coupons of a reward one member may get within a period; those taken back do not count."""

    count: int
    period: LimitPeriod


@dataclass(frozen=True)
class Terms:
    """When a reward is offered, how often, and to whom: members with one of these values of each attribute."""

    available_from: datetime | None = None
    available_until: datetime | None = None
    per_member: MemberLimit | None = None
    member_attributes: Mapping[str, frozenset[str]] = field(default_factory=dict)


def check_dates(available_from: datetime | None, available_until: datetime | None) -> None:
    """Raise RewardEndsTooSoon unless a reward is offered for some time."""
    if available_from is not None and available_until is not None and available_until <= available_from:
        raise RewardEndsTooSoon


def make_coupon_code() -> str:
    """Make an unguessable code of 80 random bits in Crockford's alphabet."""
    return ids.draw(COUPON_SYMBOLS)


def fold_coupon_code(text: str) -> str:
    """Read a code as a person may write it: any case, spaces and hyphens ignored, O as 0, I and L as 1."""
    return text.upper().translate(_FOLD)


def code_fault(written: str, folded: str) -> str | None:
    """Tell what keeps a shop's own code from being a coupon's; None if it can be."""
    if not (written.isascii() and written.isprintable()):
        return "symbols"
    if len(folded) < SHORTEST_CODE:
        return "too_short"
    return "too_long" if len(written) > LONGEST_CODE else None


def coupon_expiry(issued_at: datetime, *, days: int | None) -> datetime | None:
    return None if days is None else issued_at + timedelta(days=days)
