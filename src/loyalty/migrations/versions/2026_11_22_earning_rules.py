"""Earning rules of every kind: drafts, what orders were counted by, limits, and what lines and orders say for them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_VERSIONS = "earning_rule_versions"
_KINDS = "kind IN ('points_per_amount', 'points_per_item', 'bonus', 'multiplier', 'points_per_activity')"
_LINE_CHECKS = {
    "kind_known": "kind IN ('product', 'gift_card', 'shipping')",
    "discount_not_negative": "discount_minor >= 0",
    "tax_within_total": "tax_minor BETWEEN 0 AND total_minor",
    "points_within_total": "points_minor BETWEEN 0 AND total_minor",
}


def upgrade() -> None:
    op.add_column(_VERSIONS, sa.Column("number", sa.Integer(), nullable=True))
    op.execute(
        """
        UPDATE earning_rule_versions AS own SET number = numbered.number
        FROM (
            SELECT program_id, rule_id, version,
                row_number() OVER (PARTITION BY program_id ORDER BY created_at, rule_id, version) AS number
            FROM earning_rule_versions
        ) AS numbered
        WHERE own.program_id = numbered.program_id AND own.rule_id = numbered.rule_id
            AND own.version = numbered.version
        """
    )
    op.alter_column(_VERSIONS, "number", nullable=False)
    op.alter_column(_VERSIONS, "active_from", nullable=True)
    op.add_column(_VERSIONS, sa.Column("ends", sa.Boolean(), server_default="false", nullable=False))
    op.drop_constraint(op.f("ck_earning_rule_versions_kind_known"), _VERSIONS, type_="check")
    op.create_check_constraint(op.f("ck_earning_rule_versions_kind_known"), _VERSIONS, _KINDS)
    op.create_check_constraint(
        op.f("ck_earning_rule_versions_drafts_do_not_end"), _VERSIONS, "active_until IS NULL OR active_from IS NOT NULL"
    )
    op.create_index("uq_earning_rule_versions_number", _VERSIONS, ["program_id", "number"], unique=True)
    op.add_column("orders", sa.Column("store", sa.Text(), nullable=True))
    op.add_column("orders", sa.Column("payment_method", sa.Text(), nullable=True))
    op.add_column("order_lines", sa.Column("brand", sa.Text(), nullable=True))
    op.add_column("order_lines", sa.Column("kind", sa.Text(), server_default="product", nullable=False))
    for name in ("discount_minor", "tax_minor", "points_minor"):
        op.add_column("order_lines", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    for name, says in _LINE_CHECKS.items():
        op.create_check_constraint(op.f(f"ck_order_lines_{name}"), "order_lines", says)
    op.create_table(
        "order_counts",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rule_set", sa.Integer(), nullable=False),
        sa.Column("facts", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(
            ["program_id", "order_id"],
            ["orders.program_id", "orders.id"],
            name=op.f("fk_order_counts_program_id_order_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "order_id", name=op.f("pk_order_counts")),
    )
    op.create_table(
        "earning_usage",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("period_on", sa.Date(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("points >= 0", name=op.f("ck_earning_usage_points_not_negative")),
        sa.ForeignKeyConstraint(
            ["program_id", "member_id"],
            ["members.program_id", "members.id"],
            name=op.f("fk_earning_usage_program_id_member_id"),
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "rule_id"],
            ["earning_rules.program_id", "earning_rules.id"],
            name=op.f("fk_earning_usage_program_id_rule_id"),
        ),
        sa.PrimaryKeyConstraint(
            "program_id", "rule_id", "member_id", "period", "period_on", name=op.f("pk_earning_usage")
        ),
        postgresql_with={"fillfactor": 70},
    )
    op.create_table(
        "earning_budgets",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("points >= 0", name=op.f("ck_earning_budgets_points_not_negative")),
        sa.ForeignKeyConstraint(
            ["program_id", "rule_id"],
            ["earning_rules.program_id", "earning_rules.id"],
            name=op.f("fk_earning_budgets_program_id_rule_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "rule_id", name=op.f("pk_earning_budgets")),
        postgresql_with={"fillfactor": 70},
    )


def downgrade() -> None:
    for table in ("earning_budgets", "earning_usage", "order_counts"):
        op.drop_table(table)
    for name in _LINE_CHECKS:
        op.drop_constraint(op.f(f"ck_order_lines_{name}"), "order_lines", type_="check")
    for name in ("points_minor", "tax_minor", "discount_minor", "kind", "brand"):
        op.drop_column("order_lines", name)
    for name in ("payment_method", "store"):
        op.drop_column("orders", name)
    op.drop_index("uq_earning_rule_versions_number", table_name=_VERSIONS)
    op.drop_constraint(op.f("ck_earning_rule_versions_drafts_do_not_end"), _VERSIONS, type_="check")
    op.drop_constraint(op.f("ck_earning_rule_versions_kind_known"), _VERSIONS, type_="check")
    op.create_check_constraint(op.f("ck_earning_rule_versions_kind_known"), _VERSIONS, "kind IN ('points_per_amount')")
    op.alter_column(_VERSIONS, "active_from", nullable=False)
    op.drop_column(_VERSIONS, "ends")
    op.drop_column(_VERSIONS, "number")
