from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids, paging
from loyalty.core.db import savepoint
from loyalty.core.paging import Page
from loyalty.earning import authoring
from loyalty.orders import history
from loyalty.orders.rules import Stretch
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.programs import service as programs
from loyalty.programs.rules import Program
from loyalty.simulations import gathering, models, queries, rules
from loyalty.simulations.choosing import choose
from loyalty.simulations.deciding import compare
from loyalty.simulations.errors import TooManySimulations
from loyalty.simulations.rules import Cell

_BEFORE_ALL: Final = UUID(int=0)
_MOST_PROBLEM: Final = 500
_MOST_FORGOTTEN: Final = 100


@dataclass(frozen=True)
class Report:
    """A simulation with what it has found so far."""

    simulation: models.Simulation
    rules: list[models.SimulationRule]
    months: dict[date, int]
    cells: list[Cell]


async def create(
    session: AsyncSession,
    *,
    program: Program,
    placed_from: datetime,
    placed_until: datetime,
    wanted: Mapping[UUID, int | None] | None,
    without: Collection[UUID],
    actor: str,
    now: datetime,
) -> Report:
    """Ask for a rule set to be tried on the orders of a stretch of time; the job does it. Locks the program.

    Raises SimulationWindowRefused, TooManySimulations, and what `choose` raises.
    """
    rules.check_window(placed_from, placed_until, now=now)
    await programs.lock(session, program_id=program.id)
    if await queries.count_unfinished(session, program_id=program.id) >= rules.MOST_UNFINISHED:
        raise TooManySimulations(most=rules.MOST_UNFINISHED)
    known = await authoring.listing(session, program_id=program.id)
    chosen = choose(known, wanted=wanted, without=without, now=now)
    made = models.Simulation(
        program_id=program.id,
        id=ids.new(),
        placed_from=placed_from,
        placed_until=placed_until,
        unit=program.rules.unit,
        rates={currency: asdict(rate) for currency, rate in program.rules.burn.rates.items()},
        actor=actor,
        created_at=now,
        orders_done=0,
        reached_at=placed_from,
        reached_id=_BEFORE_ALL,
        attempts=0,
        most_affected=[],
    )
    tried = [
        models.SimulationRule(
            program_id=program.id,
            simulation_id=made.id,
            rule_id=own.version.rule_id,
            version=own.version.version,
            number=own.version.number,
            kind=own.version.kind,
            definition=own.version.definition,
            active_from=own.version.active_from,
            in_force=own.is_in_force,
        )
        for own in chosen
    ]
    await queries.insert_simulation(session, made, tried=tried)
    await _tell(session, program_id=program.id, simulation_id=made.id, what="created", now=now)
    return Report(made, tried, {}, [])


async def get(session: AsyncSession, *, program_id: UUID, simulation_id: UUID) -> Report:
    """Return a simulation with what it has found so far; raises SimulationNotFound."""
    key = {"program_id": program_id, "simulation_id": simulation_id}
    return Report(
        await queries.get_simulation(session, **key),
        await queries.list_rules(session, **key),
        await queries.list_months(session, **key),
        await queries.list_cells(session, **key),
    )


async def page(session: AsyncSession, *, program_id: UUID, cursor: str | None, limit: int) -> Page[models.Simulation]:
    """List simulations, the newest first."""
    before = paging.last_id(cursor)
    rows = await queries.list_simulations(session, program_id=program_id, before=before, limit=limit + 1)
    return paging.page(rows, limit=limit, key=lambda row: ids.encode(row.id))


async def go_on(session: AsyncSession, *, program: Program, now: datetime, limit: int) -> int:
    """Look at the next orders of the oldest simulation that nobody else is at; return at how many.

    What fails is tried again, a few times; then the simulation has failed, and does not keep others waiting.
    """
    simulation = await queries.lock_next(session, program_id=program.id)
    if simulation is None:
        return 0
    simulation_id, attempts = simulation.id, simulation.attempts + 1
    try:
        async with savepoint(session):
            return await _look(session, simulation, program=program, now=now, limit=limit)
    except Exception as error:  # noqa: BLE001 -- whatever it was is kept with the simulation
        changes: dict[str, Any] = {"attempts": attempts, "problem": f"{type(error).__name__}: {error}"[:_MOST_PROBLEM]}
    if attempts >= rules.MOST_ATTEMPTS:
        changes["ended_at"] = now
        await _tell(session, program_id=program.id, simulation_id=simulation_id, what="failed", now=now)
    await queries.update_simulation(session, program_id=program.id, simulation_id=simulation_id, changes=changes)
    return 0


async def forget(session: AsyncSession, *, program_id: UUID, before: datetime, limit: int) -> int:
    """Delete what simulations needed only until they ended, and those that were asked for before an instant.

    Returns how many rows of a kind, or simulations.
    """
    state = [
        await queries.delete_state(session, table, program_id=program_id, limit=limit)
        for table in (models.SimulationMember, models.SimulationUsage)
    ]
    if max(state) == limit:
        return limit
    whole = await queries.delete_simulations(session, program_id=program_id, before=before, limit=_MOST_FORGOTTEN)
    return max(*state, whole)


async def _look(
    session: AsyncSession, simulation: models.Simulation, *, program: Program, now: datetime, limit: int
) -> int:
    own = {"program_id": program.id, "simulation_id": simulation.id}
    changes: dict[str, Any] = {"attempts": 0, "problem": None}
    stretch = Stretch(simulation.placed_from, simulation.placed_until, before=simulation.id)
    total = simulation.orders_total
    if total is None:
        total = await history.count(session, stretch, program_id=program.id)
    reached = (simulation.reached_at, simulation.reached_id)
    orders = await history.placed(session, stretch, program_id=program.id, after=reached, limit=limit)
    known, counted = await gathering.gather(session, simulation, zone=program.rules.zone, orders=orders)
    await gathering.write(session, compare(known, counted), known.tally, **own)
    done = simulation.orders_done + len(orders)
    if len(orders) == limit:
        last = orders[-1]
        changes |= {"orders_total": total, "reached_at": last.placed_at, "reached_id": last.id}
    else:
        affected = await queries.list_most_affected(session, **own, most=rules.MOST_AFFECTED)
        changes |= {"orders_total": done, "ended_at": now, "most_affected": [row.written() for row in affected]}
        await _tell(session, **own, what="finished", now=now)
    await queries.update_simulation(session, **own, changes=changes | {"orders_done": done})
    return len(orders)


async def _tell(session: AsyncSession, *, program_id: UUID, simulation_id: UUID, what: str, now: datetime) -> None:
    event = Event(f"simulation.{what}", simulation_id, occurred_at=now, recorded_at=now)
    await outbox.tell(session, program_id=program_id, events=[event])
