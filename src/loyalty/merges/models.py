from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class MemberMerge(Row):
    """That one membership became another's, by whom and why."""

    __tablename__ = "member_merges"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "from_member_id"], ["members.program_id", "members.id"]),
        ForeignKeyConstraint(["program_id", "into_member_id"], ["members.program_id", "members.id"]),
        Index("uq_member_merges_from", "program_id", "from_member_id", unique=True),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    from_member_id: Mapped[UUID]
    into_member_id: Mapped[UUID]
    reason: Mapped[str]
    actor: Mapped[str]
    merged_at: Mapped[datetime]
