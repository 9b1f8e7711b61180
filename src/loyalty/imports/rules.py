from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from loyalty.core.errors import Fault
from loyalty.orders.rules import Line, NewOrder, Recorded, is_same


@dataclass(frozen=True)
class Enrolment:
    """A customer who joined at `at`; `referred_by` is the advocate's external customer id."""

    external_customer_id: str
    at: datetime
    external_order_id: str | None = None
    referred_by: str | None = None
    channel: str | None = None


@dataclass(frozen=True)
class Order:
    """An order placed and paid at `at`, by a known customer or by nobody known."""

    external_id: str
    external_customer_id: str | None
    at: datetime
    currency: str
    lines: tuple[Line, ...]
    channel: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    store: str | None = None
    payment_method: str | None = None


Record = Enrolment | Order


def find_faults(records: Sequence[Record], *, currencies: Collection[str], now: datetime) -> list[Fault]:
    """Return everything wrong with a batch by itself."""
    faults = [
        Fault(f"/records/{index}", "out_of_time_order", "Records must be in order of time")
        for index, (before, after) in enumerate(pairwise(records), start=1)
        if after.at < before.at
    ]
    seen: set[tuple[type[Record], str]] = set()
    for index, record in enumerate(records):
        if record.at > now:
            faults.append(Fault(f"/records/{index}", "in_the_future", "The record lies after the program's present"))
        name = "external_id" if isinstance(record, Order) else "external_customer_id"
        key = (type(record), getattr(record, name))
        if key in seen:
            faults.append(Fault(f"/records/{index}/{name}", "duplicate", "The batch has this twice"))
        seen.add(key)
        if isinstance(record, Order) and record.currency not in currencies:
            pointer = f"/records/{index}/currency"
            faults.append(Fault(pointer, "currency_not_accepted", "The program does not accept this currency"))
    return faults


def find_differing(
    records: Sequence[Record], *, recorded: Mapping[str, Recorded], placed: Mapping[str, NewOrder]
) -> list[Fault]:
    """Return which orders of a batch are there already, but say something else."""
    return [
        Fault(f"/records/{index}/external_id", "order_differs", "This order was recorded with other content")
        for index, record in enumerate(records)
        if isinstance(record, Order)
        and (there := recorded.get(record.external_id)) is not None
        and not is_same(there, placed[record.external_id], email_digests=(), placed_at=record.at)
    ]
