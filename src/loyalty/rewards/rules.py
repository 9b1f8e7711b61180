import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from loyalty.core.ids import CROCKFORD

COUPON_SYMBOLS: Final = 16
_FOLD: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})


class RewardKind(StrEnum):
    AMOUNT_OFF = "amount_off"
    PERCENT_OFF = "percent_off"
    FREE_PRODUCT = "free_product"
    FREE_SHIPPING = "free_shipping"
    GIFT_CARD = "gift_card"
    PERK = "perk"


def make_coupon_code() -> str:
    """Make an unguessable code of 80 random bits in Crockford's alphabet."""
    return "".join(secrets.choice(CROCKFORD) for _ in range(COUPON_SYMBOLS))


def fold_coupon_code(text: str) -> str:
    """Read a code as a person may write it: any case, spaces and hyphens ignored, O as 0, I and L as 1."""
    return text.upper().translate(_FOLD)


def coupon_expiry(issued_at: datetime, *, days: int | None) -> datetime | None:
    return None if days is None else issued_at + timedelta(days=days)
