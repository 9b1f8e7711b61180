from datetime import datetime
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
