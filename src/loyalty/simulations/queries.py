from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import and_, delete, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.db import Row
from loyalty.earning.limit_queries import UsageKey
from loyalty.simulations import models
from loyalty.simulations.errors import SimulationNotFound
from loyalty.simulations.rules import Affected, Cell, Sides

_MOST_AT_ONCE: Final = 2_000
"""A statement takes at most 32,767 parameters."""


async def insert_simulation(
    session: AsyncSession, made: models.Simulation, *, tried: Sequence[models.SimulationRule]
) -> None:
    session.add(made)
    await session.flush()
    session.add_all(tried)
    await session.flush()


async def get_simulation(session: AsyncSession, *, program_id: UUID, simulation_id: UUID) -> models.Simulation:
    own = models.Simulation
    found = await session.execute(select(own).where(own.program_id == program_id, own.id == simulation_id))
    row = found.scalar_one_or_none()
    if row is None:
        raise SimulationNotFound
    return row


async def list_simulations(
    session: AsyncSession, *, program_id: UUID, before: UUID | None, limit: int
) -> list[models.Simulation]:
    """Return simulations, the newest first."""
    own = models.Simulation
    query = select(own).where(own.program_id == program_id)
    if before is not None:
        query = query.where(own.id < before)
    return list((await session.execute(query.order_by(own.id.desc()).limit(limit))).scalars())


async def count_unfinished(session: AsyncSession, *, program_id: UUID) -> int:
    own = models.Simulation
    found = await session.execute(select(func.count()).where(own.program_id == program_id, own.ended_at.is_(None)))
    return int(found.scalar_one())


async def lock_next(session: AsyncSession, *, program_id: UUID) -> models.Simulation | None:
    """Lock the oldest simulation that has not ended and that nobody else is at."""
    own = models.Simulation
    found = await session.execute(
        select(own)
        .where(own.program_id == program_id, own.ended_at.is_(None))
        .order_by(own.id)
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True)
    )
    return found.scalar_one_or_none()


async def update_simulation(
    session: AsyncSession, *, program_id: UUID, simulation_id: UUID, changes: Mapping[str, Any]
) -> None:
    own = models.Simulation
    await session.execute(update(own).where(own.program_id == program_id, own.id == simulation_id).values(**changes))


async def list_rules(session: AsyncSession, *, program_id: UUID, simulation_id: UUID) -> list[models.SimulationRule]:
    own = models.SimulationRule
    found = await session.execute(
        select(own).where(own.program_id == program_id, own.simulation_id == simulation_id).order_by(own.rule_id)
    )
    return list(found.scalars())


async def list_months(session: AsyncSession, *, program_id: UUID, simulation_id: UUID) -> dict[date, int]:
    own = models.SimulationMonth
    found = await session.execute(
        select(own.month, own.orders)
        .where(own.program_id == program_id, own.simulation_id == simulation_id)
        .order_by(own.month)
    )
    return {row[0]: row[1] for row in found}


async def list_cells(session: AsyncSession, *, program_id: UUID, simulation_id: UUID) -> list[Cell]:
    """Return the points of every rule and month, in order of month, rule and unit."""
    own = models.SimulationPoints
    found = await session.execute(
        select(own)
        .where(own.program_id == program_id, own.simulation_id == simulation_id)
        .order_by(own.month, own.rule_id, own.unit)
    )
    return [
        Cell(
            row.month,
            row.rule_id,
            row.unit,
            Sides(row.orders_today, row.orders_tried),
            Sides(row.points_today, row.points_tried),
        )
        for row in found.scalars()
    ]


async def sum_tried(
    session: AsyncSession, *, program_id: UUID, simulation_id: UUID, rule_ids: Collection[UUID]
) -> dict[UUID, int]:
    """Return how many points each of these rules would have given so far."""
    if not rule_ids:
        return {}
    own = models.SimulationPoints
    found = await session.execute(
        select(own.rule_id, func.sum(own.points_tried))
        .where(own.program_id == program_id, own.simulation_id == simulation_id, own.rule_id.in_(list(rule_ids)))
        .group_by(own.rule_id)
    )
    return {row[0]: int(row[1]) for row in found}


