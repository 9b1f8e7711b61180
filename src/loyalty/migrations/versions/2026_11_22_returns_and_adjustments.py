"""Returns and what they reversed, adjustments by hand, transfers, jobs."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_done", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_jobs_attempts_not_negative")),
        sa.PrimaryKeyConstraint("program_id", "name", name=op.f("pk_jobs")),
    )
    op.create_index("ix_jobs_due", "jobs", ["program_id", "run_at"], unique=False)
    op.create_table(
        "order_returns",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("content_digest", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("returned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint("kind IN ('return', 'cancellation')", name=op.f("ck_order_returns_kind_known")),
        sa.CheckConstraint("total_minor >= 0", name=op.f("ck_order_returns_total_not_negative")),
        sa.ForeignKeyConstraint(
            ["program_id", "order_id"],
            ["orders.program_id", "orders.id"],
            name=op.f("fk_order_returns_program_id_order_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_order_returns")),
    )
    op.create_index("ix_order_returns_order", "order_returns", ["program_id", "order_id", "id"], unique=False)
    op.create_index("uq_order_returns_external_id", "order_returns", ["program_id", "external_id"], unique=True)
    op.create_table(
        "transfers",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("from_member_id", sa.Uuid(), nullable=False),
        sa.Column("to_member_id", sa.Uuid(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("transferred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint("from_member_id <> to_member_id", name=op.f("ck_transfers_two_members")),
        sa.CheckConstraint("points > 0", name=op.f("ck_transfers_points_positive")),
        sa.ForeignKeyConstraint(
            ["program_id", "from_member_id"],
            ["members.program_id", "members.id"],
            name=op.f("fk_transfers_program_id_from_member_id"),
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "to_member_id"],
            ["members.program_id", "members.id"],
            name=op.f("fk_transfers_program_id_to_member_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_transfers")),
    )
    op.create_index("ix_transfers_from", "transfers", ["program_id", "from_member_id", "id"], unique=False)
    op.create_index("ix_transfers_to", "transfers", ["program_id", "to_member_id", "id"], unique=False)
    op.create_table(
        "order_award_reversals",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("return_id", sa.Uuid(), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("pending", sa.BigInteger(), nullable=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        sa.Column("owed", sa.BigInteger(), nullable=False),
        sa.Column("written_off", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "pending + taken + owed + written_off <= points", name=op.f("ck_order_award_reversals_parts_within_points")
        ),
        sa.CheckConstraint("points >= 0", name=op.f("ck_order_award_reversals_points_not_negative")),
        sa.ForeignKeyConstraint(
            ["program_id", "order_id", "rule_id"],
            ["order_awards.program_id", "order_awards.order_id", "order_awards.rule_id"],
            name=op.f("fk_order_award_reversals_program_id_order_id_rule_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "return_id", "rule_id", name=op.f("pk_order_award_reversals")),
    )
    op.create_index("ix_order_award_reversals_order", "order_award_reversals", ["program_id", "order_id"], unique=False)
    op.create_table(
        "order_return_lines",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("return_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.SmallInteger(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("quantity >= 0", name=op.f("ck_order_return_lines_quantity_not_negative")),
        sa.CheckConstraint("total_minor >= 0", name=op.f("ck_order_return_lines_total_not_negative")),
        sa.ForeignKeyConstraint(
            ["program_id", "return_id"],
            ["order_returns.program_id", "order_returns.id"],
            name=op.f("fk_order_return_lines_program_id_return_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "return_id", "line", name=op.f("pk_order_return_lines")),
    )
    op.create_table(
        "adjustments",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("content_digest", sa.LargeBinary(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("lot_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("adjusted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint(
            "(lot_id IS NOT NULL) = (kind IN ('extend', 'reinstate'))", name=op.f("ck_adjustments_names_its_lot")
        ),
        sa.CheckConstraint(
            "kind IN ('adjust', 'opening', 'extend', 'reinstate')", name=op.f("ck_adjustments_kind_known")
        ),
        sa.CheckConstraint("points > 0 OR kind = 'adjust'", name=op.f("ck_adjustments_only_an_adjustment_takes")),
        sa.CheckConstraint("points <> 0", name=op.f("ck_adjustments_points_not_zero")),
        sa.ForeignKeyConstraint(
            ["program_id", "lot_id"], ["lots.program_id", "lots.id"], name=op.f("fk_adjustments_program_id_lot_id")
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "member_id", "unit"],
            ["wallets.program_id", "wallets.member_id", "wallets.unit"],
            name=op.f("fk_adjustments_program_id_member_id_unit"),
        ),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_adjustments")),
    )
    op.create_index("ix_adjustments_lot", "adjustments", ["program_id", "lot_id"], unique=False)
    op.create_index("ix_adjustments_member", "adjustments", ["program_id", "member_id", "id"], unique=False)
    op.create_index("uq_adjustments_external_id", "adjustments", ["program_id", "external_id"], unique=True)


def downgrade() -> None:
    op.drop_index("uq_adjustments_external_id", table_name="adjustments")
    op.drop_index("ix_adjustments_member", table_name="adjustments")
    op.drop_index("ix_adjustments_lot", table_name="adjustments")
    op.drop_table("adjustments")
    op.drop_table("order_return_lines")
    op.drop_index("ix_order_award_reversals_order", table_name="order_award_reversals")
    op.drop_table("order_award_reversals")
    op.drop_index("ix_transfers_to", table_name="transfers")
    op.drop_index("ix_transfers_from", table_name="transfers")
    op.drop_table("transfers")
    op.drop_index("uq_order_returns_external_id", table_name="order_returns")
    op.drop_index("ix_order_returns_order", table_name="order_returns")
    op.drop_table("order_returns")
    op.drop_index("ix_jobs_due", table_name="jobs")
    op.drop_table("jobs")
