"""Birthdays: found by day of the year, and recorded by themselves."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    birthday = "(EXTRACT(MONTH FROM birth_on) * 100 + EXTRACT(DAY FROM birth_on))::smallint"
    op.add_column(
        "profiles", sa.Column("birthday", sa.SmallInteger(), sa.Computed(birthday, persisted=True), nullable=True)
    )
    op.create_index("ix_profiles_birthday", "profiles", ["program_id", "birthday", "customer_id"])
    op.create_table(
        "birthday_progress",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("done_on", sa.Date(), nullable=False),
        sa.Column("after_member", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("program_id", name=op.f("pk_birthday_progress")),
    )


def downgrade() -> None:
    op.drop_table("birthday_progress")
    op.drop_index("ix_profiles_birthday", "profiles")
    op.drop_column("profiles", "birthday")
