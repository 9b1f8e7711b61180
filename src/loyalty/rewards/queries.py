from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import change_rows, fetch, fetch_rows
from loyalty.rewards import models
from loyalty.rewards.errors import RewardNotFound


async def insert_reward(session: AsyncSession, reward: models.Reward) -> None:
    session.add(reward)
    await session.flush()


async def get_reward(session: AsyncSession, *, program_id: UUID, reward_id: UUID) -> models.Reward:
    found = await list_rewards_by_id(session, program_id=program_id, reward_ids=[reward_id])
    if not found:
        raise RewardNotFound
    return found[0]


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
    ending = "WHERE program_id = $1 AND id = ANY($2::uuid[])"
    return await fetch_rows(session, models.Reward, ending, program_id, list(reward_ids))


async def lock_stock(
    session: AsyncSession, *, program_id: UUID, reward_ids: Collection[UUID]
) -> dict[UUID, int | None]:
    """Lock rewards in order of id, after wallets; return how many of each are left, None where that is not counted."""
    found = await fetch(
        session,
        """
        SELECT id, stock_left FROM rewards
        WHERE program_id = $1 AND id = ANY($2::uuid[]) ORDER BY id FOR NO KEY UPDATE
        """,
        program_id,
        list(reward_ids),
    )
    return dict(found)


async def take_stock(session: AsyncSession, *, program_id: UUID, taken: Mapping[UUID, int]) -> None:
    """Take so many of each reward whose stock is locked."""
    if taken:
        await change_rows(
            session,
            models.Reward,
            """
            UPDATE rewards SET stock_left = stock_left - number
            FROM unnest($2::uuid[], $3::bigint[]) AS own (id, number)
            WHERE program_id = $1 AND rewards.id = own.id RETURNING 1
            """,
            program_id,
            list(taken),
            list(taken.values()),
            expected=len(taken),
        )


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
