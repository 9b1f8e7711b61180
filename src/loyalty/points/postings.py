"""What a book decides: entries, holds that end, and what a clawback came to; and what it must know of the past."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from loyalty.points.rules import Movement, Source, WalletKey


class Entry(NamedTuple):
    """One line of the ledger, as it will be written."""

    id: UUID
    wallet: WalletKey
    version: int
    movement: Movement
    balance_after: int
    available_after: int
    source: Source
    corrects_id: UUID | None
    occurred_at: datetime
    recorded_at: datetime


@dataclass(frozen=True)
class EndedHold:
    """A hold that is over: how much of it was captured, when, and by what (`captured`, `released`, `expired`)."""

    id: UUID
    captured: int
    ended_at: datetime
    ended_by: str


@dataclass(frozen=True)
class Lapse:
    """Points of a lot that expired by an entry and were not given back since."""

    entry_id: UUID
    lot_id: UUID
    points: int


@dataclass(frozen=True)
class Reversal:
    """What a clawback took: pending points cancelled, points taken from lots, what is owed and what was written off.

    `lapsed` of them had expired before, and cost the wallet nothing more.
    """

    pending: int = 0
    taken: int = 0
    lapsed: int = 0
    owed: int = 0
    written_off: int = 0
