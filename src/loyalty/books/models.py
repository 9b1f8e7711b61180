from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class LedgerSeal(Row):
    """What the ledger held of the entries written from `since` on and before `until`, by the real world's clock.

    `digest` is the SHA-256 over the digest before, the bounds, and every entry with its allocations.
    """

    __tablename__ = "ledger_seals"
    __table_args__ = (
        CheckConstraint("since < until", name="since_before_until"),
        CheckConstraint("entries >= 0", name="entries_not_negative"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    until: Mapped[datetime] = mapped_column(primary_key=True)
    since: Mapped[datetime]
    entries: Mapped[int]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_at: Mapped[datetime]


class MonthOpening(Row):
    """What entries that the opening stands for moved into and out of wallets, by local month and counter-account."""

    __tablename__ = "month_openings"

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    unit: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(primary_key=True)
    points: Mapped[int]


class CohortOpening(Row):
    """What they put into and took out of lots, by the local month in which these were earned and counter-account."""

    __tablename__ = "cohort_openings"

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    unit: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(primary_key=True)
    points: Mapped[int]
