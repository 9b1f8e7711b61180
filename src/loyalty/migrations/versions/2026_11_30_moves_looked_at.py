"""All entries there are move points as the one list allows: they are read once, and are written meanwhile."""

from collections.abc import Sequence

from alembic import op

revision: str = "0024"
down_revision: str | None = "0023"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("ALTER TABLE entries VALIDATE CONSTRAINT ck_entries_kind_fits_accounts")


def downgrade() -> None:
    """What was looked at stays so."""
