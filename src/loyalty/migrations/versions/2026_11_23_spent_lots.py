"""Indexes of lots ask whether one is spent, and not how much remains: taking a part of it then writes none of them.

The table is written anew under a lock: some minutes for tens of millions of lots.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_WALLET = ["program_id", "member_id", "unit"]
_IDLE = "(idle_days > 0 OR idle_months > 0)"
_WAITING = "(activated_at IS NULL OR idle_days > 0 OR idle_months > 0)"


def upgrade() -> None:
    _drop_indexes()
    op.add_column(
        "lots", sa.Column("spent", sa.Boolean(), sa.Computed("remaining = 0", persisted=True), nullable=False)
    )
    _create_indexes(some="NOT spent", none="spent")


def downgrade() -> None:
    _drop_indexes()
    op.drop_column("lots", "spent")
    _create_indexes(some="remaining > 0", none="remaining = 0")


def _drop_indexes() -> None:
    for name in ("ix_lots_spendable", "ix_lots_spent_idle", "ix_lots_waiting"):
        op.drop_index(name, table_name="lots")


def _create_indexes(*, some: str, none: str) -> None:
    op.create_index("ix_lots_spendable", "lots", [*_WALLET, "expires_at", "id"], postgresql_where=sa.text(some))
    op.create_index("ix_lots_spent_idle", "lots", _WALLET, postgresql_where=sa.text(f"{none} AND {_IDLE}"))
    op.create_index("ix_lots_waiting", "lots", _WALLET, postgresql_where=sa.text(f"{some} AND {_WAITING}"))
