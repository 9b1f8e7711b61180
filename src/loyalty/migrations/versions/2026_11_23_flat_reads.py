"""What is read of one member costs the same however much is long spent; events may be detached by month."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "event_floors",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("number > 0", name=op.f("ck_event_floors_number_positive")),
        sa.PrimaryKeyConstraint("program_id", name=op.f("pk_event_floors")),
    )
    op.create_index(
        "ix_entries_corrected",
        "entries",
        ["program_id", "corrects_id"],
        unique=False,
        postgresql_where=sa.text("corrects_id IS NOT NULL"),
    )
    op.create_index("ix_lots_member", "lots", ["program_id", "member_id", "unit", "id"], unique=False)
    op.create_index(
        "ix_lots_waiting",
        "lots",
        ["program_id", "member_id", "unit"],
        unique=False,
        postgresql_where=sa.text("remaining > 0 AND (activated_at IS NULL OR idle_days > 0 OR idle_months > 0)"),
    )


def downgrade() -> None:
    op.drop_index("ix_lots_waiting", table_name="lots")
    op.drop_index("ix_lots_member", table_name="lots")
    op.drop_index("ix_entries_corrected", table_name="entries")
    op.drop_table("event_floors")
