"""Why a balance is what it is, in words: code, parameters, and a sentence made of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.points.balances import View
from loyalty.points.history import source_of
from loyalty.points.models import Entry
from loyalty.points.rules import Lot, Source, SourceKind, Wallet

_SENTENCES: Final = {
    "balance": "{balance} points in all: {available} to spend, {pending} pending, {held} held, {debt} owed.",
    "lot": "{remaining} of the {granted} points of {source} of {earned_at} are left; they never expire.",
    "lot_expires": "{remaining} of the {granted} points of {source} of {earned_at} are left until {expires_at}.",
    "lot_begins": "{remaining} points of {source} of {earned_at} become spendable at {activates_at}.",
    "lot_waits": "{remaining} points of {source} of {earned_at} wait for its payment or delivery.",
    "lot_held": "{reserved} points of {source} are held by a checkout.",
    "earn": "{points} points were earned by {source}.",
    "referral": "{points} points were given for {source}.",
    "activate": "{points} points of {source} became spendable.",
    "spend": "{points} points were spent on {source}.",
    "restore": "{points} points came back from {source}.",
    "expire": "{points} points of {source} expired.",
    "reinstate": "{points} expired points were given back by {source}.",
    "extend": "{points} points were given a later end by {source}.",
    "hold": "{points} points were held by {source}.",
    "capture": "{points} held points were spent by {source}.",
    "release": "{points} held points were freed from {source}.",
    "reverse": "{points} points were taken back by {source}.",
    "repay": "{points} points paid what was owed.",
    "write_off": "{points} points that were owed were let go.",
    "forfeit": "{points} points came back to an expired lot and were forfeited.",
    "adjust": "{points} points were given or taken by hand by {source}.",
    "transfer": "{points} points went from member to member by {source}.",
    "merge": "{points} points moved as two memberships became one by {source}.",
}


@dataclass(frozen=True)
class Reason:
    """One sentence of an explanation, and what it is made of; `at` is when it happened, null for what is so now."""

    code: str
    params: dict[str, str | int]
    at: datetime | None = None

    @property
    def text(self) -> str:
        return _SENTENCES[self.code].format(**self.params)


def explain(
    view: View, lots: Sequence[tuple[Lot, datetime | None]], entries: Sequence[Entry], orders: Mapping[UUID, str]
) -> Iterator[Reason]:
    """Yield why a wallet holds what it holds: its balance, what is left of which lot, then what happened, newest first.

    `orders` names orders as the storefront does.
    """
    yield Reason("balance", _balance(view.wallet))
    for lot, ends_at in lots:
        yield from _of_lot(lot, ends_at, orders)
    for due in reversed(view.due):
        yield Reason(
            due.movement.kind, {"points": due.movement.points, "source": _named(due.source, orders)}, due.occurred_at
        )
    for entry in entries:
        params: dict[str, str | int] = {"points": entry.points, "source": _named(source_of(entry), orders)}
        yield Reason(entry.kind, params, entry.occurred_at)


def _balance(wallet: Wallet) -> dict[str, str | int]:
    return {
        "balance": wallet.balance,
        "available": wallet.available,
        "pending": wallet.pending,
        "held": wallet.held,
        "debt": wallet.debt,
    }


def _of_lot(lot: Lot, ends_at: datetime | None, orders: Mapping[UUID, str]) -> Iterator[Reason]:
    if lot.remaining == 0:
        return
    params: dict[str, str | int] = {
        "remaining": lot.remaining,
        "granted": lot.granted,
        "reserved": lot.reserved,
        "source": _named(lot.source, orders),
        "earned_at": rfc3339(lot.earned_at),
    }
    if lot.is_pending and lot.activates_at is not None:
        yield Reason("lot_begins", {**params, "activates_at": rfc3339(lot.activates_at)})
    elif lot.is_pending:
        yield Reason("lot_waits", params)
    elif ends_at is not None:
        yield Reason("lot_expires", {**params, "expires_at": rfc3339(ends_at)})
    else:
        yield Reason("lot", params)
    if lot.reserved:
        yield Reason("lot_held", params)


def _named(source: Source, orders: Mapping[UUID, str]) -> str:
    name = orders.get(source.id) if source.kind is SourceKind.ORDER else None
    noun = source.kind.name.lower()
    return f"{noun} {name or ids.public(source.kind, source.id)}"
