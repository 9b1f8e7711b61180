from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row


class OrderTender(Row):
    """Points that paid for a part of an order, the entry that spent them, and by what policy they go back."""

    __tablename__ = "order_tenders"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "order_id"], ["orders.program_id", "orders.id"]),
        CheckConstraint("points > 0", name="points_positive"),
        CheckConstraint("value_minor BETWEEN 1 AND total_minor", name="value_within_total"),
        CheckConstraint("refund IN ('proportional', 'money_first', 'points_first')", name="refund_known"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    unit: Mapped[str]
    points: Mapped[int]
    value_minor: Mapped[int]
    total_minor: Mapped[int]
    refund: Mapped[str]
    entry_id: Mapped[UUID]


class TenderRefund(Row):
    """What of an order's points one return gave back: points, what they had paid, and the entry that restored them."""

    __tablename__ = "tender_refunds"
    __table_args__ = (
        ForeignKeyConstraint(["program_id", "return_id"], ["order_returns.program_id", "order_returns.id"]),
        ForeignKeyConstraint(["program_id", "order_id"], ["order_tenders.program_id", "order_tenders.order_id"]),
        CheckConstraint("points >= 0 AND value_minor >= 0", name="not_negative"),
        CheckConstraint("(points > 0) = (entry_id IS NOT NULL)", name="points_have_an_entry"),
        Index("ix_tender_refunds_order", "program_id", "order_id"),
    )

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    return_id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID]
    points: Mapped[int]
    value_minor: Mapped[int]
    entry_id: Mapped[UUID | None]
