from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, LargeBinary
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class Quote(Row):
    """Figures that an order of this content by this customer gets until `valid_until`."""

    __tablename__ = "quotes"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "customer_id"], ["customers.program_id", "customers.id"]),
        CheckConstraint("valid_until > quoted_at", name="valid_for_a_while"),
        Index("ix_quotes_valid_until", "program_id", "valid_until"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID | None]
    content_digest: Mapped[bytes] = mapped_column(LargeBinary)
    figures: Mapped[dict[str, Any]] = mapped_column(JSONB)
    quoted_at: Mapped[datetime]
    valid_until: Mapped[datetime]
