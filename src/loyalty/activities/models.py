from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Date, ForeignKeyConstraint, Index, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class Activity(Row):
    """Something that a member did.

    It was judged by the rules in force at `occurred_at` in the rule set of that number, and by the facts that they
    asked for; `rule_set` is null where no rule could count it.
    """

    __tablename__ = "activities"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "member_id"], ["members.program_id", "members.id"]),
        Index("uq_activities_external_id", "program_id", "type", "external_id", unique=True),
        Index("ix_activities_member", "program_id", "member_id", "id"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID]
    type: Mapped[str]
    external_id: Mapped[str | None]
    occurred_at: Mapped[datetime]
    recorded_at: Mapped[datetime]
    rule_set: Mapped[int | None] = mapped_column(Integer)
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)
    notes: Mapped[dict[str, str]] = mapped_column("metadata", server_default=text("'{}'"))


class BirthdayProgress(Row):
    """Until which local day a program's birthdays are recorded, and of the next day until which member."""

    __tablename__ = "birthday_progress"

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    done_on: Mapped[date] = mapped_column(Date)
    after_member: Mapped[UUID | None]


class ActivityAward(Row):
    """What one rule version gave for one activity. The key is the business uniqueness of earning."""

    __tablename__ = "activity_awards"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "activity_id"], ["activities.program_id", "activities.id"]),
        ForeignKeyConstraint(
            ["program_id", "rule_id", "rule_version"],
            [
                "earning_rule_versions.program_id",
                "earning_rule_versions.rule_id",
                "earning_rule_versions.version",
            ],
        ),
        CheckConstraint("points > 0", name="points_positive"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    activity_id: Mapped[UUID] = mapped_column(primary_key=True)
    rule_id: Mapped[UUID] = mapped_column(primary_key=True)
    rule_version: Mapped[int] = mapped_column(Integer)
    unit: Mapped[str]
    points: Mapped[int]
    entry_id: Mapped[UUID]
