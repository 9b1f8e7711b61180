from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Date, ForeignKeyConstraint, Index, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class EarningRule(Row):
    """A rule's name and place; what it says is in its versions."""

    __tablename__ = "earning_rules"

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime]


class EarningRuleVersion(Row):
    """What a rule says from `active_from` on, until a later version of it begins or `active_until` comes.

    A draft has no `active_from` yet, and one that `ends` says nothing any more. `number` counts the versions of all
    rules of a program: those up to a number are the rule set that an order was counted under, so nothing of a version
    that has a beginning ever changes.
    """

    __tablename__ = "earning_rule_versions"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "rule_id"], ["earning_rules.program_id", "earning_rules.id"]),
        CheckConstraint(
            "kind IN ('points_per_amount', 'points_per_item', 'bonus', 'multiplier', 'points_per_activity')",
            name="kind_known",
        ),
        CheckConstraint("active_until IS NULL OR active_until > active_from", name="ends_after_start"),
        CheckConstraint("active_until IS NULL OR active_from IS NOT NULL", name="drafts_do_not_end"),
        Index("uq_earning_rule_versions_start", "program_id", "rule_id", "active_from", unique=True),
        Index("uq_earning_rule_versions_number", "program_id", "number", unique=True),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    rule_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    number: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str]
    definition: Mapped[dict[str, Any]] = mapped_column(JSONB)
    actor: Mapped[str]
    active_from: Mapped[datetime | None]
    active_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    ends: Mapped[bool] = mapped_column(server_default="false")


class OrderCount(Row):
    """By what an order was counted: at which instant, under which rule set, and the facts of its moment that it asked.

    A return counts the order again by the same. `awards` are what rules gave for it then, as `write_award` writes them;
    that there is one row an order is the business uniqueness of earning: it pays a rule once, whatever key the request
    carried. Without a rule set (orders of a first release) it was counted by the rules that it has awards of.
    """

    __tablename__ = "order_counts"
    __table_args__ = (ForeignKeyConstraint(["program_id", "order_id"], ["orders.program_id", "orders.id"]),)

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    counted_at: Mapped[datetime]
    rule_set: Mapped[int | None] = mapped_column(Integer)
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)
    awards: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))


class EarningUsage(Row):
    """How many points a rule has given a member within a `period` (day, month, …) that begins on `period_on`."""

    __tablename__ = "earning_usage"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "rule_id"], ["earning_rules.program_id", "earning_rules.id"]),
        ForeignKeyConstraint(["program_id", "member_id"], ["members.program_id", "members.id"]),
        CheckConstraint("points >= 0", name="points_not_negative"),
        {"postgresql_with": {"fillfactor": 70}},
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    rule_id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    period_on: Mapped[date] = mapped_column(Date, primary_key=True)
    points: Mapped[int]


class EarningBudget(Row):
    """How many points a rule with a budget has given in all."""

    __tablename__ = "earning_budgets"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "rule_id"], ["earning_rules.program_id", "earning_rules.id"]),
        CheckConstraint("points >= 0", name="points_not_negative"),
        {"postgresql_with": {"fillfactor": 70}},
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    rule_id: Mapped[UUID] = mapped_column(primary_key=True)
    points: Mapped[int]


class OrderAwardReversal(Row):
    """What a return took back of what a rule had given: `points` in all.

    Of these `pending` were not spendable yet, `taken` came out of the wallet's lots, `lapsed` had expired before,
    `owed` became debt and `written_off` was let go; under a policy that leaves spendable points alone the parts may be
    less than the whole.
    """

    __tablename__ = "order_award_reversals"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "order_id"], ["orders.program_id", "orders.id"]),
        ForeignKeyConstraint(["program_id", "return_id"], ["order_returns.program_id", "order_returns.id"]),
        ForeignKeyConstraint(["program_id", "rule_id"], ["earning_rules.program_id", "earning_rules.id"]),
        CheckConstraint("points >= 0", name="points_not_negative"),
        CheckConstraint("pending + taken + lapsed + owed + written_off <= points", name="parts_within_points"),
        Index("ix_order_award_reversals_order", "program_id", "order_id"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    return_id: Mapped[UUID] = mapped_column(primary_key=True)
    rule_id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID]
    points: Mapped[int]
    pending: Mapped[int]
    taken: Mapped[int]
    lapsed: Mapped[int] = mapped_column(server_default="0")
    owed: Mapped[int]
    written_off: Mapped[int]


class OrderAwardAddition(Row):
    """What a rule gives an order more since it was changed: `points`, of which `paid` were given by an entry.

    The others make up for what a return had let go. Amendments add, and a return where rules displace each other.
    """

    __tablename__ = "order_award_additions"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "order_id"], ["orders.program_id", "orders.id"]),
        ForeignKeyConstraint(["program_id", "return_id"], ["order_returns.program_id", "order_returns.id"]),
        ForeignKeyConstraint(
            ["program_id", "rule_id", "rule_version"],
            [
                "earning_rule_versions.program_id",
                "earning_rule_versions.rule_id",
                "earning_rule_versions.version",
            ],
        ),
        CheckConstraint("points > 0", name="points_positive"),
        CheckConstraint("paid BETWEEN 0 AND points", name="paid_within_points"),
        CheckConstraint("(paid > 0) = (entry_id IS NOT NULL)", name="paid_has_an_entry"),
        Index("ix_order_award_additions_order", "program_id", "order_id"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    return_id: Mapped[UUID] = mapped_column(primary_key=True)
    rule_id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID]
    rule_version: Mapped[int] = mapped_column(Integer)
    unit: Mapped[str]
    points: Mapped[int]
    paid: Mapped[int]
    entry_id: Mapped[UUID | None]
