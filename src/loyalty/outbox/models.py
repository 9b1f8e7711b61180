from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class Event(Row):
    """An effect to tell the world: written unnumbered with the effect, numbered gap-free by a relay afterwards.

    `version` is the wallet's version where the effect moved points: it orders one member's events.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("uq_events_number", "program_id", "number", unique=True, postgresql_where=text("number IS NOT NULL")),
        Index("ix_events_unnumbered", "program_id", "id", postgresql_where=text("number IS NULL")),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[str]
    subject_id: Mapped[UUID]
    member_id: Mapped[UUID | None]
    customer_id: Mapped[UUID | None]
    version: Mapped[int | None]
    occurred_at: Mapped[datetime]
    recorded_at: Mapped[datetime]
    number: Mapped[int | None]


class EventFloor(Row):
    """The highest number among a program's events that were detached: those to come go on above it."""

    __tablename__ = "event_floors"
    __table_args__ = (CheckConstraint("number > 0", name="number_positive"),)

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int]
