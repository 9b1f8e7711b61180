from datetime import datetime

import msgspec

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.paging import Page
from loyalty.points.balances import View
from loyalty.points.history import source_of
from loyalty.points.models import Entry, WalletOpening
from loyalty.points.rules import Lot
from loyalty.points.service import Verification


class DatedPointsOut(msgspec.Struct):
    at: str
    points: int


class WalletOut(msgspec.Struct):
    """A member's balances in one unit: `balance` = pending + available + held - debt.

    `spendable` is what a redemption can take. `expiring` and `starting` are the next points to expire, and to become
    spendable, five dates at most.
    """

    unit: str
    balance: int
    pending: int
    available: int
    held: int
    debt: int
    spendable: int
    version: int
    expiring: list[DatedPointsOut]
    starting: list[DatedPointsOut]


class WalletList(msgspec.Struct):
    data: list[WalletOut]


class EntryOut(msgspec.Struct):
    """One line of the ledger: `points` went from one account to the other, and left the wallet with this balance."""

    id: str
    version: int
    kind: str
    from_account: str
    to_account: str
    points: int
    unit: str
    balance_after: int
    available_after: int
    source_id: str
    corrects_id: str | None
    occurred_at: str
    recorded_at: str


class OpeningOut(msgspec.Struct):
    """What a wallet held after its first entries, `version` of them, which are detached."""

    unit: str
    version: int
    balance: int
    pending: int
    available: int
    held: int
    debt: int


class EntryPage(msgspec.Struct):
    """Entries, the newest first. `opening` is what came before the last of them, null if nothing did or more follow."""

    data: list[EntryOut]
    has_more: bool
    next_cursor: str | None
    opening: OpeningOut | None


class LotOut(msgspec.Struct):
    """Points credited together: `remaining` of `granted` are left, `reserved` of them held.

    `source_id` is what they were credited for. They wait until `activates_at`, or without it for an event, while
    `activated_at` is null; `expires_at` is as things stand, null never.
    """

    id: str
    unit: str
    source_id: str
    granted: int
    remaining: int
    reserved: int
    earned_at: str
    activates_at: str | None
    activated_at: str | None
    expires_at: str | None


class LotPage(msgspec.Struct):
    data: list[LotOut]
    has_more: bool
    next_cursor: str | None


class DifferenceOut(msgspec.Struct):
    """A figure of a wallet that does not agree with what it is derived from."""

    member_id: str
    unit: str
    check: str
    expected: int
    found: int


class VerificationOut(msgspec.Struct):
    """`holds` is true when every wallet agrees with its entries, lots, allocations and holds."""

    holds: bool
    wallets: int
    entries: int
    differences: list[DifferenceOut]


_MOST_DATES = 5


def wallet_out(view: View) -> WalletOut:
    wallet = view.wallet
    return WalletOut(
        unit=wallet.key.unit,
        balance=wallet.balance,
        pending=wallet.pending,
        available=wallet.available,
        held=wallet.held,
        debt=wallet.debt,
        spendable=wallet.spendable,
        version=wallet.version,
        expiring=[DatedPointsOut(rfc3339(at), points) for at, points in view.expiring[:_MOST_DATES]],
        starting=[DatedPointsOut(rfc3339(at), points) for at, points in view.starting[:_MOST_DATES]],
    )


def entry_out(entry: Entry) -> EntryOut:
    source = source_of(entry)
    return EntryOut(
        id=ids.public("ent", entry.id),
        version=entry.version,
        kind=entry.kind,
        from_account=entry.from_account,
        to_account=entry.to_account,
        points=entry.points,
        unit=entry.unit,
        balance_after=entry.balance_after,
        available_after=entry.available_after,
        source_id=ids.public(source.kind, source.id),
        corrects_id=ids.public("ent", entry.corrects_id) if entry.corrects_id else None,
        occurred_at=rfc3339(entry.occurred_at),
        recorded_at=rfc3339(entry.recorded_at),
    )


def entry_page(page: Page[Entry], opening: WalletOpening | None) -> EntryPage:
    return EntryPage(
        [entry_out(entry) for entry in page.data],
        page.has_more,
        page.next_cursor,
        None if opening is None or page.has_more else _opening_out(opening),
    )


def _opening_out(opening: WalletOpening) -> OpeningOut:
    return OpeningOut(
        unit=opening.unit,
        version=opening.version,
        balance=opening.pending + opening.available + opening.held - opening.debt,
        pending=opening.pending,
        available=opening.available,
        held=opening.held,
        debt=opening.debt,
    )


def lot_page(page: Page[tuple[Lot, datetime | None]]) -> LotPage:
    return LotPage([_lot_out(lot, ends_at) for lot, ends_at in page.data], page.has_more, page.next_cursor)


def _lot_out(lot: Lot, ends_at: datetime | None) -> LotOut:
    return LotOut(
        id=ids.public("lot", lot.id),
        unit=lot.wallet.unit,
        source_id=ids.public(lot.source.kind, lot.source.id),
        granted=lot.granted,
        remaining=lot.remaining,
        reserved=lot.reserved,
        earned_at=rfc3339(lot.earned_at),
        activates_at=rfc3339(lot.activates_at) if lot.activates_at else None,
        activated_at=rfc3339(lot.activated_at) if lot.activated_at else None,
        expires_at=rfc3339(ends_at) if ends_at else None,
    )


def verification_out(verification: Verification) -> VerificationOut:
    return VerificationOut(
        holds=not verification.differences,
        wallets=verification.wallets,
        entries=verification.entries,
        differences=[
            DifferenceOut(ids.public("mem", row.member_id), row.unit, row.check, row.expected, row.found)
            for row in verification.differences
        ],
    )
