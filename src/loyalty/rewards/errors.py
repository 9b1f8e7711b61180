from dataclasses import dataclass

from loyalty.core.errors import Conflict, Invalid, NotFound


class RewardNotFound(NotFound):
    """There is no such reward in this program."""


class RewardRetired(Conflict):
    """This reward is no longer offered."""


@dataclass(eq=False, kw_only=True)
class RewardNotYetAvailable(Conflict):
    """This reward is offered from a later time on."""

    available_from: str


@dataclass(eq=False, kw_only=True)
class RewardEnded(Conflict):
    """This reward was offered until an earlier time."""

    available_until: str


@dataclass(eq=False, kw_only=True)
class RewardLimitReached(Conflict):
    """This member had as many of this reward as one may have; `until` null: for good."""

    count: int
    period: str
    until: str | None


@dataclass(eq=False, kw_only=True)
class RewardForOtherMembers(Conflict):
    """This reward is for members with another value of an attribute."""

    attribute: str


class RewardOnlyGiven(Conflict):
    """This reward is given, and not redeemed for points."""


class RewardEndsTooSoon(Invalid):
    """A reward should be offered until after it begins to be."""


class RewardHasCodes(Conflict):
    """The stock of this reward is what is left of its codes."""


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
