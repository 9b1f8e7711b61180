"""Metadata on what callers create, and members' passwords."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_NOTED = ("orders", "profiles", "redemptions", "rewards")


def upgrade() -> None:
    for table in _NOTED:
        op.add_column(
            table,
            sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        )
    op.create_table(
        "member_passwords",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["program_id", "member_id"],
            ["members.program_id", "members.id"],
            name=op.f("fk_member_passwords_program_id_member_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "member_id", name=op.f("pk_member_passwords")),
    )


def downgrade() -> None:
    op.drop_table("member_passwords")
    for table in reversed(_NOTED):
        op.drop_column(table, "metadata")
