"""One effect per (program, operation, key), stored in the same transaction as the effect itself.

A duplicate waits on the first one's uncommitted row: if that commits, the duplicate replays it; if it aborts, the
duplicate does the work. Nothing can be left "in progress", since a claim lives and dies with its transaction. A refusal
stores nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Index, LargeBinary, SmallInteger, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row, insert_new_rows, sqlstate_of
from loyalty.core.errors import Conflict, Invalid, Unprocessable

MAX_KEY_LENGTH: Final = 255
_LOCK_NOT_AVAILABLE: Final = "55P03"


class IdempotencyKey(Row):
    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_recorded", "program_id", "recorded_at"),)

    program_id: Mapped[UUID] = mapped_column(primary_key=True)
    operation: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    resource_id: Mapped[UUID]
    status: Mapped[int] = mapped_column(SmallInteger)
    recorded_at: Mapped[datetime] = mapped_column()


class IdempotencyKeyMissing(Invalid):
    """This request needs an Idempotency-Key header."""


class IdempotencyKeyInvalid(Invalid):
    """The Idempotency-Key must be 1 to 255 visible ASCII characters."""


class IdempotencyKeyReused(Unprocessable):
    """The Idempotency-Key was used before with another request."""


class RequestInProgress(Conflict):
    """A request with the same Idempotency-Key is still being worked on."""


@dataclass(frozen=True)
class Call:
    """What identifies one call: whose, which operation, which key, and keyed digests of what was asked.

    The first fingerprint is the one to keep; a kept one may be any of them, since the operator's secret rotates.
    """

    program_id: UUID
    operation: str
    key: str
    fingerprints: tuple[bytes, ...]


@dataclass(frozen=True)
class Claim:
    """`resource_id` is the new resource to make, or when `replayed` the one that the first call made."""

    call: Call
    resource_id: UUID
    status: int
    replayed: bool


def read_key(header: str | None) -> str:
    """Read the header's value, quoted (as the draft standard has it) or bare."""
    if header is None:
        raise IdempotencyKeyMissing
    key = header.strip()
    if len(key) > 1 and key.startswith('"') and key.endswith('"'):
        key = key[1:-1]
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not all("!" <= symbol <= "~" for symbol in key):
        raise IdempotencyKeyInvalid
    return key


async def claim(session: AsyncSession, *, call: Call, resource_id: UUID, now: datetime, status: int = 201) -> Claim:
    """Take the key for this call, waiting for a duplicate in flight, or learn what the first call made."""
    try:
        taken = await session.execute(
            insert(IdempotencyKey)
            .values(
                program_id=call.program_id,
                operation=call.operation,
                key=call.key,
                fingerprint=call.fingerprints[0],
                resource_id=resource_id,
                status=status,
                recorded_at=now,
            )
            .on_conflict_do_nothing()
            .returning(IdempotencyKey.resource_id)
        )
    except DBAPIError as error:
        if sqlstate_of(error) == _LOCK_NOT_AVAILABLE:
            raise RequestInProgress from error
        raise
    if taken.first() is not None:
        return Claim(call, resource_id, status, replayed=False)
    first = (await session.execute(select(IdempotencyKey).where(*_is(call)))).scalar_one()
    if first.fingerprint not in call.fingerprints:
        raise IdempotencyKeyReused
    return Claim(call, first.resource_id, first.status, replayed=True)


async def claim_many(
    session: AsyncSession, *, calls: Sequence[tuple[Call, UUID]], now: datetime, status: int = 201
) -> set[UUID]:
    """Take the keys of many calls of one program, each for the resource that it is to make; return those taken.

    In order of key, so that two groups never wait for each other.
    """
    rows = [
        {
            "program_id": call.program_id,
            "operation": call.operation,
            "key": call.key,
            "fingerprint": call.fingerprints[0],
            "resource_id": resource_id,
            "status": status,
            "recorded_at": now,
        }
        for call, resource_id in sorted(calls, key=lambda own: own[0].key)
    ]
    return await insert_new_rows(session, IdempotencyKey, rows, returning="resource_id")


async def give_up(session: AsyncSession, *, calls: Sequence[Call]) -> None:
    """Give up keys taken in this transaction, whose calls are to be decided afresh."""
    for call in calls:
        await session.execute(delete(IdempotencyKey).where(*_is(call)))


async def repoint(session: AsyncSession, claim: Claim, *, resource_id: UUID, status: int) -> None:
    """Point a fresh claim at a resource that turned out to exist already under another key."""
    await session.execute(update(IdempotencyKey).where(*_is(claim.call)).values(resource_id=resource_id, status=status))


async def prune(session: AsyncSession, *, program_id: UUID, before: datetime, limit: int = 10_000) -> int:
    """Forget keys recorded before an instant, at most `limit` of them; return how many went."""
    old = (
        select(IdempotencyKey.operation, IdempotencyKey.key)
        .where(IdempotencyKey.program_id == program_id, IdempotencyKey.recorded_at < before)
        .limit(limit)
        .subquery()
    )
    gone = await session.execute(
        delete(IdempotencyKey)
        .where(
            IdempotencyKey.program_id == program_id,
            IdempotencyKey.operation == old.c.operation,
            IdempotencyKey.key == old.c.key,
        )
        .returning(IdempotencyKey.key)
    )
    return len(gone.all())


def _is(call: Call) -> tuple[ColumnElement[bool], ...]:
    return (
        IdempotencyKey.program_id == call.program_id,
        IdempotencyKey.operation == call.operation,
        IdempotencyKey.key == call.key,
    )
