"""Simulations: rules tried on past orders."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_PARTS = (
    "simulation_rules",
    "simulation_months",
    "simulation_points",
    "simulation_members",
    "simulation_usage",
)


def upgrade() -> None:
    op.create_table(
        "simulations",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("placed_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("placed_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("rates", postgresql.JSONB(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("orders_total", sa.BigInteger(), nullable=True),
        sa.Column("orders_done", sa.BigInteger(), nullable=False),
        sa.Column("reached_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reached_id", sa.Uuid(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("most_affected", postgresql.JSONB(), nullable=False),
        sa.CheckConstraint("placed_until > placed_from", name=op.f("ck_simulations_window_not_empty")),
        sa.CheckConstraint("orders_done >= 0", name=op.f("ck_simulations_orders_done_not_negative")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_simulations_attempts_not_negative")),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_simulations")),
    )
    op.create_index(
        "ix_simulations_unfinished", "simulations", ["program_id", "id"], postgresql_where=sa.text("ended_at IS NULL")
    )
    _create_part(
        "simulation_rules",
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("definition", postgresql.JSONB(), nullable=False),
        sa.Column("active_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("in_force", sa.Boolean(), nullable=False),
        key=["rule_id"],
    )
    _create_part(
        "simulation_months",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("orders", sa.BigInteger(), nullable=False),
        key=["month"],
    )
    _create_part(
        "simulation_points",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("orders_today", sa.BigInteger(), nullable=False),
        sa.Column("orders_tried", sa.BigInteger(), nullable=False),
        sa.Column("points_today", sa.BigInteger(), nullable=False),
        sa.Column("points_tried", sa.BigInteger(), nullable=False),
        key=["month", "rule_id", "unit"],
    )
    _create_part(
        "simulation_members",
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("points_today", sa.BigInteger(), nullable=False),
        sa.Column("points_tried", sa.BigInteger(), nullable=False),
        key=["member_id", "unit"],
        fillfactor=70,
    )
    _create_part(
        "simulation_usage",
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("period_on", sa.Date(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        key=["rule_id", "member_id", "period", "period_on"],
        fillfactor=70,
    )


def downgrade() -> None:
    for part in reversed(_PARTS):
        op.drop_table(part)
    op.drop_table("simulations")


def _create_part(name: str, *columns: sa.Column[object], key: list[str], **storage: int) -> None:
    op.create_table(
        name,
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("simulation_id", sa.Uuid(), nullable=False),
        *columns,
        sa.ForeignKeyConstraint(
            ["program_id", "simulation_id"],
            ["simulations.program_id", "simulations.id"],
            name=op.f(f"fk_{name}_program_id_simulation_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "simulation_id", *key, name=op.f(f"pk_{name}")),
        postgresql_with=storage,
    )
