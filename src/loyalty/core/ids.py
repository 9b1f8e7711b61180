"""Ids: UUIDv7 inside, a prefix and 26 lower-case Crockford characters outside (`mem_01j…`)."""

import secrets
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from asyncpg.pgproto import pgproto
from uuid_utils import uuid7

CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PUBLIC_LENGTH: Final = 26

_LOWER: Final = CROCKFORD.lower()
_PAIRS: Final = [high + low for high in _LOWER for low in _LOWER]
_SHIFTS: Final = range(120, -1, -10)
_TO_BASE_32: Final = bytes(
    (b"0123456789abcdefghijklmnopqrstuv"[_LOWER.index(chr(own))] if chr(own) in _LOWER else ord("!"))
    for own in range(256)
)
"""What each of Crockford's symbols is where `int` reads base 32; all others are what it refuses."""


def new() -> UUID:
    """Make an id whose order is that of creation within one process."""
    return _made(uuid7().bytes)


def _made(value: bytes) -> UUID:
    """Make an id as the driver's own kind of UUID, which it sends and compares many times faster."""
    made: UUID = pgproto.UUID(value)
    return made


def floor(instant: datetime) -> UUID:
    """Return the least id that can be made from an instant on; ids count milliseconds of the real world's clock."""
    return UUID(int=int(instant.timestamp() * 1000) << 80)


def made_at(value: UUID) -> datetime:
    """Return when an id was made, to the millisecond."""
    return datetime.fromtimestamp((value.int >> 80) / 1000, UTC)


def encode(value: UUID) -> str:
    """Write 128 bits as 26 Crockford characters (the first carries 3 bits)."""
    number = value.int
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])


def decode(text: str) -> UUID | None:
    """Read what `encode` wrote; None for anything else."""
    if len(text) != PUBLIC_LENGTH or text[0] not in "01234567" or not text.isascii():
        return None
    try:
        number = int(text.encode().translate(_TO_BASE_32), 32)
    except ValueError:
        return None
    return _made(number.to_bytes(16))


def draw(symbols: int) -> str:
    """Draw so many of Crockford's symbols that nobody can guess, of 5 bits each."""
    bits = secrets.randbits(5 * symbols)
    return "".join([CROCKFORD[(bits >> shift) & 31] for shift in range(0, 5 * symbols, 5)])


def public(prefix: str, value: UUID) -> str:
    return f"{prefix}_{encode(value)}"


def parse(prefix: str, text: str) -> UUID | None:
    """Read a public id of this kind; None if it is of another kind or malformed."""
    head, _, tail = text.partition("_")
    return decode(tail) if head == prefix else None
