from dataclasses import dataclass

from loyalty.core.errors import Conflict, NotFound


class RewardNotFound(NotFound):
    """There is no such reward in this program."""


class RewardRetired(Conflict):
    """This reward is no longer offered."""


class OutOfStock(Conflict):
    """The last of this reward is gone."""


class CouponNotFound(NotFound):
    """There is no such coupon in this program."""


class CouponUsed(Conflict):
    """The coupon was used already."""


class CouponExpired(Conflict):
    """The coupon has expired."""


class CouponVoided(Conflict):
    """The coupon was taken back."""


class CouponCodesExhausted(Conflict):
    """No free coupon code was found."""


class CouponNotForThisMember(Conflict):
    """This coupon is another member's."""


class CouponDoesNotFit(Conflict):
    """There is nothing in this order that the coupon takes anything off."""


@dataclass(eq=False, kw_only=True)
class CouponBelowMinimum(Conflict):
    """The products of this order come to less than the coupon asks for."""

    minimum_minor: int
    total_minor: int
