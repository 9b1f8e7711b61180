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
