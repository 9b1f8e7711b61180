"""Quotes that orders may rely on."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "quotes",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=True),
        sa.Column("content_digest", sa.LargeBinary(), nullable=False),
        sa.Column("figures", postgresql.JSONB(), nullable=False),
        sa.Column("quoted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("valid_until > quoted_at", name=op.f("ck_quotes_valid_for_a_while")),
        sa.ForeignKeyConstraint(
            ["program_id", "customer_id"],
            ["customers.program_id", "customers.id"],
            name=op.f("fk_quotes_program_id_customer_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_quotes")),
    )
    op.create_index("ix_quotes_valid_until", "quotes", ["program_id", "valid_until"])


def downgrade() -> None:
    op.drop_table("quotes")
