from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Computed, ForeignKeyConstraint, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class Customer(Row):
    """Anyone who buys or signs up. Says nothing personal.

    That is in `profiles` and `identifiers`, which erasure empties.
    """

    __tablename__ = "customers"
    __table_args__ = (ForeignKeyConstraint(["program_id", "merged_into"], ["customers.program_id", "customers.id"]),)

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    recorded_at: Mapped[datetime]
    merged_into: Mapped[UUID | None]
    erased_at: Mapped[datetime | None]


_BIRTHDAY = "(EXTRACT(MONTH FROM birth_on) * 100 + EXTRACT(DAY FROM birth_on))::smallint"


class Profile(Row):
    """Personal data of a customer, apart from everything that the ledger and the metrics need.

    `birthday` is the month times 100 and the day.
    """

    __tablename__ = "profiles"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "customer_id"], ["customers.program_id", "customers.id"]),
        Index("ix_profiles_birthday", "program_id", "birthday", "customer_id"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID] = mapped_column(primary_key=True)
    given_name: Mapped[str | None]
    family_name: Mapped[str | None]
    birth_on: Mapped[date | None]
    birthday: Mapped[int | None] = mapped_column(SmallInteger, Computed(_BIRTHDAY, persisted=True))
    locale: Mapped[str | None]
    attributes: Mapped[dict[str, str]] = mapped_column(server_default=text("'{}'"))
    notes: Mapped[dict[str, str]] = mapped_column("metadata", server_default=text("'{}'"))
    updated_at: Mapped[datetime]


class Identifier(Row):
    """What a customer is known by. Removed ones stay as history.

    A live one belongs to exactly one customer of the program.
    """

    __tablename__ = "identifiers"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "customer_id"], ["customers.program_id", "customers.id"]),
        CheckConstraint("kind IN ('external_id', 'email', 'phone', 'card')", name="kind_known"),
        Index(
            "uq_identifiers_live",
            "program_id",
            "kind",
            "value",
            unique=True,
            postgresql_where=text("removed_at IS NULL"),
        ),
        Index(
            "uq_identifiers_kind",
            "program_id",
            "customer_id",
            "kind",
            unique=True,
            postgresql_where=text("removed_at IS NULL"),
        ),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID]
    kind: Mapped[str]
    value: Mapped[str]
    added_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]


class Member(Row):
    """An enrolled customer, under the customer's own id.

    `enrolment_external_order_id` names the order at whose checkout the customer joined, by the storefront's own id,
    since the enrolment usually comes first.
    """

    __tablename__ = "members"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "id"], ["customers.program_id", "customers.id"]),
        CheckConstraint("status IN ('active', 'suspended', 'closed')", name="status_known"),
        CheckConstraint("suspends IN ('earn', 'burn', 'both')", name="suspends_known"),
        CheckConstraint("(status = 'suspended') = (suspends IS NOT NULL)", name="suspended_says_what"),
        CheckConstraint("(status = 'closed') = (closed_at IS NOT NULL)", name="closed_says_when"),
        Index("ix_members_enrolled", "program_id", "enrolled_at"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    enrolled_at: Mapped[datetime]
    recorded_at: Mapped[datetime]
    enrolment_external_order_id: Mapped[str | None]
    status: Mapped[str]
    suspends: Mapped[str | None]
    closed_at: Mapped[datetime | None]


class MemberStatusChange(Row):
    """Why a member's status is what it is: who changed it, when, and the reason given."""

    __tablename__ = "member_status_changes"
    __table_args__ = (ForeignKeyConstraint(["program_id", "member_id"], ["members.program_id", "members.id"]),)

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    status: Mapped[str]
    suspends: Mapped[str | None]
    reason: Mapped[str]
    actor: Mapped[str]
    occurred_at: Mapped[datetime]
