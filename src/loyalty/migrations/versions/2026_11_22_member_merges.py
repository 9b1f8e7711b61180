"""Merges of members, and why a referral ended."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "member_merges",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("from_member_id", sa.Uuid(), nullable=False),
        sa.Column("into_member_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("merged_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["program_id", "from_member_id"],
            ["members.program_id", "members.id"],
            name=op.f("fk_member_merges_program_id_from_member_id"),
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "into_member_id"],
            ["members.program_id", "members.id"],
            name=op.f("fk_member_merges_program_id_into_member_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_member_merges")),
    )
    op.create_index("uq_member_merges_from", "member_merges", ["program_id", "from_member_id"], unique=True)
    op.add_column("referrals", sa.Column("ended_reason", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("referrals", "ended_reason")
    op.drop_index("uq_member_merges_from", table_name="member_merges")
    op.drop_table("member_merges")
