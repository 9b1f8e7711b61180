"""Double entry in points: accounts, balances, lots, and how one movement changes them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from loyalty.points.errors import BalanceOutOfBounds, NotEnoughPoints
from loyalty.programs.policies import Period, idle_until

MAX_POINTS: Final = 2**53 - 1


class Account(StrEnum):
    """Where points can be. The first four are a wallet's own.

    The others are the program's, derived and never stored as balances. `transferred` sums to zero over a program.
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
    TRANSFERRED = "transferred"


class EntryKind(StrEnum):
    EARN = "earn"
    REFERRAL = "referral"
    ACTIVATE = "activate"
    SPEND = "spend"
    RESTORE = "restore"
    EXPIRE = "expire"
    REINSTATE = "reinstate"
    EXTEND = "extend"
    HOLD = "hold"
    CAPTURE = "capture"
    RELEASE = "release"
    REVERSE = "reverse"
    REPAY = "repay"
    WRITE_OFF = "write_off"
    FORFEIT = "forfeit"
    ADJUST = "adjust"
    TRANSFER = "transfer"
    MERGE = "merge"


class SourceKind(StrEnum):
    """What an entry stands for: the prefix of its public id."""

    ORDER = "ord"
    ACTIVITY = "act"
    RETURN = "ret"
    REFERRAL = "ref"
    REDEMPTION = "red"
    HOLD = "hld"
    ADJUSTMENT = "adj"
    TRANSFER = "trf"
    MERGE = "mrg"


class Source(NamedTuple):
    kind: SourceKind
    id: UUID


class WalletKey(NamedTuple):
    """(program, member, unit); wallets are locked in this order."""

    program_id: UUID
    member_id: UUID
    unit: str


@dataclass(frozen=True)
class Wallet:
    """Balances under lock. `debt` counts what is owed, as a positive number.

    `active_at` is when points were last earned or spent. Nothing is due in the wallet before `next_due_at`, which may
    lie earlier than what is due next, and is null when nothing ever is.
    """

    key: WalletKey
    pending: int
    available: int
    held: int
    debt: int
    version: int
    last_at: datetime
    next_due_at: datetime | None = None
    active_at: datetime | None = None

    @property
    def balance(self) -> int:
        return self.pending + self.available + self.held - self.debt

    @property
    def spendable(self) -> int:
        return max(0, self.available - self.debt)

    def is_due(self, now: datetime) -> bool:
        return self.next_due_at is not None and self.next_due_at <= now


@dataclass(frozen=True)
class Lot:
    """Points credited together. `reserved` of the remaining ones are held; `free` are those that are not.

    A lot that is not activated waits for `activates_at`, or without one for an event. It expires at `expires_at`, or
    once its wallet was idle for `idle`.
    """

    id: UUID
    wallet: WalletKey
    entry_id: UUID
    source: Source
    granted: int
    remaining: int
    reserved: int
    earned_at: datetime
    activates_at: datetime | None = None
    activated_at: datetime | None = None
    expires_at: datetime | None = None
    idle: Period | None = None

    @property
    def free(self) -> int:
        return self.remaining - self.reserved

    @property
    def is_pending(self) -> bool:
        return self.activated_at is None

    @property
    def began_at(self) -> datetime:
        """Return from when on the points are good, whenever that was written down."""
        return self.activates_at or self.earned_at

    @property
    def waits_for_event(self) -> bool:
        return self.is_pending and self.activates_at is None

    def ends_at(self, wallet: Wallet, zone: ZoneInfo) -> datetime | None:
        """Return when the lot expires as things stand; idleness counts from its beginning or any activity since."""
        if self.idle is not None:
            return idle_until(max(wallet.active_at or self.began_at, self.began_at), self.idle, zone)
        return self.expires_at


@dataclass(frozen=True)
class Reservation:
    lot_id: UUID
    points: int


@dataclass(frozen=True)
class Hold:
    """Points locked across all carts until captured, released, or past `expires_at`."""

    id: UUID
    wallet: WalletKey
    points: int
    expires_at: datetime
    reservations: tuple[Reservation, ...]
    notes: dict[str, str] = field(default_factory=dict)


class Movement(NamedTuple):
    """Points going from one account to another."""

    kind: EntryKind
    source: Account
    target: Account
    points: int


class Take(NamedTuple):
    """Points taken out of a lot (negative) or put back (positive)."""

    lot_id: UUID
    points: int


