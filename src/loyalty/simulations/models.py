from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Date, ForeignKeyConstraint, Index, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class Simulation(Row):
    """That rules are tried on the orders placed from `placed_from` on and before `placed_until`, and how far it is.

    Orders are looked at in order of time and id; `reached_at` and `reached_id` are the last one's. `orders_total` is
    null until they were counted. `unit` and `rates` are by what points are priced. `problem` is why the last attempt
    failed, and why the simulation did, if it ended with one. `most_affected` is found out at the end.
    """

    __tablename__ = "simulations"
    __table_args__ = (
        CheckConstraint("placed_until > placed_from", name="window_not_empty"),
        CheckConstraint("orders_done >= 0", name="orders_done_not_negative"),
        CheckConstraint("attempts >= 0", name="attempts_not_negative"),
        Index("ix_simulations_unfinished", "program_id", "id", postgresql_where=text("ended_at IS NULL")),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    placed_from: Mapped[datetime]
    placed_until: Mapped[datetime]
    unit: Mapped[str]
    rates: Mapped[dict[str, dict[str, int]]] = mapped_column(JSONB)
    actor: Mapped[str]
    created_at: Mapped[datetime]
    orders_total: Mapped[int | None]
    orders_done: Mapped[int]
    reached_at: Mapped[datetime]
    reached_id: Mapped[UUID]
    attempts: Mapped[int] = mapped_column(Integer)
    problem: Mapped[str | None]
    ended_at: Mapped[datetime | None]
    most_affected: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)


class SimulationRule(Row):
    """What a rule says as it is tried, copied: a draft may change. One without `active_from` was a draft."""

    __tablename__ = "simulation_rules"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "simulation_id"], ["simulations.program_id", "simulations.id"]),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    simulation_id: Mapped[UUID] = mapped_column(primary_key=True)
    rule_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(Integer)
    number: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str]
    definition: Mapped[dict[str, Any]] = mapped_column(JSONB)
    active_from: Mapped[datetime | None]
    in_force: Mapped[bool]


class SimulationMonth(Row):
    """How many orders of a month of the program's calendar could earn."""

    __tablename__ = "simulation_months"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "simulation_id"], ["simulations.program_id", "simulations.id"]),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    simulation_id: Mapped[UUID] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(Date, primary_key=True)
    orders: Mapped[int]


class SimulationPoints(Row):
    """What a rule gave and would have given in a month, and for how many orders."""

    __tablename__ = "simulation_points"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "simulation_id"], ["simulations.program_id", "simulations.id"]),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    simulation_id: Mapped[UUID] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(Date, primary_key=True)
    rule_id: Mapped[UUID] = mapped_column(primary_key=True)
    unit: Mapped[str] = mapped_column(primary_key=True)
    orders_today: Mapped[int]
    orders_tried: Mapped[int]
    points_today: Mapped[int]
    points_tried: Mapped[int]


class SimulationMember(Row):
    """What a member got and would have got; kept until the simulation has ended."""

    __tablename__ = "simulation_members"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "simulation_id"], ["simulations.program_id", "simulations.id"]),
        {"postgresql_with": {"fillfactor": 70}},
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    simulation_id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID] = mapped_column(primary_key=True)
    unit: Mapped[str] = mapped_column(primary_key=True)
    points_today: Mapped[int]
    points_tried: Mapped[int]


class SimulationUsage(Row):
    """What a tried rule has used up of its limit for a member; kept until the simulation has ended."""

    __tablename__ = "simulation_usage"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "simulation_id"], ["simulations.program_id", "simulations.id"]),
        {"postgresql_with": {"fillfactor": 70}},
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    simulation_id: Mapped[UUID] = mapped_column(primary_key=True)
    rule_id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    period_on: Mapped[date] = mapped_column(Date, primary_key=True)
    points: Mapped[int]
