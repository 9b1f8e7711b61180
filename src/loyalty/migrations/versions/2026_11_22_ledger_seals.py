"""Seals over the ledger's closed days."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "ledger_seals",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("entries >= 0", name=op.f("ck_ledger_seals_entries_not_negative")),
        sa.CheckConstraint("since < until", name=op.f("ck_ledger_seals_since_before_until")),
        sa.PrimaryKeyConstraint("program_id", "until", name=op.f("pk_ledger_seals")),
    )


def downgrade() -> None:
    op.drop_table("ledger_seals")
