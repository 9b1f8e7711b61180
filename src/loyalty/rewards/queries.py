from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.rewards import models
from loyalty.rewards.errors import RewardNotFound


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


async def lock_reward(session: AsyncSession, *, program_id: UUID, reward_id: UUID) -> models.Reward:
    """Lock a reward, which is where its stock is; comes after wallets."""
    reward = models.Reward
    found = await session.execute(
        select(reward).where(reward.program_id == program_id, reward.id == reward_id).with_for_update(key_share=True),
        execution_options={"populate_existing": True},
    )
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
        query = query.where(reward.retired_at.is_(None), reward.cost_points > 0)
    if after is not None:
        query = query.where(reward.id > after)
    return list((await session.execute(query.order_by(reward.id).limit(limit))).scalars())


async def list_offered(session: AsyncSession, *, program_id: UUID) -> list[models.Reward]:
    reward = models.Reward
    query = select(reward).where(reward.program_id == program_id, reward.retired_at.is_(None)).order_by(reward.id)
    return list((await session.execute(query)).scalars())


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
