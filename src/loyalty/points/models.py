from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Computed, ForeignKeyConstraint, Index, LargeBinary, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row
from loyalty.points.rules import MOVES


def _moves() -> str:
    """Say between which accounts each kind moves points, as one list: each statement that inserts reads it anew."""
    moves = ",".join(
        f'"{kind.value} {source.value} {target.value}"'
        for kind, moves in MOVES.items()
        for sources, targets in moves
        for source in sources
        for target in targets
    )
    return f"kind || ' ' || from_account || ' ' || to_account = ANY ('{{{moves}}}')"


class Wallet(Row):
    """A member's balances in one unit: a cache of the entries, and the row that every movement locks.

    `last_at` is the instant of the newest entry: time never runs backwards in a wallet. Nothing is due in it before
    `next_due_at`. `active_at` is when points were last earned or spent. Who owes has nothing to spend.
    """

    __tablename__ = "wallets"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "member_id"], ["members.program_id", "members.id"]),
        CheckConstraint("pending >= 0 AND available >= 0 AND held >= 0 AND debt >= 0", name="nothing_negative"),
        CheckConstraint("debt = 0 OR available = 0", name="debt_is_paid_first"),
        CheckConstraint("version >= 0", name="version_not_negative"),
        Index("ix_wallets_due", "program_id", "next_due_at", postgresql_where=text("next_due_at IS NOT NULL")),
        {"postgresql_with": {"fillfactor": 70}},
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID] = mapped_column(primary_key=True)
    unit: Mapped[str] = mapped_column(primary_key=True)
    pending: Mapped[int]
    available: Mapped[int]
    held: Mapped[int]
    debt: Mapped[int]
    version: Mapped[int]
    last_at: Mapped[datetime]
    next_due_at: Mapped[datetime | None]
    active_at: Mapped[datetime | None]


class Entry(Row):
    """One movement of points between two accounts: double entry in one row. Only ever appended.

    No foreign key points here: a check of one takes a row lock, which needs the right to update, and nobody has that
    right on this table. `ledger verify` compares lots and allocations with their entries instead.
    """

    __tablename__ = "entries"
    __table_args__ = (
        ForeignKeyConstraint(
            ["program_id", "member_id", "unit"], ["wallets.program_id", "wallets.member_id", "wallets.unit"]
        ),
        CheckConstraint("points > 0 AND points <= 9007199254740991", name="points_in_bounds"),
        CheckConstraint(_moves(), name="kind_fits_accounts"),
        Index("uq_entries_version", "program_id", "member_id", "unit", "version", unique=True),
        Index("ix_entries_source", "program_id", "source_id"),
        Index("ix_entries_corrected", "program_id", "corrects_id", postgresql_where=text("corrects_id IS NOT NULL")),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID]
    unit: Mapped[str]
    version: Mapped[int]
    kind: Mapped[str]
    from_account: Mapped[str]
    to_account: Mapped[str]
    points: Mapped[int]
    balance_after: Mapped[int]
    available_after: Mapped[int]
    source_type: Mapped[str | None]
    source_id: Mapped[UUID]
    corrects_id: Mapped[UUID | None]
    occurred_at: Mapped[datetime]
    recorded_at: Mapped[datetime]


class Lot(Row):
    """Points credited together, with their own activation and expiry. `remaining` falls as they are spent.

    Indexes ask whether a lot is `spent`, and not how much remains: so taking a part of one writes no index anew.
    Not activated, they wait for `activates_at` or, without it, for an event. They expire at `expires_at`, or once the
    wallet was idle for `idle_days` or `idle_months`.
    """

    __tablename__ = "lots"
    __table_args__ = (
        ForeignKeyConstraint(
            ["program_id", "member_id", "unit"], ["wallets.program_id", "wallets.member_id", "wallets.unit"]
        ),
        CheckConstraint("remaining BETWEEN 0 AND granted", name="remaining_in_bounds"),
        CheckConstraint("reserved BETWEEN 0 AND remaining", name="reserved_in_bounds"),
        CheckConstraint("expires_at IS NULL OR expires_at > earned_at", name="expires_after_earned"),
        CheckConstraint("num_nonnulls(expires_at, nullif(idle_days + idle_months, 0)) < 2", name="one_way_to_expire"),
        Index(
            "ix_lots_spendable",
            "program_id",
            "member_id",
            "unit",
            "expires_at",
            "id",
            postgresql_where=text("NOT spent"),
        ),
        Index("ix_lots_member", "program_id", "member_id", "unit", "id"),
        Index("ix_lots_source", "program_id", "source_id"),
        Index(
            "ix_lots_spent_idle",
            "program_id",
            "member_id",
            "unit",
            postgresql_where=text("spent AND (idle_days > 0 OR idle_months > 0)"),
        ),
        Index(
            "ix_lots_waiting",
            "program_id",
            "member_id",
            "unit",
            postgresql_where=text("NOT spent AND (activated_at IS NULL OR idle_days > 0 OR idle_months > 0)"),
        ),
        {"postgresql_with": {"fillfactor": 80}},
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID]
    unit: Mapped[str]
    entry_id: Mapped[UUID]
    source_type: Mapped[str] = mapped_column(server_default="ord")
    source_id: Mapped[UUID]
    granted: Mapped[int]
    remaining: Mapped[int]
    spent: Mapped[bool] = mapped_column(Computed("remaining = 0", persisted=True))
    reserved: Mapped[int]
    earned_at: Mapped[datetime]
    activates_at: Mapped[datetime | None]
    activated_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    idle_days: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    idle_months: Mapped[int] = mapped_column(SmallInteger, server_default="0")


