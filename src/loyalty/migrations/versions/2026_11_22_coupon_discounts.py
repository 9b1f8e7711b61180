"""What coupons take off orders."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "coupon_discounts",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("coupon_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("reward_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("line_minor", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("return_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["program_id", "coupon_id"],
            ["coupons.program_id", "coupons.id"],
            name=op.f("fk_coupon_discounts_program_id_coupon_id"),
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "order_id"],
            ["orders.program_id", "orders.id"],
            name=op.f("fk_coupon_discounts_program_id_order_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "order_id", "coupon_id", name=op.f("pk_coupon_discounts")),
    )
    op.create_index("ix_coupon_discounts_coupon", "coupon_discounts", ["program_id", "coupon_id"])


def downgrade() -> None:
    op.drop_table("coupon_discounts")
