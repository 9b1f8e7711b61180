"""Lots that wait for a date and expire by themselves, wallets that know what is due, holds that end."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_WALLETS = ("pending", "available", "held", "debt")
_PROGRAMS = ("issued", "opening", "redeemed", "expired", "reversed", "adjusted", "forfeited", "written_off")
_FIRST_KINDS = ("earn", "referral", "activate", "spend", "restore")
_KINDS = (
    *_FIRST_KINDS, "expire", "reinstate", "extend", "hold", "capture", "release", "reverse", "repay", "write_off",
    "forfeit", "adjust", "transfer", "merge",
)  # fmt: skip

_MOVES = (
    ("earn", ("issued",), ("pending", "available")),
    ("referral", ("issued",), ("pending", "available")),
    ("activate", ("pending",), ("available",)),
    ("spend", ("available",), ("redeemed",)),
    ("restore", ("redeemed",), ("available",)),
    ("expire", ("available",), ("expired",)),
    ("reinstate", ("expired",), ("available",)),
    ("extend", ("available",), ("adjusted",)),
    ("extend", ("adjusted",), ("available",)),
    ("hold", ("available",), ("held",)),
    ("capture", ("held",), ("redeemed",)),
    ("release", ("held",), ("available",)),
    ("reverse", ("pending", "available", "debt"), ("reversed",)),
    ("repay", ("available",), ("debt",)),
    ("write_off", ("written_off",), ("debt",)),
    ("forfeit", ("available",), ("forfeited",)),
    ("adjust", ("available",), ("adjusted",)),
    ("adjust", ("adjusted", "opening"), ("pending", "available")),
    ("transfer", ("available",), ("transferred",)),
    ("transfer", ("transferred",), ("available",)),
    ("merge", ("pending", "available", "debt"), ("transferred",)),
    ("merge", ("transferred",), ("pending", "available", "debt")),
)


def upgrade() -> None:
    op.add_column("wallets", sa.Column("active_at", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(op.f("ck_wallets_debt_is_paid_first"), "wallets", "debt = 0 OR available = 0")
    op.execute("UPDATE wallets SET active_at = last_at WHERE version > 0")
    op.add_column("entries", sa.Column("source_type", sa.Text(), nullable=True))
    _say_what_entries_may_be(kinds=_KINDS, accounts=(*_WALLETS, *_PROGRAMS, "transferred"))
    moves = (
        f"(kind = {kind!r} AND from_account IN ({_listed(sources)}) AND to_account IN ({_listed(targets)}))"
        for kind, sources, targets in _MOVES
    )
    op.create_check_constraint(op.f("ck_entries_kind_fits_accounts"), "entries", " OR ".join(moves))
    op.add_column("lots", sa.Column("source_type", sa.Text(), server_default="ord", nullable=False))
    op.add_column("lots", sa.Column("activates_at", sa.DateTime(timezone=True), nullable=True))
    for column in ("idle_days", "idle_months"):
        op.add_column("lots", sa.Column(column, sa.SmallInteger(), server_default="0", nullable=False))
    op.create_check_constraint(
        op.f("ck_lots_one_way_to_expire"), "lots", "num_nonnulls(expires_at, nullif(idle_days + idle_months, 0)) < 2"
    )
    op.execute(
        "UPDATE lots SET source_type = 'ref' FROM entries AS e"
        " WHERE e.program_id = lots.program_id AND e.id = lots.entry_id AND e.kind = 'referral'"
    )
    for column in ("delivered_at", "delivery_recorded_at"):
        op.add_column("orders", sa.Column(column, sa.DateTime(timezone=True), nullable=True))
    op.add_column("orders", sa.Column("paid_when_delivered", sa.Boolean(), nullable=True))
    op.add_column("holds", sa.Column("ended_by", sa.Text(), nullable=True))
    op.add_column(
        "holds", sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False)
    )
    op.create_check_constraint(
        op.f("ck_holds_ended_by_known"), "holds", "ended_by IN ('captured', 'released', 'expired')"
    )
    op.create_check_constraint(op.f("ck_holds_ended_says_how"), "holds", "(ended_at IS NULL) = (ended_by IS NULL)")
    op.create_check_constraint(
        op.f("ck_holds_captured_is_ended"), "holds", "(captured > 0) = (ended_by IS NOT DISTINCT FROM 'captured')"
    )


def downgrade() -> None:
    for name in ("captured_is_ended", "ended_says_how", "ended_by_known"):
        op.drop_constraint(op.f(f"ck_holds_{name}"), "holds")
    op.drop_column("holds", "metadata")
    op.drop_column("holds", "ended_by")
    for column in ("paid_when_delivered", "delivery_recorded_at", "delivered_at"):
        op.drop_column("orders", column)
    op.drop_constraint(op.f("ck_lots_one_way_to_expire"), "lots")
    for column in ("idle_months", "idle_days", "activates_at", "source_type"):
        op.drop_column("lots", column)
    op.drop_constraint(op.f("ck_entries_kind_fits_accounts"), "entries")
    _say_what_entries_may_be(kinds=_FIRST_KINDS, accounts=(*_WALLETS, *_PROGRAMS))
    op.drop_column("entries", "source_type")
    op.drop_constraint(op.f("ck_wallets_debt_is_paid_first"), "wallets")
    op.drop_column("wallets", "active_at")


def _say_what_entries_may_be(*, kinds: Sequence[str], accounts: Sequence[str]) -> None:
    for name, column, values in (
        ("kind_known", "kind", kinds),
        ("from_account_known", "from_account", accounts),
        ("to_account_known", "to_account", accounts),
    ):
        op.drop_constraint(op.f(f"ck_entries_{name}"), "entries")
        op.create_check_constraint(op.f(f"ck_entries_{name}"), "entries", f"{column} IN ({_listed(values)})")


def _listed(values: Sequence[str]) -> str:
    return ", ".join(repr(value) for value in values)
