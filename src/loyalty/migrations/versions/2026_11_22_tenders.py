"""Orders paid with points, and what of that went back."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "order_tenders",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("value_minor", sa.BigInteger(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("refund", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("points > 0", name=op.f("ck_order_tenders_points_positive")),
        sa.CheckConstraint("value_minor BETWEEN 1 AND total_minor", name=op.f("ck_order_tenders_value_within_total")),
        sa.CheckConstraint(
            "refund IN ('proportional', 'money_first', 'points_first')", name=op.f("ck_order_tenders_refund_known")
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "order_id"],
            ["orders.program_id", "orders.id"],
            name=op.f("fk_order_tenders_program_id_order_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "order_id", name=op.f("pk_order_tenders")),
    )
    op.create_table(
        "tender_refunds",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("return_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("value_minor", sa.BigInteger(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("points >= 0 AND value_minor >= 0", name=op.f("ck_tender_refunds_not_negative")),
        sa.CheckConstraint(
            "(points > 0) = (entry_id IS NOT NULL)", name=op.f("ck_tender_refunds_points_have_an_entry")
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "order_id"],
            ["order_tenders.program_id", "order_tenders.order_id"],
            name=op.f("fk_tender_refunds_program_id_order_id"),
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "return_id"],
            ["order_returns.program_id", "order_returns.id"],
            name=op.f("fk_tender_refunds_program_id_return_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "return_id", name=op.f("pk_tender_refunds")),
    )
    op.create_index("ix_tender_refunds_order", "tender_refunds", ["program_id", "order_id"])


def downgrade() -> None:
    op.drop_table("tender_refunds")
    op.drop_table("order_tenders")
