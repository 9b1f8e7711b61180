from datetime import datetime
from uuid import UUID

from sqlalchemy import CHAR, CheckConstraint, ForeignKeyConstraint, Index, Integer, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class ReferralCampaign(Row):
    """What a referral asks for and what it gives; at most one of a program is active."""

    __tablename__ = "referral_campaigns"
    __table_args__ = (
        CheckConstraint("advocate_points >= 0 AND referee_points >= 0", name="points_not_negative"),
        CheckConstraint("window_days BETWEEN 1 AND 3650", name="window_in_bounds"),
        CheckConstraint("minimum_minor >= 0", name="minimum_not_negative"),
        CheckConstraint("retired_at IS NULL OR retired_at >= started_at", name="retired_after_started"),
        Index("uq_referral_campaigns_active", "program_id", unique=True, postgresql_where=text("retired_at IS NULL")),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    landing_url: Mapped[str]
    window_days: Mapped[int] = mapped_column(Integer)
    unit: Mapped[str]
    advocate_points: Mapped[int]
    referee_points: Mapped[int]
    minimum_minor: Mapped[int]
    minimum_currency: Mapped[str] = mapped_column(CHAR(3))
    started_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class ReferralCode(Row):
    """A member's code, stored folded. A retired one stays as a tombstone, so that it never becomes another member's.

    After a merge it belongs to another than it was `issued_to`.
    """

    __tablename__ = "referral_codes"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "member_id"], ["members.program_id", "members.id"]),
        CheckConstraint("kind IN ('generated', 'vanity')", name="kind_known"),
        Index(
            "uq_referral_codes_primary",
            "program_id",
            "member_id",
            unique=True,
            postgresql_where=text("is_primary AND retired_at IS NULL"),
        ),
        Index("ix_referral_codes_member", "program_id", "member_id"),
        Index("ix_referral_codes_issued_to", "program_id", "issued_to"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(primary_key=True)
    member_id: Mapped[UUID]
    issued_to: Mapped[UUID]
    kind: Mapped[str]
    is_primary: Mapped[bool]
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class ReferralClick(Row):
    """One visit through a link. Bots, previews and HEAD requests are kept apart by `kind`.

    And nothing of the visitor is stored.
    """

    __tablename__ = "referral_clicks"
    __table_args__ = (
        CheckConstraint("kind IN ('visit', 'bot', 'prefetch')", name="kind_known"),
        Index("ix_referral_clicks_code", "program_id", "code", "clicked_at"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    code: Mapped[str]
    channel: Mapped[str | None]
    kind: Mapped[str]
    clicked_at: Mapped[datetime]


class Referral(Row):
    """A referee bound to an advocate. One live binding per referee is a constraint, not a hope.

    `settled_recorded_at` is when we learned what the times before it say: a late order qualifies as of its own time.
    """

    __tablename__ = "referrals"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "referee_id"], ["members.program_id", "members.id"]),
        ForeignKeyConstraint(["program_id", "advocate_id"], ["members.program_id", "members.id"]),
        ForeignKeyConstraint(["program_id", "campaign_id"], ["referral_campaigns.program_id", "referral_campaigns.id"]),
        CheckConstraint("referee_id <> advocate_id", name="not_oneself"),
        CheckConstraint(
            "state IN ('signed_up', 'qualified', 'approved', 'rewarded', 'rejected', 'expired', 'voided', 'reversed')",
            name="state_known",
        ),
        CheckConstraint("method IN ('code', 'click', 'import')", name="method_known"),
        CheckConstraint("(qualified_at IS NULL) = (qualifying_order_id IS NULL)", name="qualified_by_an_order"),
        Index("uq_referrals_live", "program_id", "referee_id", unique=True, postgresql_where=text("ended_at IS NULL")),
        Index("ix_referrals_advocate", "program_id", "advocate_id"),
        Index(
            "ix_referrals_order",
            "program_id",
            "qualifying_order_id",
            postgresql_where=text("qualifying_order_id IS NOT NULL"),
        ),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    referee_id: Mapped[UUID]
    advocate_id: Mapped[UUID]
    campaign_id: Mapped[UUID]
    code: Mapped[str]
    method: Mapped[str]
    channel: Mapped[str | None]
    click_id: Mapped[UUID | None]
    state: Mapped[str]
    attributed_at: Mapped[datetime]
    recorded_at: Mapped[datetime]
    qualified_at: Mapped[datetime | None]
    qualifying_order_id: Mapped[UUID | None]
    approved_at: Mapped[datetime | None]
    rewarded_at: Mapped[datetime | None]
    settled_recorded_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    ended_reason: Mapped[str | None]


class ReferralTouch(Row):
    """Every claim on a referee that was put forward at enrolment: which won, which lost, and why."""

    __tablename__ = "referral_touches"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "referee_id"], ["members.program_id", "members.id"]),
        CheckConstraint("outcome IN ('won', 'lost', 'refused')", name="outcome_known"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    referee_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    method: Mapped[str]
    code: Mapped[str | None]
    outcome: Mapped[str]
    reason: Mapped[str]


class ReferralReward(Row):
    """What one side of a completed referral got, or why it got nothing; the key is what makes it once."""

    __tablename__ = "referral_rewards"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "referral_id"], ["referrals.program_id", "referrals.id"]),
        CheckConstraint("side IN ('advocate', 'referee')", name="side_known"),
        CheckConstraint("(points > 0) = (entry_id IS NOT NULL)", name="points_have_an_entry"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    referral_id: Mapped[UUID] = mapped_column(primary_key=True)
    side: Mapped[str] = mapped_column(primary_key=True)
    member_id: Mapped[UUID]
    entry_id: Mapped[UUID | None]
    points: Mapped[int]
    refused: Mapped[str | None]
