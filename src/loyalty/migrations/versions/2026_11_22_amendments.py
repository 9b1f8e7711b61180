"""Orders that are changed: lines added to them, and what rules give them more."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("order_returns", sa.Column("number", sa.Integer(), nullable=True))
    op.execute(
        """
        UPDATE order_returns SET number = counted.number
        FROM (
            SELECT program_id, id, row_number() OVER (PARTITION BY program_id, order_id ORDER BY id) AS number
            FROM order_returns
        ) AS counted
        WHERE order_returns.program_id = counted.program_id AND order_returns.id = counted.id
        """
    )
    op.alter_column("order_returns", "number", nullable=False)
    op.drop_index("ix_order_returns_order", "order_returns")
    op.create_index("uq_order_returns_number", "order_returns", ["program_id", "order_id", "number"], unique=True)
    op.drop_constraint(op.f("ck_order_returns_kind_known"), "order_returns", type_="check")
    op.create_check_constraint(
        op.f("ck_order_returns_kind_known"), "order_returns", "kind IN ('return', 'cancellation', 'amendment')"
    )
    op.add_column("order_lines", sa.Column("amendment_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_order_lines_program_id_amendment_id"),
        "order_lines",
        "order_returns",
        ["program_id", "amendment_id"],
        ["program_id", "id"],
    )
    op.drop_constraint(
        op.f("fk_order_award_reversals_program_id_order_id_rule_id"), "order_award_reversals", type_="foreignkey"
    )
    for column, table in (("order_id", "orders"), ("return_id", "order_returns"), ("rule_id", "earning_rules")):
        op.create_foreign_key(
            op.f(f"fk_order_award_reversals_program_id_{column}"),
            "order_award_reversals",
            table,
            ["program_id", column],
            ["program_id", "id"],
        )
    op.create_table(
        "order_award_additions",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("return_id", sa.Uuid(), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("paid", sa.BigInteger(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("points > 0", name=op.f("ck_order_award_additions_points_positive")),
        sa.CheckConstraint("paid BETWEEN 0 AND points", name=op.f("ck_order_award_additions_paid_within_points")),
        sa.CheckConstraint(
            "(paid > 0) = (entry_id IS NOT NULL)", name=op.f("ck_order_award_additions_paid_has_an_entry")
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "order_id"],
            ["orders.program_id", "orders.id"],
            name=op.f("fk_order_award_additions_program_id_order_id"),
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "return_id"],
            ["order_returns.program_id", "order_returns.id"],
            name=op.f("fk_order_award_additions_program_id_return_id"),
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "rule_id", "rule_version"],
            ["earning_rule_versions.program_id", "earning_rule_versions.rule_id", "earning_rule_versions.version"],
            name=op.f("fk_order_award_additions_program_id_rule_id_rule_version"),
        ),
        sa.PrimaryKeyConstraint("program_id", "return_id", "rule_id", name=op.f("pk_order_award_additions")),
    )
    op.create_index("ix_order_award_additions_order", "order_award_additions", ["program_id", "order_id"])


def downgrade() -> None:
    """Refused by its constraints where orders were amended or given more: that has no place in the schema before."""
    op.create_check_constraint("nothing_is_forgotten", "order_award_additions", "false")
    op.drop_table("order_award_additions")
    for column in ("rule_id", "return_id", "order_id"):
        op.drop_constraint(
            op.f(f"fk_order_award_reversals_program_id_{column}"), "order_award_reversals", type_="foreignkey"
        )
    op.create_foreign_key(
        op.f("fk_order_award_reversals_program_id_order_id_rule_id"),
        "order_award_reversals",
        "order_awards",
        ["program_id", "order_id", "rule_id"],
        ["program_id", "order_id", "rule_id"],
    )
    op.drop_constraint(op.f("fk_order_lines_program_id_amendment_id"), "order_lines", type_="foreignkey")
    op.drop_column("order_lines", "amendment_id")
    op.drop_constraint(op.f("ck_order_returns_kind_known"), "order_returns", type_="check")
    op.create_check_constraint(
        op.f("ck_order_returns_kind_known"), "order_returns", "kind IN ('return', 'cancellation')"
    )
    op.drop_index("uq_order_returns_number", "order_returns")
    op.create_index("ix_order_returns_order", "order_returns", ["program_id", "order_id", "id"])
    op.drop_column("order_returns", "number")
