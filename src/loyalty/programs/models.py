from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Integer
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class Program(Row):
    """A program; one of the few small tables that belong to no tenant."""

    __tablename__ = "programs"
    __table_args__ = (
        CheckConstraint("mode IN ('test', 'live')", name="mode_known"),
        CheckConstraint("clock_at IS NULL OR mode = 'test'", name="clock_only_in_test"),
        CheckConstraint("slug ~ '^[a-z0-9][a-z0-9-]{1,38}[a-z0-9]$'", name="slug_shape"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    mode: Mapped[str]
    clock_at: Mapped[datetime | None]
    settings_version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime]


class ProgramSettings(Row):
    """Every version that a program's settings ever had; the program names the one in force."""

    __tablename__ = "program_settings"

    program_id: Mapped[UUID] = mapped_column(ForeignKey("programs.id"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    document: Mapped[dict[str, Any]] = mapped_column(JSONB)
    actor: Mapped[str]
    created_at: Mapped[datetime]
