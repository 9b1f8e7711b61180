"""One effect per (program, operation, key), stored in the same transaction as the effect itself.

A duplicate waits on the first one's uncommitted row: if that commits, the duplicate replays it; if it aborts, the
duplicate does the work. Nothing can be left "in progress", since a claim lives and dies with its transaction. A refusal
stores nothing.
"""

from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Index, LargeBinary, SmallInteger, delete, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from loyalty.core.db import Row, sqlstate_of
from loyalty.core.errors import Conflict, Invalid, Unprocessable
from loyalty.core.rows import at_once, fetch, fetch_rows, insert_new_rows, keep_plans

T = TypeVar("T")
S = TypeVar("S")

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
        taken, _ = await at_once(
            session, claim_many(session, calls=[(call, resource_id)], now=now, status=status), keep_plans(session)
        )
    except DBAPIError as error:
        if sqlstate_of(error) == _LOCK_NOT_AVAILABLE:
            raise RequestInProgress from error
        raise
    if taken:
        return Claim(call, resource_id, status, replayed=False)
    first = (await _find(session, [call])).get((call.operation, call.key))
    if first is None:  # forgotten in this very instant: the next attempt is the first one
        raise RequestInProgress
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


async def each_once(
    session: AsyncSession,
    wanted: Sequence[tuple[Call, T]],
    *,
    resource: Callable[[T], UUID],
    look: Callable[[Mapping[UUID, T]], Coroutine[Any, Any, S]],
    make: Callable[[dict[UUID, T], S], Awaitable[Collection[UUID]]],
    now: datetime,
) -> list[Claim | None]:
    """Do what calls of one program want, each once, or learn what it made before; None for each that made nothing.

    `look` reads or locks, while keys are taken, what all of it needs. `make` gets that, and what is wanted by the
    resource that it is to be, in order of that, and returns which of them it made.
    """
    drafts: dict[UUID, int] = {}
    keys: set[str] = set()
    for own, (call, what) in enumerate(wanted):
        if call.key not in keys:
            drafts.setdefault(resource(what), own)
        keys.add(call.key)
    taken, seen = await at_once(
        session,
        claim_many(session, calls=[(wanted[own][0], id_) for id_, own in drafts.items()], now=now),
        look({id_: wanted[own][1] for id_, own in drafts.items()}),
    )
    made = await make({id_: wanted[drafts[id_]][1] for id_ in sorted(taken)}, seen) if taken else ()
    await give_up(session, calls=[wanted[drafts[id_]][0] for id_ in taken.difference(made)])
    done = {drafts[id_]: Claim(wanted[drafts[id_]][0], id_, 201, replayed=False) for id_ in made}
    before = await replays(session, calls=[call for own, (call, _) in enumerate(wanted) if own not in done])
    return [done.get(own) or before.get(call) for own, (call, _) in enumerate(wanted)]


async def replays(session: AsyncSession, *, calls: Sequence[Call]) -> dict[Call, Claim]:
    """Return what the first ones made of those of these calls of one program that repeat another."""
    if not calls:
        return {}
    known = await _find(session, calls)
    return {
        call: Claim(call, first.resource_id, first.status, replayed=True)
        for call in calls
        if (first := known.get((call.operation, call.key))) and first.fingerprint in call.fingerprints
    }


async def _find(session: AsyncSession, calls: Sequence[Call]) -> dict[tuple[str, str], IdempotencyKey]:
    ending = "WHERE program_id = $1 AND operation = ANY($2::text[]) AND key = ANY($3::text[])"
    rows = await fetch_rows(
        session,
        IdempotencyKey,
        ending,
        calls[0].program_id,
        list({call.operation for call in calls}),
        list({call.key for call in calls}),
    )
    return {(row.operation, row.key): row for row in rows}


async def give_up(session: AsyncSession, *, calls: Sequence[Call]) -> None:
    """Give up keys of one program that were taken in this transaction: their calls are to be decided afresh."""
    if calls:
        await fetch(
            session,
            """
            DELETE FROM idempotency_keys
            WHERE program_id = $1 AND operation = ANY($2::text[]) AND key = ANY($3::text[]) RETURNING 1
            """,
            calls[0].program_id,
            list({call.operation for call in calls}),
            [call.key for call in calls],
        )


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
