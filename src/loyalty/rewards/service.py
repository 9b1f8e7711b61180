from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids, paging
from loyalty.core.paging import Page
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.rewards import models, queries, rules
from loyalty.rewards.discounts import Discount
from loyalty.rewards.errors import (
    CouponCodesExhausted,
    CouponExpired,
    CouponNotForThisMember,
    CouponUsed,
    CouponVoided,
    OutOfStock,
    RewardRetired,
)
from loyalty.rewards.rules import RewardKind

_CODE_ATTEMPTS: Final = 5


async def create(
    session: AsyncSession,
    *,
    program_id: UUID,
    name: str,
    kind: RewardKind,
    value: dict[str, Any],
    unit: str,
    cost_points: int,
    stock: int | None,
    coupon_days: int | None,
    metadata: dict[str, str],
    now: datetime,
) -> models.Reward:
    """Put a reward into the catalogue."""
    reward = models.Reward(
        program_id=program_id,
        id=ids.new(),
        name=name,
        kind=kind,
        value=value,
        unit=unit,
        cost_points=cost_points,
        stock_left=stock,
        coupon_days=coupon_days,
        created_at=now,
        retired_at=None,
        notes=metadata,
    )
    await queries.insert_reward(session, reward)
    await _tell(session, reward=reward, what="created", now=now)
    return reward


async def get(session: AsyncSession, *, program_id: UUID, reward_id: UUID) -> models.Reward:
    return await queries.get_reward(session, program_id=program_id, reward_id=reward_id)


async def listed(session: AsyncSession, *, program_id: UUID, reward_ids: Collection[UUID]) -> list[models.Reward]:
    return await queries.list_rewards_by_id(session, program_id=program_id, reward_ids=reward_ids)


async def page(
    session: AsyncSession, *, program_id: UUID, offered_only: bool, cursor: str | None, limit: int
) -> Page[models.Reward]:
    """List rewards in the order they were made."""
    after = paging.last_id(cursor)
    rows = await queries.list_rewards(
        session, program_id=program_id, offered_only=offered_only, after=after, limit=limit + 1
    )
    return paging.page(rows, limit=limit, key=lambda reward: ids.encode(reward.id))


async def update(
    session: AsyncSession, *, program_id: UUID, reward_id: UUID, changes: dict[str, Any], retire: bool, now: datetime
) -> models.Reward:
    """Change a reward's name, cost, stock or coupon life for redemptions to come, or retire it."""
    await queries.get_reward(session, program_id=program_id, reward_id=reward_id)
    values = {**changes, **({"retired_at": now} if retire else {})}
    if values:
        await queries.update_reward(session, program_id=program_id, reward_id=reward_id, changes=values)
        session.expire_all()
        changed = await queries.get_reward(session, program_id=program_id, reward_id=reward_id)
        await _tell(session, reward=changed, what="updated", now=now)
    return await queries.get_reward(session, program_id=program_id, reward_id=reward_id)


async def offered(session: AsyncSession, *, program_id: UUID, reward_id: UUID) -> models.Reward:
    """Return a reward that can be redeemed now, stock apart."""
    reward = await queries.get_reward(session, program_id=program_id, reward_id=reward_id)
    if reward.retired_at is not None:
        raise RewardRetired
    return reward


async def issue(
    session: AsyncSession, *, reward: models.Reward, coupon_id: UUID, member_id: UUID, now: datetime
) -> str:
    """Take one unit of stock and give its coupon; raises OutOfStock. Locks the reward."""
    left = await queries.take_stock(session, program_id=reward.program_id, reward_id=reward.id)
    if left is not None and left < 0:
        raise OutOfStock
    for _ in range(_CODE_ATTEMPTS):
        code = rules.make_coupon_code()
        if await queries.insert_coupon(
            session,
            program_id=reward.program_id,
            coupon_id=coupon_id,
            code=code,
            reward_id=reward.id,
            member_id=member_id,
            issued_at=now,
            expires_at=rules.coupon_expiry(now, days=reward.coupon_days),
            from_stock=left is not None,
        ):
            return code
    raise CouponCodesExhausted


async def use(
    session: AsyncSession, *, program_id: UUID, code: str, external_order_id: str | None, now: datetime
) -> UUID:
    """Use a coupon at the till, once; return its id. Raises CouponNotFound, CouponUsed, CouponVoided, CouponExpired."""
    coupon = await queries.lock_coupon(session, program_id=program_id, code=rules.fold_coupon_code(code))
    _refuse_ended(coupon, now=now)
    await queries.end_coupon(
        session,
        program_id=program_id,
        coupon_id=coupon.id,
        used_at=now,
        used_external_order_id=external_order_id,
    )
    event = Event("coupon.used", coupon.id, occurred_at=now, recorded_at=now, member_id=coupon.member_id)
    await outbox.tell(session, program_id=program_id, events=[event])
    return coupon.id


