"""Activities: what else a member did, by what it was judged, and what it earned."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "activities",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rule_set", sa.Integer(), nullable=True),
        sa.Column("facts", postgresql.JSONB(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.ForeignKeyConstraint(
            ["program_id", "member_id"],
            ["members.program_id", "members.id"],
            name=op.f("fk_activities_program_id_member_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_activities")),
    )
    op.create_index("uq_activities_external_id", "activities", ["program_id", "type", "external_id"], unique=True)
    op.create_index("ix_activities_member", "activities", ["program_id", "member_id", "id"], unique=False)
    op.create_table(
        "activity_awards",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("activity_id", sa.Uuid(), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("points > 0", name=op.f("ck_activity_awards_points_positive")),
        sa.ForeignKeyConstraint(
            ["program_id", "activity_id"],
            ["activities.program_id", "activities.id"],
            name=op.f("fk_activity_awards_program_id_activity_id"),
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "rule_id", "rule_version"],
            [
                "earning_rule_versions.program_id",
                "earning_rule_versions.rule_id",
                "earning_rule_versions.version",
            ],
            name=op.f("fk_activity_awards_program_id_rule_id_rule_version"),
        ),
        sa.PrimaryKeyConstraint("program_id", "activity_id", "rule_id", name=op.f("pk_activity_awards")),
    )


def downgrade() -> None:
    op.drop_table("activity_awards")
    op.drop_table("activities")