async def list_used(
    session: AsyncSession, *, program_id: UUID, simulation_id: UUID, keys: Collection[UsageKey]
) -> dict[UsageKey, int]:
    """Return how much of limits these members have used up so far."""
    own, named = models.SimulationUsage, list(keys)
    key = (own.rule_id, own.member_id, own.period, own.period_on)
    used: dict[UsageKey, int] = {}
    for start in range(0, len(named), _MOST_AT_ONCE):
        some = tuple_(*key).in_(named[start : start + _MOST_AT_ONCE])
        found = await session.execute(
            select(*key, own.points).where(own.program_id == program_id, own.simulation_id == simulation_id, some)
        )
        used |= {(row[0], row[1], row[2], row[3]): row[4] for row in found}
    return used


async def add(session: AsyncSession, table: type[Row], rows: Sequence[dict[str, Any]]) -> None:
    """Add numbers to rows, which begin at none: each column that is no key is a sum."""
    if not rows:
        return
    own = Row.metadata.tables[table.__tablename__]
    new = insert(own)
    sums = {column.name: column + new.excluded[column.name] for column in own.columns if not column.primary_key}
    await session.execute(new.on_conflict_do_update(index_elements=list(own.primary_key), set_=sums), list(rows))


async def list_most_affected(
    session: AsyncSession, *, program_id: UUID, simulation_id: UUID, most: int
) -> list[Affected]:
    """Return those who would have got most more, and most less, of each unit; so many of either."""
    own = models.SimulationMember
    more = own.points_tried - own.points_today
    gained = func.row_number().over(partition_by=own.unit, order_by=(more.desc(), own.member_id))
    lost = func.row_number().over(partition_by=own.unit, order_by=(more, own.member_id))
    ranked = (
        select(
            own.member_id,
            own.unit,
            own.points_today,
            own.points_tried,
            more.label("more"),
            gained.label("gained"),
            lost.label("lost"),
        )
        .where(own.program_id == program_id, own.simulation_id == simulation_id)
        .subquery()
    )
    at_the_ends = or_(and_(ranked.c.more > 0, ranked.c.gained <= most), and_(ranked.c.more < 0, ranked.c.lost <= most))
    found = await session.execute(
        select(ranked).where(at_the_ends).order_by(ranked.c.unit, func.abs(ranked.c.more).desc(), ranked.c.member_id)
    )
    return [Affected(row.member_id, row.unit, Sides(row.points_today, row.points_tried)) for row in found]


async def delete_state(session: AsyncSession, table: type[Row], *, program_id: UUID, limit: int) -> int:
    """Delete at most so many rows that only simulations need that have not ended; return how many."""
    own, simulation = Row.metadata.tables[table.__tablename__], models.Simulation
    key = [column for column in own.primary_key if column.name != "program_id"]
    ended = select(simulation.id).where(simulation.program_id == program_id, simulation.ended_at.is_not(None))
    over = select(*key).where(own.c.program_id == program_id, own.c.simulation_id.in_(ended)).limit(limit)
    deleted = await session.execute(
        delete(own).where(own.c.program_id == program_id, tuple_(*key).in_(over)).returning(own.c.simulation_id)
    )
    return len(deleted.all())


async def delete_simulations(session: AsyncSession, *, program_id: UUID, before: datetime, limit: int) -> int:
    """Delete at most so many simulations that have ended and were asked for before an instant; return how many."""
    own = models.Simulation
    found = await session.execute(
        select(own.id)
        .where(own.program_id == program_id, own.created_at < before, own.ended_at.is_not(None))
        .order_by(own.id)
        .limit(limit)
    )
    old = list(found.scalars())
    for part in (models.SimulationPoints, models.SimulationMonth, models.SimulationRule):
        await session.execute(delete(part).where(part.program_id == program_id, part.simulation_id.in_(old)))
    await session.execute(delete(own).where(own.program_id == program_id, own.id.in_(old)))
    return len(old)
