import msgspec

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.paging import Page
from loyalty.points.models import Entry
from loyalty.points.rules import Wallet
from loyalty.points.service import Verification


class WalletOut(msgspec.Struct):
    """A member's balances in one unit: `balance` = pending + available + held - debt.

    `spendable` is what a redemption can take.
    """

    unit: str
    balance: int
    pending: int
    available: int
    held: int
    debt: int
    spendable: int
    version: int


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


class EntryPage(msgspec.Struct):
    data: list[EntryOut]
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


_SOURCES = {"earn": "ord", "activate": "ord", "referral": "ref", "spend": "red", "restore": "red"}


def wallet_out(wallet: Wallet) -> WalletOut:
    return WalletOut(
        unit=wallet.key.unit,
        balance=wallet.balance,
        pending=wallet.pending,
        available=wallet.available,
        held=wallet.held,
        debt=wallet.debt,
        spendable=wallet.spendable,
        version=wallet.version,
    )


def entry_out(entry: Entry) -> EntryOut:
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
        source_id=ids.public(_SOURCES[entry.kind], entry.source_id),
        corrects_id=ids.public("ent", entry.corrects_id) if entry.corrects_id else None,
        occurred_at=rfc3339(entry.occurred_at),
        recorded_at=rfc3339(entry.recorded_at),
    )


def entry_page(page: Page[Entry]) -> EntryPage:
    return EntryPage([entry_out(entry) for entry in page.data], page.has_more, page.next_cursor)


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
