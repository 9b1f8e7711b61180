from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import msgspec
from pydantic import Field

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import Body, CrossChecked, ExternalId, FieldFault, Instant, Metadata, MoneyIn, text
from loyalty.core.money import MoneyOut
from loyalty.orders.returning import ReturnKind, WantedLine
from loyalty.orders.rules import MAX_LINES
from loyalty.points.schemas import EntryOut, entry_out
from loyalty.returns.history import View
from loyalty.returns.service import Asked

Reason = Annotated[str, text(longest=500)]


class ReturnLineIn(Body):
    """A line of the order, counted from 1: so many pieces of it, or an amount, or both as agreed with the customer."""

    line: Annotated[int, Field(ge=1, le=MAX_LINES, strict=True)]
    quantity: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] | None = None
    total: MoneyIn | None = None


def wanted(lines: Iterable[ReturnLineIn]) -> tuple[WantedLine, ...]:
    return tuple(WantedLine(line.line, line.quantity, line.total.amount if line.total else None) for line in lines)


def return_line_faults(raw: Mapping[str, Any], *, field: str) -> Iterator[FieldFault]:
    """Yield what is wrong between lines that go back: one named twice, or without a word on how much of it."""
    lines, seen = raw.get(field), set()
    for index, line in enumerate(lines if isinstance(lines, list) else []):
        if not isinstance(line, Mapping):
            continue
        if line.get("quantity") is None and line.get("total") is None:
            yield (field, index), "line", "Name a quantity, a total, or both"
        if isinstance(number := line.get("line"), int):
            if number in seen:
                yield (field, index, "line"), "duplicate", "A line is named once"
            seen.add(number)


class ReturnIn(CrossChecked):
    """What goes back: these lines, or this amount spread over all lines, or with neither everything that is left."""

    external_id: ExternalId | None = None
    lines: Annotated[list[ReturnLineIn], Field(min_length=1, max_length=MAX_LINES)] | None = None
    total: MoneyIn | None = None
    reason: Reason | None = None
    returned_at: Instant | None = None
    metadata: Metadata

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:
        lines = raw.get("lines")
        if lines is not None and raw.get("total") is not None:
            yield ("total",), "total", "Name lines or a total, not both"
        yield from return_line_faults(raw, field="lines")
        if len(_currencies(raw)) > 1:
            yield ("lines",), "currency", "All amounts should be in the order's currency"

    def asked(self) -> Asked:
        return Asked(
            kind=ReturnKind.RETURN,
            external_id=self.external_id,
            lines=None if self.lines is None else wanted(self.lines),
            total_minor=self.total.amount if self.total else None,
            currency=next(iter(_currencies(self.model_dump())), None),
            reason=self.reason,
            returned_at=self.returned_at,
            metadata=self.metadata,
        )


class OrderCancellationIn(Body):
    """Why an order is cancelled, and when; now unless given."""

    reason: Reason | None = None
    cancelled_at: Instant | None = None
    metadata: Metadata

    def asked(self) -> Asked:
        return Asked(
            kind=ReturnKind.CANCELLATION,
            reason=self.reason,
            returned_at=self.cancelled_at,
            metadata=self.metadata,
        )


class ReturnedLineOut(msgspec.Struct):
    line: int
    quantity: int
    total: MoneyOut


class ReversalOut(msgspec.Struct):
    """What one rule had given too much: `points` in all.

    `pending` were not spendable yet, `taken` came out of the wallet, `lapsed` had expired before, `owed` became debt,
    `written_off` was let go.
    """

    rule_id: str
    points: int
    pending: int
    taken: int
    lapsed: int
    owed: int
    written_off: int


class RefundOut(msgspec.Struct):
    """What to give the buyer back: so much in money; points are back in the wallet, and coupons good again already."""

    money: MoneyOut
    points: int
    coupons: list[str]


class ReturnOut(msgspec.Struct):
    """What went back of an order, and the points that it took back. `kind` is return or cancellation.

    `points_added` are those that rules give instead, where what goes back had displaced them.
    """

    id: str
    order_id: str
    external_id: str | None
    kind: str
    total: MoneyOut
    lines: list[ReturnedLineOut]
    refund: RefundOut
    points_reversed: int
    reversals: list[ReversalOut]
    points_added: int
    entries: list[EntryOut]
    reason: str | None
    returned_at: str
    recorded_at: str
    metadata: dict[str, str]


class ReturnList(msgspec.Struct):
    data: list[ReturnOut]


def return_out(view: View) -> ReturnOut:
    made = view.made
    return ReturnOut(
        id=ids.public("ret", made.id),
        order_id=ids.public("ord", made.order_id),
        external_id=made.external_id,
        kind=made.kind,
        total=MoneyOut(made.total_minor, view.currency),
        lines=returned_lines_out(view),
        refund=refund_out(view),
        points_reversed=points_reversed(view),
        reversals=reversals_out(view),
        points_added=sum(row.paid for row in view.additions),
        entries=[entry_out(entry) for entry in view.entries],
        reason=made.reason,
        returned_at=rfc3339(made.returned_at),
        recorded_at=rfc3339(made.recorded_at),
        metadata=made.notes,
    )


def _currencies(raw: Mapping[str, Any]) -> set[str]:
    lines = raw.get("lines")
    named = [line.get("total") for line in lines if isinstance(line, Mapping)] if isinstance(lines, list) else []
    totals = [total for total in [raw.get("total"), *named] if isinstance(total, Mapping)]
    return {currency for total in totals if isinstance(currency := total.get("currency"), str)}


def returned_lines_out(view: View) -> list[ReturnedLineOut]:
    return [ReturnedLineOut(line.line, line.quantity, MoneyOut(line.total_minor, view.currency)) for line in view.lines]


def points_reversed(view: View) -> int:
    return sum(row.pending + row.taken + row.lapsed + row.owed + row.written_off for row in view.reversals)


def reversals_out(view: View) -> list[ReversalOut]:
    return [
        ReversalOut(
            rule_id=ids.public("rul", row.rule_id),
            points=row.points,
            pending=row.pending,
            taken=row.taken,
            lapsed=row.lapsed,
            owed=row.owed,
            written_off=row.written_off,
        )
        for row in view.reversals
    ]


def refund_out(view: View) -> RefundOut:
    with_points = view.refund.value_minor if view.refund else 0
    return RefundOut(
        money=MoneyOut(view.made.total_minor - with_points - view.kept_minor, view.currency),
        points=view.refund.points if view.refund else 0,
        coupons=view.coupons,
    )
