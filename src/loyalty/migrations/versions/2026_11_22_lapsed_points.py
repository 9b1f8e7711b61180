"""What a return finds expired already, lots that are spent but may be over by idleness, and to whom codes were given."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_REVERSALS = "order_award_reversals"
_PARTS = "ck_order_award_reversals_parts_within_points"


def upgrade() -> None:
    op.add_column(_REVERSALS, sa.Column("lapsed", sa.BigInteger(), server_default="0", nullable=False))
    op.drop_constraint(op.f(_PARTS), _REVERSALS, type_="check")
    op.create_check_constraint(op.f(_PARTS), _REVERSALS, "pending + taken + lapsed + owed + written_off <= points")
    op.add_column("referral_codes", sa.Column("issued_to", sa.Uuid(), nullable=True))
    op.execute("UPDATE referral_codes SET issued_to = member_id")
    op.alter_column("referral_codes", "issued_to", nullable=False)
    op.create_index("ix_referral_codes_issued_to", "referral_codes", ["program_id", "issued_to"])
    op.create_index(
        "ix_lots_spent_idle",
        "lots",
        ["program_id", "member_id", "unit"],
        postgresql_where=sa.text("remaining = 0 AND (idle_days > 0 OR idle_months > 0)"),
    )


def downgrade() -> None:
    op.drop_index("ix_lots_spent_idle", table_name="lots")
    op.drop_index("ix_referral_codes_issued_to", table_name="referral_codes")
    op.drop_column("referral_codes", "issued_to")
    op.drop_constraint(op.f(_PARTS), _REVERSALS, type_="check")
    op.drop_column(_REVERSALS, "lapsed")
    op.create_check_constraint(op.f(_PARTS), _REVERSALS, "pending + taken + owed + written_off <= points")
