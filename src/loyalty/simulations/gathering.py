"""What deciding on a batch needs, read for all of it at once, and how what it comes to is added to what was there."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.earning import limiting
from loyalty.earning import service as earning
from loyalty.earning.definitions import read_terms
from loyalty.earning.limiting import Tally
from loyalty.earning.rules import RuleVersion
from loyalty.members import service as members
from loyalty.orders import history
from loyalty.orders.rules import Placed
from loyalty.simulations import models, queries
from loyalty.simulations.deciding import Counted, Known, Sums
from loyalty.simulations.rules import Tried


async def gather(
    session: AsyncSession, simulation: models.Simulation, *, zone: ZoneInfo, orders: Sequence[Placed]
) -> tuple[Known, list[Counted]]:
    """Return what the decisions on these orders need, and those of them that could earn."""
    program_id, order_ids = simulation.program_id, [order.id for order in orders]
    counts = await earning.counts(session, program_id=program_id, order_ids=order_ids)
    counted = [
        Counted(order, count.counted_at, count.rule_set, count.facts, earning.awards_of(count))
        for order in orders
        if (count := counts.get(order.id)) is not None and count.rule_set is not None
    ]
    rows = await queries.list_rules(session, program_id=program_id, simulation_id=simulation.id)
    tried = [_tried(row, simulation) for row in rows]
    known = Known(
        zone=zone,
        tried=tried,
        tally=await _tally(session, simulation, zone=zone, tried=tried, counted=counted),
        attributes=await _attributes(session, program_id=program_id, tried=tried, counted=counted),
        numbers=await _numbers(session, program_id=program_id, tried=tried, counted=counted),
    )
    return known, counted


async def write(session: AsyncSession, sums: Sums, tally: Tally, *, program_id: UUID, simulation_id: UUID) -> None:
    """Add what a batch comes to, and what it uses up of limits; budgets are used up by a rule's points themselves."""
    own = {"program_id": program_id, "simulation_id": simulation_id}
    months: list[dict[str, Any]] = [{**own, "month": month, "orders": orders} for month, orders in sums.months.items()]
    points = [
        {
            **own,
            "month": month,
            "rule_id": rule_id,
            "unit": unit,
            "orders_today": sums.orders[month, rule_id, unit].today,
            "orders_tried": sums.orders[month, rule_id, unit].tried,
            "points_today": both.today,
            "points_tried": both.tried,
        }
        for (month, rule_id, unit), both in sums.points.items()
    ]
    concerned = [
        {**own, "member_id": member_id, "unit": unit, "points_today": both.today, "points_tried": both.tried}
        for (member_id, unit), both in sums.members.items()
    ]
    used = [
        {
            **own,
            "rule_id": rule_id,
            "member_id": member_id,
            "period": period,
            "period_on": period_on,
            "points": more,
        }
        for (rule_id, member_id, period, period_on), more in tally.more_used.items()
    ]
    await queries.add(session, models.SimulationMonth, months)
    await queries.add(session, models.SimulationPoints, points)
    await queries.add(session, models.SimulationMember, concerned)
    await queries.add(session, models.SimulationUsage, used)


def _tried(row: models.SimulationRule, simulation: models.Simulation) -> Tried:
    terms = read_terms(row.kind, row.definition)
    version = RuleVersion(row.rule_id, row.version, terms, simulation.placed_from, active_until=None)
    return Tried(version, row.number, since=row.active_from if row.in_force else None)


async def _tally(
    session: AsyncSession,
    simulation: models.Simulation,
    *,
    zone: ZoneInfo,
    tried: Sequence[Tried],
    counted: Sequence[Counted],
) -> Tally:
    """Return what the simulation itself has used up of limits so far."""
    key = {"program_id": simulation.program_id, "simulation_id": simulation.id}
    limited = [own.rule for own in tried]
    occasions = [(own.order.customer_id, own.at.astimezone(zone).date()) for own in counted]
    used = await queries.list_used(session, **key, keys=limiting.usage_keys(limited, occasions))
    spent = await queries.sum_tried(session, **key, rule_ids=limiting.with_budget(limited))
    return Tally(simulation.program_id, used, spent)


async def _attributes(
    session: AsyncSession, *, program_id: UUID, tried: Sequence[Tried], counted: Sequence[Counted]
) -> dict[UUID, dict[str, str]]:
    """Look up the members' attributes as they are now, if any rule asks for them."""
    if not any(own.rule.terms.conditions.attributes for own in tried):
        return {}
    member_ids = {own.order.customer_id for own in counted}
    return await members.attributes(session, program_id=program_id, member_ids=member_ids)


async def _numbers(
    session: AsyncSession, *, program_id: UUID, tried: Sequence[Tried], counted: Sequence[Counted]
) -> dict[UUID, int]:
    """Number the orders that did not keep which of their customer's they were, if any rule asks for it."""
    unknown = [own.order for own in counted if "order_number" not in own.facts]
    if not unknown or not any(own.rule.terms.conditions.count_orders for own in tried):
        return {}
    return await history.numbers(
        session,
        program_id=program_id,
        customer_ids={order.customer_id for order in unknown},
        order_ids=[order.id for order in unknown],
    )
