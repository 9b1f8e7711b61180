"""What is shown of a simulation."""

from datetime import date
from typing import Any
from uuid import UUID

import msgspec

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.money import MoneyOut
from loyalty.core.paging import Page
from loyalty.programs.policies import BurnRate
from loyalty.programs.schemas import BurnRateOut
from loyalty.simulations.models import Simulation, SimulationRule
from loyalty.simulations.rules import Affected, Cell, Sides, cost_of, state_of, sum_by
from loyalty.simulations.service import Report


class SidesOut(msgspec.Struct):
    """What was, what would have been, and how much more that is."""

    today: int
    tried: int
    difference: int


class CostOut(msgspec.Struct):
    """What points would pay for in one currency, at the rate shown with the simulation, each side rounded down."""

    today: MoneyOut
    tried: MoneyOut
    difference: MoneyOut


class SimulatedPointsOut(msgspec.Struct):
    """Points of one unit, and what they would pay for: once in each currency, alternatives that do not add up.

    There is none where points of this unit pay for nothing.
    """

    unit: str
    points: SidesOut
    cost: list[CostOut]


class SimulatedMonthOut(msgspec.Struct):
    """A month of the program's calendar, by when orders were placed; `orders` could earn."""

    month: str
    orders: int
    points: list[SimulatedPointsOut]


class SimulatedRuleOut(msgspec.Struct):
    """What a rule gave and would have given, and for how many orders."""

    rule_id: str
    unit: str
    orders: SidesOut
    points: SidesOut


class AffectedMemberOut(msgspec.Struct):
    """A member, and the points of a unit that they got and would have got."""

    member_id: str
    unit: str
    points: SidesOut


class TriedRuleOut(msgspec.Struct):
    """A version that is tried; `is_draft` says that it was a draft when the simulation was asked for."""

    rule_id: str
    version: int
    is_draft: bool
    terms: dict[str, Any]


class SimulationProgressOut(msgspec.Struct):
    """How far a simulation is. `state` is queued, running, finished or failed.

    `orders_total` is null until it has begun. `problem` is why it failed, or why it has to try again.
    """

    id: str
    state: str
    from_: str = msgspec.field(name="from")
    until: str
    orders_done: int
    orders_total: int | None
    problem: str | None
    created_at: str
    created_by: str
    ended_at: str | None


class SimulationOut(SimulationProgressOut):
    """What rules would have given for past orders, beside what was given for the same orders.

    `orders` could earn, and are all that counts. `rules` are those tried; `by_rule` also has others that gave points.
    `rates` are what points of the program's own unit paid when this was asked for, by currency: cost is figured by
    them. `gained` and `lost` are the members with most more and most less, twenty of each unit, once all is looked at.
    """

    rules: list[TriedRuleOut]
    rates: dict[str, BurnRateOut]
    orders: int
    points: list[SimulatedPointsOut]
    by_month: list[SimulatedMonthOut]
    by_rule: list[SimulatedRuleOut]
    gained: list[AffectedMemberOut]
    lost: list[AffectedMemberOut]


class SimulationPage(msgspec.Struct):
    data: list[SimulationProgressOut]
    has_more: bool
    next_cursor: str | None


def simulation_page(page: Page[Simulation]) -> SimulationPage:
    shown = [SimulationProgressOut(**_progress(row)) for row in page.data]
    return SimulationPage(shown, page.has_more, page.next_cursor)


def simulation_out(report: Report) -> SimulationOut:
    row, cells = report.simulation, report.cells
    by_month, by_rule = sum_by(cells, _month_and_unit), sum_by(cells, _rule_and_unit)
    affected = [Affected.read(written) for written in row.most_affected]
    return SimulationOut(
        **_progress(row),
        rules=[_tried_out(own) for own in report.rules],
        rates={currency: BurnRateOut(**rate) for currency, rate in sorted(row.rates.items())},
        orders=sum(report.months.values()),
        points=[_points_out(unit, both, row) for unit, (_, both) in sum_by(cells, _unit).items()],
        by_month=[
            SimulatedMonthOut(
                f"{month:%Y-%m}",
                orders,
                [_points_out(unit, both, row) for (of, unit), (_, both) in by_month.items() if of == month],
            )
            for month, orders in report.months.items()
        ],
        by_rule=[
            SimulatedRuleOut(ids.public("rul", rule_id), unit, _sides_out(orders), _sides_out(points))
            for (rule_id, unit), (orders, points) in by_rule.items()
        ],
        gained=[_affected_out(own) for own in affected if own.points.difference > 0],
        lost=[_affected_out(own) for own in affected if own.points.difference < 0],
    )


def _progress(row: Simulation) -> dict[str, Any]:
    return {
        "id": ids.public("sim", row.id),
        "state": state_of(orders_total=row.orders_total, ended_at=row.ended_at, problem=row.problem),
        "from_": rfc3339(row.placed_from),
        "until": rfc3339(row.placed_until),
        "orders_done": row.orders_done,
        "orders_total": row.orders_total,
        "problem": row.problem,
        "created_at": rfc3339(row.created_at),
        "created_by": row.actor,
        "ended_at": rfc3339(row.ended_at) if row.ended_at else None,
    }


def _unit(cell: Cell) -> str:
    return cell.unit


def _month_and_unit(cell: Cell) -> tuple[date, str]:
    return cell.month, cell.unit


def _rule_and_unit(cell: Cell) -> tuple[UUID, str]:
    return cell.rule_id, cell.unit


def _tried_out(row: SimulationRule) -> TriedRuleOut:
    terms = {"kind": row.kind, **row.definition}
    return TriedRuleOut(ids.public("rul", row.rule_id), row.version, row.active_from is None, terms)


def _points_out(unit: str, points: Sides, simulation: Simulation) -> SimulatedPointsOut:
    rates = {currency: BurnRate(**rate) for currency, rate in simulation.rates.items()}
    cost = cost_of(points, rates=rates if unit == simulation.unit else {})
    shown = [
        CostOut(*(MoneyOut(amount, currency) for amount in (both.today, both.tried, both.difference)))
        for currency, both in cost.items()
    ]
    return SimulatedPointsOut(unit, _sides_out(points), shown)


def _sides_out(both: Sides) -> SidesOut:
    return SidesOut(both.today, both.tried, both.difference)


def _affected_out(own: Affected) -> AffectedMemberOut:
    return AffectedMemberOut(ids.public("mem", own.member_id), own.unit, _sides_out(own.points))
