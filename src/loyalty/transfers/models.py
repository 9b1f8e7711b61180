from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class Transfer(Row):
    """Points that went from one member to another."""

    __tablename__ = "transfers"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "from_member_id"], ["members.program_id", "members.id"]),
        ForeignKeyConstraint(["program_id", "to_member_id"], ["members.program_id", "members.id"]),
        CheckConstraint("points > 0", name="points_positive"),
        CheckConstraint("from_member_id <> to_member_id", name="two_members"),
        Index("ix_transfers_from", "program_id", "from_member_id", "id"),
        Index("ix_transfers_to", "program_id", "to_member_id", "id"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    from_member_id: Mapped[UUID]
    to_member_id: Mapped[UUID]
    unit: Mapped[str]
    points: Mapped[int]
    reason: Mapped[str | None]
    actor: Mapped[str]
    transferred_at: Mapped[datetime]
    notes: Mapped[dict[str, str]] = mapped_column("metadata", server_default=text("'{}'"))
