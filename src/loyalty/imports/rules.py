from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from loyalty.core.errors import Fault
from loyalty.orders.rules import Line


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


Record = Enrolment | Order


def find_faults(
    records: Sequence[Record],
    *,
    currencies: Collection[str],
    now: datetime,
    recorded: Mapping[str, bytes],
    digests: Mapping[str, bytes],
) -> list[Fault]:
    """Return everything wrong with a batch.

    `recorded` holds the content digests of orders that are there already, `digests` those of the batch's own orders.
    """
    faults = [
        Fault(f"/records/{index}", "out_of_time_order", "Records must be in order of time")
        for index, (before, after) in enumerate(pairwise(records), start=1)
        if after.at < before.at
    ]
    seen: dict[str, int] = {}
    for index, record in enumerate(records):
        if record.at > now:
            faults.append(Fault(f"/records/{index}", "in_the_future", "The record lies after the program's present"))
        if isinstance(record, Order):
            faults.extend(_order_faults(record, index, currencies, recorded, digests))
            if seen.setdefault(record.external_id, index) != index:
                faults.append(Fault(f"/records/{index}/external_id", "duplicate", "The batch has this order twice"))
    return faults


def _order_faults(
    order: Order, index: int, currencies: Collection[str], recorded: Mapping[str, bytes], digests: Mapping[str, bytes]
) -> Iterator[Fault]:
    if order.currency not in currencies:
        yield Fault(f"/records/{index}/currency", "currency_not_accepted", "The program does not accept this currency")
    there = recorded.get(order.external_id)
    if there is not None and there != digests[order.external_id]:
        yield Fault(f"/records/{index}/external_id", "order_differs", "This order was recorded with other content")
