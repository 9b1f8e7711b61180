"""Coupons that an order names: what they take off its lines, and their use."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.orders.rules import NewOrder
from loyalty.programs.rules import Program
from loyalty.rewards import service as rewards
from loyalty.rewards.discounts import Discount, parts_off, take_off
from loyalty.rewards.rules import RewardKind


async def apply(
    session: AsyncSession, *, program: Program, order: NewOrder, codes: Sequence[str], now: datetime
) -> tuple[NewOrder, list[Discount]]:
    """Take off an order what its coupons are worth, one after the other; nothing is used yet.

    Raises CouponNotFound, CouponNotForThisMember, CouponUsed, CouponVoided, CouponExpired, CouponDoesNotFit,
    CouponBelowMinimum.
    """
    made = []
    for code in codes:
        coupon, reward = await rewards.usable(
            session, program_id=program.id, code=code, member_id=order.customer_id, now=now
        )
        parts = parts_off(RewardKind(reward.kind), reward.value, currency=order.currency, lines=order.lines)
        order = replace(order, lines=tuple(take_off(order.lines, parts)))
        made.append(Discount(coupon.id, reward.id, coupon.code, parts))
    return order, made
