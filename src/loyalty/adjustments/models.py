from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class Adjustment(Row):
    """What somebody changed by hand: `points` above zero were given, below zero taken.

    `kind` adjust gives or takes, opening brings in what an earlier system owed, extend and reinstate name the lot whose
    points got a later end.
    """

    __tablename__ = "adjustments"
    __table_args__ = (
        ForeignKeyConstraint(
            ["program_id", "member_id", "unit"], ["wallets.program_id", "wallets.member_id", "wallets.unit"]
        ),
        ForeignKeyConstraint(["program_id", "lot_id"], ["lots.program_id", "lots.id"]),
        CheckConstraint("kind IN ('adjust', 'opening', 'extend', 'reinstate')", name="kind_known"),
        CheckConstraint("points <> 0", name="points_not_zero"),
        CheckConstraint("points > 0 OR kind = 'adjust'", name="only_an_adjustment_takes"),
        CheckConstraint("(lot_id IS NOT NULL) = (kind IN ('extend', 'reinstate'))", name="names_its_lot"),
        Index("uq_adjustments_external_id", "program_id", "external_id", unique=True),
        Index("ix_adjustments_member", "program_id", "member_id", "id"),
        Index("ix_adjustments_lot", "program_id", "lot_id"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    external_id: Mapped[str | None]
    content_digest: Mapped[bytes] = mapped_column(LargeBinary)
    member_id: Mapped[UUID]
    unit: Mapped[str]
    kind: Mapped[str]
    points: Mapped[int]
    lot_id: Mapped[UUID | None]
    reason: Mapped[str]
    actor: Mapped[str]
    adjusted_at: Mapped[datetime]
    notes: Mapped[dict[str, str]] = mapped_column("metadata", server_default=text("'{}'"))
