from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Discriminator, Field, Tag

from loyalty.core.fields import Body, CrossChecked, Currency, ExternalId, FieldFault, Instant, Label, Metadata
from loyalty.imports import rules
from loyalty.imports.service import Result
from loyalty.orders.rules import MAX_LINES
from loyalty.orders.schemas import LineIn, line_faults

MAX_RECORDS = 1000


class EnrolmentRecord(Body):
    """A customer who joined; `referred_by` is their advocate's external customer id."""

    kind: Literal["enrolment"]
    external_customer_id: ExternalId
    at: Instant
    external_order_id: ExternalId | None = None
    referred_by: ExternalId | None = None
    channel: Label | None = None

    def record(self) -> rules.Enrolment:
        return rules.Enrolment(
            self.external_customer_id, self.at, self.external_order_id, self.referred_by, self.channel
        )


class OrderRecord(CrossChecked):
    """An order that was placed and paid at `at`."""

    kind: Literal["order"]
    external_id: ExternalId
    external_customer_id: ExternalId | None = None
    at: Instant
    currency: Currency
    lines: Annotated[list[LineIn], Field(min_length=1, max_length=MAX_LINES)]
    channel: Label | None = None
    store: Label | None = None
    payment_method: Label | None = None
    metadata: Metadata

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:
        return line_faults(raw)

    def record(self) -> rules.Order:
        return rules.Order(
            self.external_id,
            self.external_customer_id,
            self.at,
            self.currency,
            tuple(line.line() for line in self.lines),
            self.channel,
            self.metadata,
            self.store,
            self.payment_method,
        )


def _kind(value: Any) -> str | None:
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return f"<{kind}>" if kind in {"enrolment", "order"} else None


# The tags stand in angle brackets, as no field does, so that a fault's pointer can leave them out.
RecordIn = Annotated[
    Annotated[EnrolmentRecord, Tag("<enrolment>")] | Annotated[OrderRecord, Tag("<order>")], Discriminator(_kind)
]


class ImportIn(Body):
    """Facts in order of time; each batch is all or nothing, and what is there already is left alone."""

    records: Annotated[list[RecordIn], Field(min_length=1, max_length=MAX_RECORDS)]


class ImportOut(msgspec.Struct):
    """What was new; `skipped` records were there already."""

    orders: int
    enrolments: int
    referrals: int
    skipped: int


def import_out(result: Result) -> ImportOut:
    return ImportOut(result.orders, result.enrolments, result.referrals, result.skipped)
