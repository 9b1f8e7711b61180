from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, ForeignKeyConstraint, Index, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class Reward(Row):
    """A catalogue item. `stock_left` null means unlimited; `coupon_days` null means that its coupons never expire."""

    __tablename__ = "rewards"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('amount_off', 'percent_off', 'free_product', 'free_shipping', 'gift_card', 'perk')",
            name="kind_known",
        ),
        CheckConstraint("cost_points > 0", name="cost_positive"),
        CheckConstraint("stock_left >= 0", name="stock_not_negative"),
        CheckConstraint("coupon_days > 0", name="coupon_days_positive"),
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


class CouponDiscount(Row):
    """What a coupon took off the lines of an order; `return_id` names the return that made it good again."""

    __tablename__ = "coupon_discounts"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "order_id"], ["orders.program_id", "orders.id"]),
        ForeignKeyConstraint(["program_id", "coupon_id"], ["coupons.program_id", "coupons.id"]),
        Index("ix_coupon_discounts_coupon", "program_id", "coupon_id"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    coupon_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(Integer)
    reward_id: Mapped[UUID]
    code: Mapped[str]
    line_minor: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    return_id: Mapped[UUID | None]


class Coupon(Row):
    """A unique code that stands for a reward in one member's hand.

    `from_stock` tells whether it took a unit of stock, which alone can go back there.
    """

    __tablename__ = "coupons"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "reward_id"], ["rewards.program_id", "rewards.id"]),
        ForeignKeyConstraint(["program_id", "member_id"], ["members.program_id", "members.id"]),
        CheckConstraint("used_at IS NULL OR voided_at IS NULL", name="used_or_voided"),
        Index("uq_coupons_code", "program_id", "code", unique=True),
        Index("ix_coupons_member", "program_id", "member_id", "id"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    code: Mapped[str]
    reward_id: Mapped[UUID]
    member_id: Mapped[UUID]
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    from_stock: Mapped[bool]
    used_at: Mapped[datetime | None]
    used_external_order_id: Mapped[str | None]
    voided_at: Mapped[datetime | None]
