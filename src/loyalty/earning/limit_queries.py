"""The SQL of limits: how much rules have given members within periods, and out of budgets."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.earning import models

_NAMES: Final = ("rule_id", "member_id", "period", "period_on")
_KEY: Final = tuple(getattr(models.EarningUsage, name) for name in _NAMES)
_MOST_AT_ONCE: Final = 2_000
"""A statement takes at most 32,767 parameters."""

UsageKey = tuple[UUID, UUID, str, date]
"""Rule, member, the kind of period, and its first day."""


async def lock_usage(session: AsyncSession, keys: Iterable[UsageKey], *, program_id: UUID) -> dict[UsageKey, int]:
    """Lock how much these rules have given these members, opening what is not there, in one order."""
    own = models.EarningUsage
    used: dict[UsageKey, int] = {}
    for named in _batched(sorted(keys)):
        rows = [
            {
                "program_id": program_id,
                "rule_id": rule_id,
                "member_id": member_id,
                "period": period,
                "period_on": period_on,
                "points": 0,
            }
            for rule_id, member_id, period, period_on in named
        ]
        await session.execute(insert(own).values(rows).on_conflict_do_nothing())
        found = await session.execute(
            select(*_KEY, own.points)
            .where(own.program_id == program_id, tuple_(*_KEY).in_(named))
            .order_by(*_KEY)
            .with_for_update()
        )
        used |= {(row[0], row[1], row[2], row[3]): row[4] for row in found}
    return used


async def lock_budgets(session: AsyncSession, rule_ids: Iterable[UUID], *, program_id: UUID) -> dict[UUID, int]:
    """Lock how much these rules have given in all, in order of id; comes after usage."""
    own, named = models.EarningBudget, sorted(rule_ids)
    if not named:
        return {}
    rows = [{"program_id": program_id, "rule_id": rule_id, "points": 0} for rule_id in named]
    await session.execute(insert(own).values(rows).on_conflict_do_nothing())
    found = await session.execute(
        select(own.rule_id, own.points)
        .where(own.program_id == program_id, own.rule_id.in_(named))
        .order_by(own.rule_id)
        .with_for_update()
    )
    return {row[0]: row[1] for row in found}


async def read_usage(session: AsyncSession, keys: Iterable[UsageKey], *, program_id: UUID) -> dict[UsageKey, int]:
    own, named = models.EarningUsage, list(keys)
    if not named:
        return {}
    found = await session.execute(
        select(*_KEY, own.points).where(own.program_id == program_id, tuple_(*_KEY).in_(named))
    )
    return {(row[0], row[1], row[2], row[3]): row[4] for row in found}


async def read_budgets(session: AsyncSession, rule_ids: Iterable[UUID], *, program_id: UUID) -> dict[UUID, int]:
    own = models.EarningBudget
    found = await session.execute(
        select(own.rule_id, own.points).where(own.program_id == program_id, own.rule_id.in_(list(rule_ids)))
    )
    return {row[0]: row[1] for row in found}


async def add_usage(session: AsyncSession, points: Mapping[UsageKey, int], *, program_id: UUID) -> None:
    """Add points, or take some off where they are negative; never below zero."""
    own = models.EarningUsage
    for rule_id, member_id, period, period_on in sorted(points):
        await session.execute(
            update(own)
            .where(
                own.program_id == program_id,
                own.rule_id == rule_id,
                own.member_id == member_id,
                own.period == period,
                own.period_on == period_on,
            )
            .values(points=func.greatest(0, own.points + points[rule_id, member_id, period, period_on]))
        )


async def add_to_budgets(session: AsyncSession, points: Mapping[UUID, int], *, program_id: UUID) -> None:
    own = models.EarningBudget
    for rule_id in sorted(points):
        await session.execute(
            update(own)
            .where(own.program_id == program_id, own.rule_id == rule_id)
            .values(points=func.greatest(0, own.points + points[rule_id]))
        )


async def hand_over_usage(session: AsyncSession, *, program_id: UUID, giver: UUID, receiver: UUID) -> None:
    own = models.EarningUsage
    theirs = (
        select(own.program_id, own.rule_id, literal(receiver), own.period, own.period_on, own.points)
        .where(own.program_id == program_id, own.member_id == giver)
        .order_by(own.rule_id, own.period, own.period_on)
    )
    added = insert(own).from_select(["program_id", "rule_id", "member_id", "period", "period_on", "points"], theirs)
    await session.execute(
        added.on_conflict_do_update(
            index_elements=["program_id", "rule_id", "member_id", "period", "period_on"],
            set_={"points": own.points + added.excluded.points},
        )
    )
    await session.execute(delete(own).where(own.program_id == program_id, own.member_id == giver))


def _batched(keys: Sequence[UsageKey]) -> Iterator[Sequence[UsageKey]]:
    for start in range(0, len(keys), _MOST_AT_ONCE):
        yield keys[start : start + _MOST_AT_ONCE]