def move(wallet: Wallet, movement: Movement, *, at: datetime, active_at: datetime | None = None) -> Wallet:
    """Apply one movement; refuses what would leave an account of the wallet negative or out of bounds.

    `active_at` is when points were earned or spent by it, if they were.
    """
    deltas = _deltas(movement)
    was = (wallet.pending, wallet.available, wallet.held, wallet.debt)
    pending, available, held, debt = now = [
        own + deltas.get(account, 0) for own, account in zip(was, WALLET_ACCOUNTS, strict=True)
    ]
    if available < 0:
        raise NotEnoughPoints(spendable=wallet.spendable, requested=movement.points)
    if min(now) < 0 or max(now) > MAX_POINTS or abs(pending + available + held - debt) > MAX_POINTS:
        raise BalanceOutOfBounds
    active_at = wallet.active_at if active_at is None else max(active_at, wallet.active_at or active_at)
    return Wallet(wallet.key, pending, available, held, debt, wallet.version + 1, at, wallet.next_due_at, active_at)


def take_in_order(lots: Iterable[Lot], *, points: int) -> list[Take]:
    """Take at most so many points from the free part of these lots, the first first."""
    takes: list[Take] = []
    wanted = points
    for lot in lots:
        part = min(lot.free, wanted)
        if part > 0:
            takes.append(Take(lot.id, -part))
            wanted -= part
    return takes


def part_of(takes: Iterable[Take], *, after: int, points: int) -> Iterator[Take]:
    """Yield those parts of takes that follow the first `after` points of them and come to so many points."""
    skip, left = after, points
    for take in takes:
        skipped = min(skip, -take.points)
        part = min(left, -take.points - skipped)
        skip, left = skip - skipped, left - part
        if part:
            yield Take(take.lot_id, -part)


def first_expiring(lot: Lot, ends_at: datetime | None) -> tuple[bool, float, UUID]:
    """Rank lots: those that end first come first, never-ending ones last, ties by id."""
    return (ends_at is None, ends_at.timestamp() if ends_at else 0.0, lot.id)


def earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the earlier of two instants, where null is never."""
    return min((instant for instant in (one, other) if instant is not None), default=None)


WALLET_ACCOUNTS: Final = (Account.PENDING, Account.AVAILABLE, Account.HELD, Account.DEBT)


def _deltas(movement: Movement) -> dict[Account, int]:
    """Debt is kept as what is owed, so points that reach it make it smaller."""
    signed = {movement.source: -movement.points, movement.target: movement.points}
    return {account: -delta if account is Account.DEBT else delta for account, delta in signed.items()}


def hold_source(hold_id: UUID) -> Source:
    return Source(SourceKind.HOLD, hold_id)


_SPENDABLE_OR_NOT: Final = (Account.PENDING, Account.AVAILABLE)
MOVES: Final[dict[EntryKind, tuple[tuple[tuple[Account, ...], tuple[Account, ...]], ...]]] = {
    EntryKind.EARN: (((Account.ISSUED,), _SPENDABLE_OR_NOT),),
    EntryKind.REFERRAL: (((Account.ISSUED,), _SPENDABLE_OR_NOT),),
    EntryKind.ACTIVATE: (((Account.PENDING,), (Account.AVAILABLE,)),),
    EntryKind.SPEND: (((Account.AVAILABLE,), (Account.REDEEMED,)),),
    EntryKind.RESTORE: (((Account.REDEEMED,), (Account.AVAILABLE,)),),
    EntryKind.EXPIRE: (((Account.AVAILABLE,), (Account.EXPIRED,)),),
    EntryKind.REINSTATE: (((Account.EXPIRED,), (Account.AVAILABLE,)),),
    EntryKind.EXTEND: (((Account.AVAILABLE,), (Account.ADJUSTED,)), ((Account.ADJUSTED,), (Account.AVAILABLE,))),
    EntryKind.HOLD: (((Account.AVAILABLE,), (Account.HELD,)),),
    EntryKind.CAPTURE: (((Account.HELD,), (Account.REDEEMED,)),),
    EntryKind.RELEASE: (((Account.HELD,), (Account.AVAILABLE,)),),
    EntryKind.REVERSE: (((*_SPENDABLE_OR_NOT, Account.DEBT), (Account.REVERSED,)),),
    EntryKind.REPAY: (((Account.AVAILABLE,), (Account.DEBT,)),),
    EntryKind.WRITE_OFF: (((Account.WRITTEN_OFF,), (Account.DEBT,)),),
    EntryKind.FORFEIT: (((Account.AVAILABLE,), (Account.FORFEITED,)),),
    EntryKind.ADJUST: (
        ((Account.AVAILABLE,), (Account.ADJUSTED,)),
        ((Account.ADJUSTED, Account.OPENING), _SPENDABLE_OR_NOT),
    ),
    EntryKind.TRANSFER: (
        ((Account.AVAILABLE,), (Account.TRANSFERRED,)),
        ((Account.TRANSFERRED,), (Account.AVAILABLE,)),
    ),
    EntryKind.MERGE: (
        ((*_SPENDABLE_OR_NOT, Account.DEBT), (Account.TRANSFERRED,)),
        ((Account.TRANSFERRED,), (*_SPENDABLE_OR_NOT, Account.DEBT)),
    ),
}
"""Between which accounts each kind of entry moves points; the database holds the ledger to it."""
