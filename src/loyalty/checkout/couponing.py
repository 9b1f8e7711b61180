"""Coupons that an order names: whether they are good, what they take off its lines, and their use."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.errors import LoyaltyError
from loyalty.members import merging
from loyalty.members import service as members
from loyalty.orders.rules import Line, NewOrder
from loyalty.programs.rules import Program
from loyalty.rewards import coupons
from loyalty.rewards import models as reward_models
from loyalty.rewards import service as rewards
from loyalty.rewards.discounts import Discount, Effect, effect_of, parts_off, take_off
from loyalty.rewards.errors import (
    CouponBelowMinimum,
    CouponDoesNotFit,
    CouponExpired,
    CouponNotForThisMember,
    CouponUsed,
    CouponVoided,
)
from loyalty.rewards.rules import RewardKind


class CouponStatus(StrEnum):
    VALID = "valid"
    USED = "used"
    EXPIRED = "expired"
    VOIDED = "voided"
    NOT_FOR_THIS_MEMBER = "not_for_this_member"
    BELOW_MINIMUM = "below_minimum"
    DOES_NOT_FIT = "does_not_fit"


_STATUS_OF: Final[dict[type[LoyaltyError], CouponStatus]] = {
    CouponUsed: CouponStatus.USED,
    CouponExpired: CouponStatus.EXPIRED,
    CouponVoided: CouponStatus.VOIDED,
    CouponNotForThisMember: CouponStatus.NOT_FOR_THIS_MEMBER,
    CouponBelowMinimum: CouponStatus.BELOW_MINIMUM,
    CouponDoesNotFit: CouponStatus.DOES_NOT_FIT,
}


@dataclass(frozen=True)
class Goods:
    """What somebody is about to buy."""

    currency: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Check:
    """What would become of a coupon, its reward, and what it would take off in minor units, where it was told what."""

    status: CouponStatus
    coupon: reward_models.Coupon
    reward: rewards.View
    value_minor: int | None


async def apply(
    session: AsyncSession, *, program: Program, order: NewOrder, codes: Sequence[str], now: datetime
) -> tuple[NewOrder, list[Discount]]:
    """Take off an order what its coupons are worth, one after the other; nothing is used yet.

    Gift cards come last, and pay for what the others have left.

    Raises CouponNotFound, CouponNotForThisMember, CouponUsed, CouponVoided, CouponExpired, CouponDoesNotFit,
    CouponBelowMinimum.
    """
    found = [await coupons.find(session, program_id=program.id, code=code) for code in codes]
    found.sort(key=lambda own: own[1].kind == RewardKind.GIFT_CARD)
    made = []
    unpaid = order.lines
    for coupon, reward in found:
        coupons.check_owner(coupon, member_id=order.customer_id)
        coupons.check_good(coupon, now=now)
        effect = effect_of(RewardKind(reward.kind))
        parts = parts_off(RewardKind(reward.kind), reward.value, currency=order.currency, lines=unpaid)
        unpaid = tuple(take_off(unpaid, parts))
        if effect is not Effect.TENDER:
            order = replace(order, lines=unpaid)
        made.append(Discount(coupon.id, reward.id, coupon.written, parts, effect))
    return order, made


async def check(
    session: AsyncSession,
    *,
    program: Program,
    code: str,
    member_id: UUID | None,
    goods: Goods | None,
    now: datetime,
) -> Check:
    """Tell what would become of a coupon, by the refusals of `apply`. Raises CouponNotFound, MemberNotFound."""
    coupon, reward = await coupons.find(session, program_id=program.id, code=code)
    value = None
    status = CouponStatus.VALID
    try:
        if member_id is not None:
            stands = await merging.find_heir(session, program_id=program.id, customer_id=member_id)
            await members.standing(session, program_id=program.id, member_id=stands)
            coupons.check_owner(coupon, member_id=stands)
        coupons.check_good(coupon, now=now)
        if goods is not None:
            parts = parts_off(RewardKind(reward.kind), reward.value, currency=goods.currency, lines=goods.lines)
            value = sum(parts)
    except tuple(_STATUS_OF) as refusal:
        status = _STATUS_OF[type(refusal)]
    (view,) = await rewards.views(session, [reward], program_id=program.id)
    return Check(status, coupon, view, value)
