"""Terms of rewards, pools of codes, rewards that are given, and coupons whose time is over."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_REWARD_CHECKS = {
    "ends_after_it_begins": "available_until > available_from",
    "limit_positive": "limit_count > 0",
    "limit_period_known": "limit_period IN ('day', 'week', 'month', 'year', 'lifetime')",
    "limit_whole": "(limit_count IS NULL) = (limit_period IS NULL)",
    "pool_is_the_stock": "NOT pooled OR stock_left IS NULL",
    "cost_not_negative": "cost_points >= 0",
}


def upgrade() -> None:
    op.add_column("rewards", sa.Column("available_from", sa.DateTime(timezone=True), nullable=True))
    op.add_column("rewards", sa.Column("available_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("rewards", sa.Column("limit_count", sa.BigInteger(), nullable=True))
    op.add_column("rewards", sa.Column("limit_period", sa.Text(), nullable=True))
    attributes = sa.Column("member_attributes", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False)
    op.add_column("rewards", attributes)
    op.add_column("rewards", sa.Column("pooled", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.drop_constraint(op.f("ck_rewards_cost_positive"), "rewards", type_="check")
    for name, rule in _REWARD_CHECKS.items():
        op.create_check_constraint(op.f(f"ck_rewards_{name}"), "rewards", rule)
    op.create_table(
        "coupon_codes",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reward_id", sa.Uuid(), nullable=False),
        sa.Column("written", sa.Text(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["program_id", "reward_id"],
            ["rewards.program_id", "rewards.id"],
            name=op.f("fk_coupon_codes_program_id_reward_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "code", name=op.f("pk_coupon_codes")),
    )
    op.create_index("ix_coupon_codes_reward", "coupon_codes", ["program_id", "reward_id", "code"])
    op.add_column("coupons", sa.Column("written", sa.Text(), nullable=True))
    op.execute("UPDATE coupons SET written = code")
    op.alter_column("coupons", "written", nullable=False)
    op.add_column("coupons", sa.Column("expired_at", sa.DateTime(timezone=True), nullable=True))
    op.drop_constraint(op.f("ck_coupons_used_or_voided"), "coupons", type_="check")
    op.create_check_constraint(
        op.f("ck_coupons_ended_once"), "coupons", "num_nonnulls(used_at, voided_at, expired_at) <= 1"
    )
    op.create_index(
        "ix_coupons_expiring",
        "coupons",
        ["program_id", "expires_at"],
        postgresql_where=sa.text(
            "expires_at IS NOT NULL AND used_at IS NULL AND voided_at IS NULL AND expired_at IS NULL"
        ),
    )
    op.alter_column("redemptions", "entry_id", nullable=True)
    op.alter_column("redemption_cancellations", "entry_id", nullable=True)
    op.drop_constraint(op.f("ck_redemptions_points_positive"), "redemptions", type_="check")
    op.create_check_constraint(op.f("ck_redemptions_points_not_negative"), "redemptions", "points >= 0")
    op.create_check_constraint(
        op.f("ck_redemptions_points_have_an_entry"), "redemptions", "(points > 0) = (entry_id IS NOT NULL)"
    )
    op.create_table(
        "reward_grants",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("redemption_id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["program_id", "redemption_id"],
            ["redemptions.program_id", "redemptions.id"],
            name=op.f("fk_reward_grants_program_id_redemption_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "redemption_id", name=op.f("pk_reward_grants")),
    )


def downgrade() -> None:
    """Refused by its constraints where rewards were given or are free: that has no place in the schema before."""
    op.drop_table("reward_grants")
    op.drop_constraint(op.f("ck_redemptions_points_have_an_entry"), "redemptions", type_="check")
    op.drop_constraint(op.f("ck_redemptions_points_not_negative"), "redemptions", type_="check")
    op.create_check_constraint(op.f("ck_redemptions_points_positive"), "redemptions", "points > 0")
    op.alter_column("redemption_cancellations", "entry_id", nullable=False)
    op.alter_column("redemptions", "entry_id", nullable=False)
    op.drop_index("ix_coupons_expiring", table_name="coupons")
    op.drop_constraint(op.f("ck_coupons_ended_once"), "coupons", type_="check")
    op.create_check_constraint(op.f("ck_coupons_used_or_voided"), "coupons", "used_at IS NULL OR voided_at IS NULL")
    op.drop_column("coupons", "expired_at")
    op.drop_column("coupons", "written")
    op.drop_table("coupon_codes")
    for name in _REWARD_CHECKS:
        op.drop_constraint(op.f(f"ck_rewards_{name}"), "rewards", type_="check")
    op.create_check_constraint(op.f("ck_rewards_cost_positive"), "rewards", "cost_points > 0")
    for column in (
        "pooled",
        "member_attributes",
        "limit_period",
        "limit_count",
        "available_until",
        "available_from",
    ):
        op.drop_column("rewards", column)
