from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, ForeignKeyConstraint, Index, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class Reward(Row):
    """A catalogue item; its terms are as `rules.Terms` says, null for those that ask for nothing.

    `stock_left` null means unlimited, or where the reward is `pooled` what is left of its codes. `cost_points` 0: it is
    given, not redeemed. `coupon_days` null means that its coupons never expire.
    """

    __tablename__ = "rewards"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('amount_off', 'percent_off', 'free_product', 'free_shipping', 'gift_card', 'perk')",
            name="kind_known",
        ),
        CheckConstraint("cost_points >= 0", name="cost_not_negative"),
        CheckConstraint("stock_left >= 0", name="stock_not_negative"),
        CheckConstraint("coupon_days > 0", name="coupon_days_positive"),
        CheckConstraint("available_until > available_from", name="ends_after_it_begins"),
        CheckConstraint("limit_count > 0", name="limit_positive"),
        CheckConstraint("limit_period IN ('day', 'week', 'month', 'year', 'lifetime')", name="limit_period_known"),
        CheckConstraint("(limit_count IS NULL) = (limit_period IS NULL)", name="limit_whole"),
        CheckConstraint("NOT pooled OR stock_left IS NULL", name="pool_is_the_stock"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]
    value: Mapped[dict[str, Any]] = mapped_column(JSONB)
    unit: Mapped[str]
    cost_points: Mapped[int]
    stock_left: Mapped[int | None]
    coupon_days: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]
    notes: Mapped[dict[str, str]] = mapped_column("metadata", server_default=text("'{}'"))
    available_from: Mapped[datetime | None]
    available_until: Mapped[datetime | None]
    limit_count: Mapped[int | None]
    limit_period: Mapped[str | None]
    member_attributes: Mapped[dict[str, list[str]]] = mapped_column(JSONB, server_default=text("'{}'"))
    pooled: Mapped[bool] = mapped_column(server_default=text("false"))


class CouponCode(Row):
    """A code of the shop's own that no coupon has yet: what is left of a reward's pool. An issued one leaves it."""

    __tablename__ = "coupon_codes"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "reward_id"], ["rewards.program_id", "rewards.id"]),
        Index("ix_coupon_codes_reward", "program_id", "reward_id", "code"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(primary_key=True)
    reward_id: Mapped[UUID]
    written: Mapped[str]
    added_at: Mapped[datetime]


class CouponDiscount(Row):
    """What a coupon took off the lines of an order, or paid of them.

    `return_id` names the return that made it good again.
    """

    __tablename__ = "coupon_discounts"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "order_id"], ["orders.program_id", "orders.id"]),
        ForeignKeyConstraint(["program_id", "coupon_id"], ["coupons.program_id", "coupons.id"]),
        CheckConstraint("effect IN ('price_reduction', 'tender', 'perk')", name="effect_known"),
        Index("ix_coupon_discounts_coupon", "program_id", "coupon_id"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    coupon_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(Integer)
    reward_id: Mapped[UUID]
    code: Mapped[str]
    line_minor: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    effect: Mapped[str] = mapped_column(server_default="price_reduction")
    return_id: Mapped[UUID | None]


class Coupon(Row):
    """A unique code that stands for a reward in one member's hand: `code` as it is sought, `written` as it is shown.

    `from_stock` tells whether it took a unit of stock, which alone can go back there. `expires_at` decides whether it
    is good; `expired_at` is when that was told.
    """

    __tablename__ = "coupons"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "reward_id"], ["rewards.program_id", "rewards.id"]),
        ForeignKeyConstraint(["program_id", "member_id"], ["members.program_id", "members.id"]),
        CheckConstraint("num_nonnulls(used_at, voided_at, expired_at) <= 1", name="ended_once"),
        Index("uq_coupons_code", "program_id", "code", unique=True),
        Index("ix_coupons_member", "program_id", "member_id", "id"),
        Index(
            "ix_coupons_expiring",
            "program_id",
            "expires_at",
            postgresql_where=text(
                "expires_at IS NOT NULL AND used_at IS NULL AND voided_at IS NULL AND expired_at IS NULL"
            ),
        ),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    code: Mapped[str]
    written: Mapped[str]
    reward_id: Mapped[UUID]
    member_id: Mapped[UUID]
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    from_stock: Mapped[bool]
    used_at: Mapped[datetime | None]
    used_external_order_id: Mapped[str | None]
    voided_at: Mapped[datetime | None]
    expired_at: Mapped[datetime | None]
