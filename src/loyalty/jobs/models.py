from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class Job(Row):
    """A program's recurring job. All instants are the real world's.

    A worker that takes it holds a lease until `leased_until`; one that dies loses it by time. `attempts` counts
    failures since the last run that succeeded, and `last_error` keeps what the last one said.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint("attempts >= 0", name="attempts_not_negative"),
        Index("ix_jobs_due", "program_id", "run_at"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    run_at: Mapped[datetime]
    leased_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer)
    last_started_at: Mapped[datetime | None]
    last_finished_at: Mapped[datetime | None]
    last_done: Mapped[int | None]
    last_error: Mapped[str | None]