async def usable(
    session: AsyncSession, *, program_id: UUID, code: str, member_id: UUID | None, now: datetime
) -> tuple[models.Coupon, models.Reward]:
    """Return a coupon that a member could use now, and its reward; nothing is locked.

    Raises CouponNotFound, CouponNotForThisMember, CouponUsed, CouponVoided, CouponExpired.
    """
    coupon = await queries.find_coupon(session, program_id=program_id, code=rules.fold_coupon_code(code))
    if coupon.member_id != member_id:
        raise CouponNotForThisMember
    _refuse_ended(coupon, now=now)
    return coupon, await queries.get_reward(session, program_id=program_id, reward_id=coupon.reward_id)


async def use_on(
    session: AsyncSession,
    discounts: Sequence[Discount],
    *,
    program_id: UUID,
    order_id: UUID,
    external_order_id: str,
    now: datetime,
) -> None:
    """Use coupons on an order. Locks them, in order of id, after wallets. Raises what `use` raises."""
    for discount in sorted(discounts, key=lambda discount: discount.coupon_id):
        await use(session, program_id=program_id, code=discount.code, external_order_id=external_order_id, now=now)
    rows = [
        {
            "program_id": program_id,
            "order_id": order_id,
            "coupon_id": discount.coupon_id,
            "position": position,
            "reward_id": discount.reward_id,
            "code": discount.code,
            "line_minor": list(discount.line_minor),
            "return_id": None,
        }
        for position, discount in enumerate(discounts, start=1)
    ]
    await queries.insert_discounts(session, rows)


async def discounts(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> list[models.CouponDiscount]:
    """Return what coupons took off an order, in the order in which they did."""
    return await queries.list_discounts(session, program_id=program_id, order_id=order_id)


async def undo_uses(session: AsyncSession, *, program_id: UUID, order_id: UUID, return_id: UUID, now: datetime) -> None:
    """Make the coupons of an order that went back as a whole good again, as long as they are. Locks them."""
    used = [row for row in await discounts(session, program_id=program_id, order_id=order_id) if row.return_id is None]
    for row in sorted(used, key=lambda row: row.coupon_id):
        coupon = await queries.lock_coupon(session, program_id=program_id, coupon_id=row.coupon_id)
        await queries.end_coupon(session, program_id=program_id, coupon_id=coupon.id)
        event = Event("coupon.returned", coupon.id, occurred_at=now, recorded_at=now, member_id=coupon.member_id)
        await outbox.tell(session, program_id=program_id, events=[event])
    if used:
        await queries.set_returned(session, program_id=program_id, order_id=order_id, return_id=return_id)


async def take_back(session: AsyncSession, *, program_id: UUID, coupon_id: UUID, now: datetime) -> None:
    """Void a coupon that is neither used nor expired, and return its unit to the stock it came from."""
    coupon = await queries.lock_coupon(session, program_id=program_id, coupon_id=coupon_id)
    _refuse_ended(coupon, now=now)
    await queries.end_coupon(session, program_id=program_id, coupon_id=coupon_id, voided_at=now)
    if coupon.from_stock:
        await queries.put_stock_back(session, program_id=program_id, reward_id=coupon.reward_id)


async def coupons(
    session: AsyncSession, *, program_id: UUID, coupon_ids: Collection[UUID]
) -> dict[UUID, models.Coupon]:
    return await queries.list_coupons(session, program_id=program_id, coupon_ids=coupon_ids)


def _refuse_ended(coupon: models.Coupon, *, now: datetime) -> None:
    if coupon.used_at is not None:
        raise CouponUsed
    if coupon.voided_at is not None:
        raise CouponVoided
    if coupon.expires_at is not None and coupon.expires_at <= now:
        raise CouponExpired


async def _tell(session: AsyncSession, *, reward: models.Reward, what: str, now: datetime) -> None:
    event = Event(f"reward.{what}", reward.id, occurred_at=now, recorded_at=now)
    await outbox.tell(session, program_id=reward.program_id, events=[event])


async def hand_over(session: AsyncSession, *, program_id: UUID, giver: UUID, receiver: UUID) -> None:
    """Make one member's coupons another's."""
    await queries.set_coupon_owner(session, program_id=program_id, giver=giver, receiver=receiver)
