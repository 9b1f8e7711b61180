from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.db import insert_rows
from loyalty.rewards import models
from loyalty.rewards.errors import CouponNotFound, RewardNotFound


async def insert_reward(session: AsyncSession, reward: models.Reward) -> None:
    session.add(reward)
    await session.flush()


async def get_reward(session: AsyncSession, *, program_id: UUID, reward_id: UUID) -> models.Reward:
    reward = models.Reward
    found = await session.execute(select(reward).where(reward.program_id == program_id, reward.id == reward_id))
    row = found.scalar_one_or_none()
    if row is None:
        raise RewardNotFound
    return row


async def list_rewards(
    session: AsyncSession, *, program_id: UUID, offered_only: bool, after: UUID | None, limit: int
) -> list[models.Reward]:
    reward = models.Reward
    query = select(reward).where(reward.program_id == program_id)
    if offered_only:
        query = query.where(reward.retired_at.is_(None))
    if after is not None:
        query = query.where(reward.id > after)
    return list((await session.execute(query.order_by(reward.id).limit(limit))).scalars())


async def list_rewards_by_id(
    session: AsyncSession, *, program_id: UUID, reward_ids: Collection[UUID]
) -> list[models.Reward]:
    reward = models.Reward
    query = select(reward).where(reward.program_id == program_id, reward.id.in_(list(reward_ids)))
    return list((await session.execute(query)).scalars())


async def take_stock(session: AsyncSession, *, program_id: UUID, reward_id: UUID) -> int | None:
    """Take one unit where stock is counted, and return what is left; None where it is not counted.

    Where nothing is left it stays so and -1 is returned. The row stays locked until the transaction ends.
    """
    reward = models.Reward
    found = await session.execute(
        select(reward.stock_left)
        .where(reward.program_id == program_id, reward.id == reward_id)
        .with_for_update(key_share=True)
    )
    stock = found.scalar_one()
    if stock is None or stock == 0:
        return None if stock is None else -1
    await session.execute(
        update(reward).where(reward.program_id == program_id, reward.id == reward_id).values(stock_left=stock - 1)
    )
    return stock - 1


async def put_stock_back(session: AsyncSession, *, program_id: UUID, reward_id: UUID) -> None:
    reward = models.Reward
    await session.execute(
        update(reward)
        .where(reward.program_id == program_id, reward.id == reward_id, reward.stock_left.is_not(None))
        .values(stock_left=reward.stock_left + 1)
    )


async def update_reward(session: AsyncSession, *, program_id: UUID, reward_id: UUID, changes: dict[str, Any]) -> None:
    reward = models.Reward
    await session.execute(
        update(reward).where(reward.program_id == program_id, reward.id == reward_id).values(**changes)
    )


async def insert_coupon(
    session: AsyncSession,
    *,
    program_id: UUID,
    coupon_id: UUID,
    code: str,
    reward_id: UUID,
    member_id: UUID,
    issued_at: datetime,
    expires_at: datetime | None,
    from_stock: bool,
) -> bool:
    """Add a coupon; False if its code is taken."""
    added = await session.execute(
        insert(models.Coupon)
        .values(
            program_id=program_id,
            id=coupon_id,
            code=code,
            reward_id=reward_id,
            member_id=member_id,
            issued_at=issued_at,
            expires_at=expires_at,
            from_stock=from_stock,
        )
        .on_conflict_do_nothing(index_elements=["program_id", "code"])
        .returning(models.Coupon.id)
    )
    return added.first() is not None


async def list_coupons(
    session: AsyncSession, *, program_id: UUID, coupon_ids: Collection[UUID]
) -> dict[UUID, models.Coupon]:
    coupon = models.Coupon
    found = await session.execute(
        select(coupon).where(coupon.program_id == program_id, coupon.id.in_(list(coupon_ids)))
    )
    return {row.id: row for row in found.scalars()}


async def lock_coupon(
    session: AsyncSession, *, program_id: UUID, coupon_id: UUID | None = None, code: str | None = None
) -> models.Coupon:
    """Lock a coupon, by its id or by its code."""
    coupon = models.Coupon
    own = coupon.id == coupon_id if coupon_id is not None else coupon.code == code
    found = await session.execute(
        select(coupon).where(coupon.program_id == program_id, own).with_for_update(key_share=True),
        execution_options={"populate_existing": True},
    )
    row = found.scalar_one_or_none()
    if row is None:
        raise CouponNotFound
    return row


async def find_coupon(session: AsyncSession, *, program_id: UUID, code: str) -> models.Coupon:
    coupon = models.Coupon
    found = await session.execute(select(coupon).where(coupon.program_id == program_id, coupon.code == code))
    row = found.scalar_one_or_none()
    if row is None:
        raise CouponNotFound
    return row


async def insert_discounts(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    await insert_rows(session, models.CouponDiscount, rows)


async def list_discounts(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> list[models.CouponDiscount]:
    own = models.CouponDiscount
    found = await session.execute(
        select(own).where(own.program_id == program_id, own.order_id == order_id).order_by(own.position)
    )
    return list(found.scalars())


async def set_returned(session: AsyncSession, *, program_id: UUID, order_id: UUID, return_id: UUID) -> None:
    own = models.CouponDiscount
    await session.execute(
        update(own).where(own.program_id == program_id, own.order_id == order_id).values(return_id=return_id)
    )


async def end_coupon(
    session: AsyncSession,
    *,
    program_id: UUID,
    coupon_id: UUID,
    used_at: datetime | None = None,
    used_external_order_id: str | None = None,
    voided_at: datetime | None = None,
) -> None:
    coupon = models.Coupon
    await session.execute(
        update(coupon)
        .where(coupon.program_id == program_id, coupon.id == coupon_id)
        .values(used_at=used_at, used_external_order_id=used_external_order_id, voided_at=voided_at)
    )


async def set_coupon_owner(session: AsyncSession, *, program_id: UUID, giver: UUID, receiver: UUID) -> None:
    coupon = models.Coupon
    await session.execute(
        update(coupon).where(coupon.program_id == program_id, coupon.member_id == giver).values(member_id=receiver)
    )
