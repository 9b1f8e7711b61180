from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids, paging
from loyalty.core.paging import Page
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.programs.policies import LimitPeriod
from loyalty.rewards import models, pool_queries, queries, rules
from loyalty.rewards.errors import RewardHasCodes
from loyalty.rewards.rules import MemberLimit, RewardKind, Terms

_ALWAYS: Final = Terms()


@dataclass(frozen=True)
class View:
    """A reward, and how many of it are left: counted, or what is left of its codes; None for no end."""

    reward: models.Reward
    stock_left: int | None


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
    terms: Terms = _ALWAYS,
    pooled: bool = False,
) -> View:
    """Put a reward into the catalogue; one that is `pooled` waits for codes. Raises RewardEndsTooSoon."""
    rules.check_dates(terms.available_from, terms.available_until)
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
        pooled=pooled,
        **columns_of(terms),
    )
    await queries.insert_reward(session, reward)
    await _tell(session, reward=reward, what="created", now=now)
    return View(reward, 0 if pooled else stock)


async def offered(session: AsyncSession, *, program_id: UUID) -> list[models.Reward]:
    """Return every reward that is not retired, the oldest first."""
    return await queries.list_offered(session, program_id=program_id)


async def get(session: AsyncSession, *, program_id: UUID, reward_id: UUID) -> View:
    reward = await queries.get_reward(session, program_id=program_id, reward_id=reward_id)
    return (await views(session, [reward], program_id=program_id))[0]


async def listed(session: AsyncSession, *, program_id: UUID, reward_ids: Collection[UUID]) -> list[View]:
    rows = await queries.list_rewards_by_id(session, program_id=program_id, reward_ids=reward_ids)
    return await views(session, rows, program_id=program_id)


async def page(
    session: AsyncSession, *, program_id: UUID, offered_only: bool, cursor: str | None, limit: int
) -> Page[View]:
    """List rewards in the order they were made; of those offered, what is retired or only given is left out."""
    after = paging.last_id(cursor)
    rows = await queries.list_rewards(
        session, program_id=program_id, offered_only=offered_only, after=after, limit=limit + 1
    )
    cut = paging.page(rows, limit=limit, key=lambda reward: ids.encode(reward.id))
    return Page(await views(session, cut.data, program_id=program_id), cut.has_more, cut.next_cursor)


async def update(
    session: AsyncSession, *, program_id: UUID, reward_id: UUID, changes: dict[str, Any], retire: bool, now: datetime
) -> View:
    """Change a reward for redemptions to come, or retire it. Locks it. Raises RewardEndsTooSoon, RewardHasCodes."""
    reward = await queries.lock_reward(session, program_id=program_id, reward_id=reward_id)
    rules.check_dates(
        changes.get("available_from", reward.available_from), changes.get("available_until", reward.available_until)
    )
    if reward.pooled and changes.get("stock_left") is not None:
        raise RewardHasCodes
    values = {**changes, **({"retired_at": now} if retire else {})}
    if values:
        await queries.update_reward(session, program_id=program_id, reward_id=reward_id, changes=values)
        session.expire_all()
    changed = await get(session, program_id=program_id, reward_id=reward_id)
    if values:
        await _tell(session, reward=changed.reward, what="updated", now=now)
    return changed


async def views(session: AsyncSession, rewards: Collection[models.Reward], *, program_id: UUID) -> list[View]:
    """Return rewards with what is left of them."""
    pooled = [reward.id for reward in rewards if reward.pooled]
    left = await pool_queries.count_codes(session, program_id=program_id, reward_ids=pooled) if pooled else {}
    return [View(reward, left.get(reward.id, 0) if reward.pooled else reward.stock_left) for reward in rewards]


def terms_of(reward: models.Reward) -> Terms:
    limit = None
    if reward.limit_count is not None and reward.limit_period is not None:
        limit = MemberLimit(reward.limit_count, LimitPeriod(reward.limit_period))
    attributes = {name: frozenset(values) for name, values in reward.member_attributes.items()}
    return Terms(reward.available_from, reward.available_until, limit, attributes)


def columns_of(terms: Terms) -> dict[str, Any]:
    """Return terms as a reward's row keeps them."""
    return {
        "available_from": terms.available_from,
        "available_until": terms.available_until,
        "limit_count": terms.per_member.count if terms.per_member else None,
        "limit_period": terms.per_member.period if terms.per_member else None,
        "member_attributes": {name: sorted(values) for name, values in terms.member_attributes.items()},
    }


async def _tell(session: AsyncSession, *, reward: models.Reward, what: str, now: datetime) -> None:
    event = Event(f"reward.{what}", reward.id, occurred_at=now, recorded_at=now)
    await outbox.tell(session, program_id=reward.program_id, events=[event])
