from datetime import datetime
from uuid import UUID

from sqlalchemy import CHAR, CheckConstraint, ForeignKeyConstraint, Index, Integer, LargeBinary, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class Order(Row):
    """What was bought, by members and by others. `customer_id` null: nobody is identified.

    `email_digest` is a keyed hash, kept on unidentified orders for a later claim. `content_digest` tells whether the
    same external id came back with other content. `rule_set_version` is null where nothing could be earned.
    """

    __tablename__ = "orders"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "customer_id"], ["customers.program_id", "customers.id"]),
        CheckConstraint("total_minor BETWEEN 0 AND 9007199254740991", name="total_in_bounds"),
        CheckConstraint("paid_at IS NULL OR paid_at >= placed_at", name="paid_after_placed"),
        CheckConstraint("(paid_at IS NULL) = (payment_recorded_at IS NULL)", name="payment_is_recorded"),
        Index("uq_orders_external_id", "program_id", "external_id", unique=True),
        Index("ix_orders_customer", "program_id", "customer_id", "id"),
        Index("ix_orders_placed", "program_id", "placed_at"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    external_id: Mapped[str]
    customer_id: Mapped[UUID | None]
    email_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    content_digest: Mapped[bytes] = mapped_column(LargeBinary)
    currency: Mapped[str] = mapped_column(CHAR(3))
    total_minor: Mapped[int]
    channel: Mapped[str | None]
    placed_at: Mapped[datetime]
    recorded_at: Mapped[datetime]
    paid_at: Mapped[datetime | None]
    payment_recorded_at: Mapped[datetime | None]
    paid_when_placed: Mapped[bool]
    delivered_at: Mapped[datetime | None]
    delivery_recorded_at: Mapped[datetime | None]
    paid_when_delivered: Mapped[bool | None]
    cancelled_at: Mapped[datetime | None]
    imported: Mapped[bool]
    store: Mapped[str | None]
    payment_method: Mapped[str | None]
    notes: Mapped[dict[str, str]] = mapped_column("metadata", server_default=text("'{}'"))


class OrderLine(Row):
    """A line as it was bought: with the order, or added by an amendment."""

    __tablename__ = "order_lines"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "order_id"], ["orders.program_id", "orders.id"]),
        ForeignKeyConstraint(["program_id", "amendment_id"], ["order_returns.program_id", "order_returns.id"]),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("total_minor >= 0", name="total_not_negative"),
        CheckConstraint("kind IN ('product', 'gift_card', 'shipping')", name="kind_known"),
        CheckConstraint("discount_minor >= 0", name="discount_not_negative"),
        CheckConstraint("tax_minor BETWEEN 0 AND total_minor", name="tax_within_total"),
        CheckConstraint("points_minor BETWEEN 0 AND total_minor", name="points_within_total"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    line: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    sku: Mapped[str]
    category: Mapped[str | None]
    quantity: Mapped[int] = mapped_column(Integer)
    total_minor: Mapped[int]
    brand: Mapped[str | None]
    kind: Mapped[str] = mapped_column(server_default="product")
    discount_minor: Mapped[int] = mapped_column(server_default="0")
    tax_minor: Mapped[int] = mapped_column(server_default="0")
    points_minor: Mapped[int] = mapped_column(server_default="0")
    amendment_id: Mapped[UUID | None]


class OrderReturn(Row):
    """That part of an order, or all of it, went back: the `number`-th time that something did.

    A cancellation takes back everything, and is no return. An amendment may take back nothing; it may have added lines.
    """

    __tablename__ = "order_returns"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "order_id"], ["orders.program_id", "orders.id"]),
        CheckConstraint("kind IN ('return', 'cancellation', 'amendment')", name="kind_known"),
        CheckConstraint("total_minor >= 0", name="total_not_negative"),
        Index("uq_order_returns_external_id", "program_id", "external_id", unique=True),
        Index("uq_order_returns_number", "program_id", "order_id", "number", unique=True),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID]
    number: Mapped[int] = mapped_column(Integer)
    external_id: Mapped[str | None]
    content_digest: Mapped[bytes] = mapped_column(LargeBinary)
    kind: Mapped[str]
    total_minor: Mapped[int]
    reason: Mapped[str | None]
    actor: Mapped[str]
    returned_at: Mapped[datetime]
    recorded_at: Mapped[datetime]
    notes: Mapped[dict[str, str]] = mapped_column("metadata", server_default=text("'{}'"))


class OrderReturnLine(Row):
    """How many pieces of a line went back, and what they had cost."""

    __tablename__ = "order_return_lines"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "return_id"], ["order_returns.program_id", "order_returns.id"]),
        CheckConstraint("quantity >= 0", name="quantity_not_negative"),
        CheckConstraint("total_minor >= 0", name="total_not_negative"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    return_id: Mapped[UUID] = mapped_column(primary_key=True)
    line: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    quantity: Mapped[int] = mapped_column(Integer)
    total_minor: Mapped[int]
