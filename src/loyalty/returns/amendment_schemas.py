from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
from pydantic import Field

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import CrossChecked, Currency, ExternalId, FieldFault, Instant, Metadata
from loyalty.core.money import MoneyOut
from loyalty.orders.returning import ReturnKind
from loyalty.orders.rules import MAX_LINES
from loyalty.orders.schemas import LineIn, line_faults
from loyalty.points.schemas import EntryOut, entry_out
from loyalty.returns.history import View
from loyalty.returns.schemas import (
    Reason,
    RefundOut,
    ReturnedLineOut,
    ReturnLineIn,
    ReversalOut,
    points_reversed,
    refund_out,
    return_line_faults,
    returned_lines_out,
    reversals_out,
    wanted,
)
from loyalty.returns.service import Asked


class AmendmentIn(CrossChecked):
    """Lines that go from an order, lines that are added to it, or both for an exchange; in the order's currency."""

    external_id: ExternalId | None = None
    currency: Currency
    removed: Annotated[list[ReturnLineIn], Field(max_length=MAX_LINES)] = Field(default_factory=list)
    added: Annotated[list[LineIn], Field(max_length=MAX_LINES)] = Field(default_factory=list)
    reason: Reason | None = None
    amended_at: Instant | None = None
    metadata: Metadata

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:
        if not raw.get("removed") and not raw.get("added"):
            yield ("added",), "amendment", "Name lines to remove, lines to add, or both"
        yield from return_line_faults(raw, field="removed")
        yield from line_faults(raw, field="removed")
        yield from line_faults(raw, field="added")

    def asked(self) -> Asked:
        return Asked(
            kind=ReturnKind.AMENDMENT,
            external_id=self.external_id,
            lines=wanted(self.removed),
            currency=self.currency,
            reason=self.reason,
            returned_at=self.amended_at,
            metadata=self.metadata,
            added=tuple(line.line() for line in self.added),
        )


class AddedLineOut(msgspec.Struct):
    """A line as it stands on the order now; `line` is its number there."""

    line: int
    sku: str
    quantity: int
    total: MoneyOut


class AdditionOut(msgspec.Struct):
    """What one rule gives the order more: `points`, of which `paid` went to the wallet.

    The rest makes up for points that had gone back without being taken.
    """

    rule_id: str
    rule_version: int
    points: int
    paid: int
    unit: str


class AmendmentOut(msgspec.Struct):
    """What was changed about an order, and the points that it gave and took back.

    `refund` is for what was removed, `to_pay` for what was added; which of both is settled against the other is the
    shop's affair.
    """

    id: str
    order_id: str
    external_id: str | None
    removed: list[ReturnedLineOut]
    added: list[AddedLineOut]
    refund: RefundOut
    to_pay: MoneyOut
    points_reversed: int
    reversals: list[ReversalOut]
    points_added: int
    additions: list[AdditionOut]
    entries: list[EntryOut]
    reason: str | None
    amended_at: str
    recorded_at: str
    metadata: dict[str, str]


class AmendmentList(msgspec.Struct):
    data: list[AmendmentOut]


def amendment_out(view: View) -> AmendmentOut:
    made, currency = view.made, view.currency
    return AmendmentOut(
        id=ids.public("ret", made.id),
        order_id=ids.public("ord", made.order_id),
        external_id=made.external_id,
        removed=returned_lines_out(view),
        added=[
            AddedLineOut(line.line, line.sku, line.quantity, MoneyOut(line.total_minor, currency))
            for line in view.added
        ],
        refund=refund_out(view),
        to_pay=MoneyOut(sum(line.total_minor for line in view.added), currency),
        points_reversed=points_reversed(view),
        reversals=reversals_out(view),
        points_added=sum(row.paid for row in view.additions),
        additions=[
            AdditionOut(ids.public("rul", row.rule_id), row.rule_version, row.points, row.paid, row.unit)
            for row in view.additions
        ],
        entries=[entry_out(entry) for entry in view.entries],
        reason=made.reason,
        amended_at=rfc3339(made.returned_at),
        recorded_at=rfc3339(made.recorded_at),
        metadata=made.notes,
    )
