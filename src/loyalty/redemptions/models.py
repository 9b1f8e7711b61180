from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class Redemption(Row):
    """Points given for a reward, or none where it was granted. Its id is the coupon's id too: one makes the other."""

    __tablename__ = "redemptions"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "member_id"], ["members.program_id", "members.id"]),
        ForeignKeyConstraint(["program_id", "id"], ["coupons.program_id", "coupons.id"]),
        CheckConstraint("points >= 0", name="points_not_negative"),
        CheckConstraint("(points > 0) = (entry_id IS NOT NULL)", name="points_have_an_entry"),
        Index("ix_redemptions_member", "program_id", "member_id", "id"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID]
    reward_id: Mapped[UUID]
    unit: Mapped[str]
    points: Mapped[int]
    entry_id: Mapped[UUID | None]
    redeemed_at: Mapped[datetime]
    recorded_at: Mapped[datetime]
    notes: Mapped[dict[str, str]] = mapped_column("metadata", server_default=text("'{}'"))


class RewardGrant(Row):
    """That a reward was given without points: by whom, and why, until the member asks to be forgotten."""

    __tablename__ = "reward_grants"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "redemption_id"], ["redemptions.program_id", "redemptions.id"]),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    redemption_id: Mapped[UUID] = mapped_column(primary_key=True)
    actor: Mapped[str]
    reason: Mapped[str | None]


class RedemptionCancellation(Row):
    """That a redemption was undone, by whom, and the entry that put its points back. The key makes it once."""

    __tablename__ = "redemption_cancellations"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "redemption_id"], ["redemptions.program_id", "redemptions.id"]),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    redemption_id: Mapped[UUID] = mapped_column(primary_key=True)
    entry_id: Mapped[UUID | None]
    actor: Mapped[str]
    reason: Mapped[str | None]
    cancelled_at: Mapped[datetime]
    recorded_at: Mapped[datetime]