class Allocation(Row):
    """Which lot an entry touched: negative took points out of it, positive put them back. Only ever appended."""

    __tablename__ = "allocations"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "lot_id"], ["lots.program_id", "lots.id"]),
        CheckConstraint("points <> 0", name="points_not_zero"),
        Index("ix_allocations_lot", "program_id", "lot_id"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    entry_id: Mapped[UUID] = mapped_column(primary_key=True)
    lot_id: Mapped[UUID] = mapped_column(primary_key=True)
    points: Mapped[int]


class Hold(Row):
    """Points locked across all carts until captured, released, or past `expires_at`; its reservations name the lots.

    A hold ends once: captured, which takes `captured` of its points and frees the rest, released, or expired.
    """

    __tablename__ = "holds"
    __table_args__ = (
        ForeignKeyConstraint(
            ["program_id", "member_id", "unit"], ["wallets.program_id", "wallets.member_id", "wallets.unit"]
        ),
        CheckConstraint("points > 0", name="points_positive"),
        CheckConstraint("captured BETWEEN 0 AND points", name="captured_in_bounds"),
        CheckConstraint("expires_at > created_at", name="expires_after_created"),
        CheckConstraint("ended_by IN ('captured', 'released', 'expired')", name="ended_by_known"),
        CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="ended_says_how"),
        CheckConstraint("(captured > 0) = (ended_by IS NOT DISTINCT FROM 'captured')", name="captured_is_ended"),
        Index("ix_holds_live", "program_id", "member_id", "unit", postgresql_where=text("ended_at IS NULL")),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID]
    unit: Mapped[str]
    points: Mapped[int]
    captured: Mapped[int]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]
    notes: Mapped[dict[str, str]] = mapped_column("metadata", server_default=text("'{}'"))


class HoldReservation(Row):
    """How many points of which lot a hold has locked."""

    __tablename__ = "hold_reservations"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "hold_id"], ["holds.program_id", "holds.id"]),
        ForeignKeyConstraint(["program_id", "lot_id"], ["lots.program_id", "lots.id"]),
        CheckConstraint("points > 0", name="points_positive"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    hold_id: Mapped[UUID] = mapped_column(primary_key=True)
    lot_id: Mapped[UUID] = mapped_column(primary_key=True)
    points: Mapped[int]


class LedgerOpening(Row):
    """Up to when a program's entries are stood for by opening balances: they may be detached, and nobody adds them up.

    `floor` is the least id of the entries that count for themselves. `digest` is the SHA-256 over the seal of the last
    day before `until` and every row of the openings.
    """

    __tablename__ = "ledger_openings"
    __table_args__ = (CheckConstraint("entries > 0", name="entries_positive"),)

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    until: Mapped[datetime]
    floor: Mapped[UUID]
    entries: Mapped[int]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    opened_at: Mapped[datetime]


class WalletOpening(Row):
    """What a wallet held after the entries that its program's opening stands for; `version` counts them."""

    __tablename__ = "wallet_openings"
    __table_args__ = (
        ForeignKeyConstraint(
            ["program_id", "member_id", "unit"], ["wallets.program_id", "wallets.member_id", "wallets.unit"]
        ),
        CheckConstraint("pending >= 0 AND available >= 0 AND held >= 0 AND debt >= 0", name="nothing_negative"),
        CheckConstraint("version > 0", name="version_positive"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID] = mapped_column(primary_key=True)
    unit: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    pending: Mapped[int]
    available: Mapped[int]
    held: Mapped[int]
    debt: Mapped[int]


class LapseOpening(Row):
    """What had expired of a lot by an entry that the opening stands for, and had not been given back by then."""

    __tablename__ = "lapse_openings"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "lot_id"], ["lots.program_id", "lots.id"]),
        CheckConstraint("points >= 0", name="points_not_negative"),
        Index("ix_lapse_openings_lot", "program_id", "lot_id"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    entry_id: Mapped[UUID] = mapped_column(primary_key=True)
    lot_id: Mapped[UUID]
    points: Mapped[int]
