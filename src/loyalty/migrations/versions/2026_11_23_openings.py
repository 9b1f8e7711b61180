"""Opening balances, which stand for entries of months that are detached."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "ledger_openings",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("floor", sa.Uuid(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("entries > 0", name=op.f("ck_ledger_openings_entries_positive")),
        sa.PrimaryKeyConstraint("program_id", name=op.f("pk_ledger_openings")),
    )
    op.create_table(
        "wallet_openings",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("pending", sa.BigInteger(), nullable=False),
        sa.Column("available", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("debt", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "pending >= 0 AND available >= 0 AND held >= 0 AND debt >= 0",
            name=op.f("ck_wallet_openings_nothing_negative"),
        ),
        sa.CheckConstraint("version > 0", name=op.f("ck_wallet_openings_version_positive")),
        sa.ForeignKeyConstraint(
            ["program_id", "member_id", "unit"],
            ["wallets.program_id", "wallets.member_id", "wallets.unit"],
            name=op.f("fk_wallet_openings_program_id_member_id_unit"),
        ),
        sa.PrimaryKeyConstraint("program_id", "member_id", "unit", name=op.f("pk_wallet_openings")),
    )
    op.create_table(
        "lapse_openings",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("lot_id", sa.Uuid(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("points >= 0", name=op.f("ck_lapse_openings_points_not_negative")),
        sa.ForeignKeyConstraint(
            ["program_id", "lot_id"], ["lots.program_id", "lots.id"], name=op.f("fk_lapse_openings_program_id_lot_id")
        ),
        sa.PrimaryKeyConstraint("program_id", "entry_id", name=op.f("pk_lapse_openings")),
    )
    op.create_index("ix_lapse_openings_lot", "lapse_openings", ["program_id", "lot_id"], unique=False)
    for table in ("month_openings", "cohort_openings"):
        op.create_table(
            table,
            sa.Column("program_id", sa.Uuid(), nullable=False),
            sa.Column("unit", sa.Text(), nullable=False),
            sa.Column("month", sa.Date(), nullable=False),
            sa.Column("account", sa.Text(), nullable=False),
            sa.Column("points", sa.BigInteger(), nullable=False),
            sa.PrimaryKeyConstraint("program_id", "unit", "month", "account", name=op.f(f"pk_{table}")),
        )


def downgrade() -> None:
    for table in ("cohort_openings", "month_openings", "lapse_openings", "wallet_openings", "ledger_openings"):
        op.drop_table(table)
