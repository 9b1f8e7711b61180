"""Double entry in points: accounts, balances, lots, and how one movement changes them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from loyalty.points.errors import BalanceOutOfBounds, NotEnoughPoints

MAX_POINTS: Final = 2**53 - 1


class Account(StrEnum):
    """Where points can be. The first four are a wallet's own.

    The others are the program's, derived and never stored as balances.
    """

    PENDING = "pending"
    AVAILABLE = "available"
    HELD = "held"
    DEBT = "debt"
    ISSUED = "issued"
    OPENING = "opening"
    REDEEMED = "redeemed"
    EXPIRED = "expired"
    REVERSED = "reversed"
    ADJUSTED = "adjusted"
    FORFEITED = "forfeited"
    WRITTEN_OFF = "written_off"


class EntryKind(StrEnum):
    EARN = "earn"
    REFERRAL = "referral"
    ACTIVATE = "activate"
    SPEND = "spend"
    RESTORE = "restore"


@dataclass(frozen=True, order=True)
class WalletKey:
    """(program, member, unit); wallets are locked in this order."""

    program_id: UUID
    member_id: UUID
    unit: str


@dataclass(frozen=True)
class Wallet:
    """Balances under lock. `debt` counts what is owed, as a positive number."""

    key: WalletKey
    pending: int
    available: int
    held: int
    debt: int
    version: int
    last_at: datetime

    @property
    def balance(self) -> int:
        return self.pending + self.available + self.held - self.debt

    @property
    def spendable(self) -> int:
        return max(0, self.available - self.debt)


@dataclass(frozen=True)
class Lot:
    """Points credited together. `free` are those that no hold has reserved."""

    id: UUID
    remaining: int
    reserved: int
    expires_at: datetime | None
    activated_at: datetime | None

    @property
    def free(self) -> int:
        return self.remaining - self.reserved

    def spendable_at(self, instant: datetime) -> bool:
        return self.activated_at is not None and (self.expires_at is None or self.expires_at > instant)


@dataclass(frozen=True)
class Movement:
    """Points going from one account to another."""

    kind: EntryKind
    source: Account
    target: Account
    points: int


@dataclass(frozen=True)
class Take:
    """Points taken out of a lot (negative) or put back (positive)."""

    lot_id: UUID
    points: int


def move(wallet: Wallet, movement: Movement, *, at: datetime) -> Wallet:
    """Apply one movement; refuses what would leave an account of the wallet negative or out of bounds."""
    changed = replace(
        wallet,
        **{
            account.value: getattr(wallet, account.value) + delta
            for account, delta in _deltas(movement).items()
            if account in _WALLET_ACCOUNTS
        },
        version=wallet.version + 1,
        last_at=at,
    )
    if changed.available < 0:
        raise NotEnoughPoints(spendable=wallet.spendable, requested=movement.points)
    within = all(0 <= getattr(changed, account.value) <= MAX_POINTS for account in _WALLET_ACCOUNTS)
    if not within or abs(changed.balance) > MAX_POINTS:
        raise BalanceOutOfBounds
    return changed


def take_first_expiring(lots: Iterable[Lot], *, points: int, at: datetime) -> list[Take]:
    """Take points from the lots that expire first, never-expiring ones last, ties by id.

    What is expired at `at` is not touched.
    Raises NotEnoughPoints when the free points of spendable lots do not suffice.
    """
    takes: list[Take] = []
    wanted = points
    for lot in sorted(lots, key=_first_expiring):
        if wanted == 0:
            break
        part = min(lot.free, wanted) if lot.spendable_at(at) else 0
        if part > 0:
            takes.append(Take(lot.id, -part))
            wanted -= part
    if wanted:
        raise NotEnoughPoints(spendable=points - wanted, requested=points)
    return takes


def put_back(takes: Sequence[Take]) -> list[Take]:
    """Return what undoes these takes, into the very lots they came from."""
    return [Take(take.lot_id, -take.points) for take in takes]


_WALLET_ACCOUNTS: Final = (Account.PENDING, Account.AVAILABLE, Account.HELD, Account.DEBT)


def _deltas(movement: Movement) -> dict[Account, int]:
    """Debt is kept as what is owed, so points that reach it make it smaller."""
    signed = {movement.source: -movement.points, movement.target: movement.points}
    return {account: -delta if account is Account.DEBT else delta for account, delta in signed.items()}


def _first_expiring(lot: Lot) -> tuple[bool, float, UUID]:
    return (lot.expires_at is None, lot.expires_at.timestamp() if lot.expires_at else 0.0, lot.id)
