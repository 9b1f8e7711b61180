"""What is inserted and changed waits, goes together, and comes to the same as one after the other."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.idempotency import IdempotencyKey
from loyalty.core.rows import change_rows, fetch, insert_rows
from loyalty.core.writing import COPY_FROM_ROWS

NOW = datetime(2026, 1, 5, tzinfo=UTC)
RAISE = """
UPDATE idempotency_keys SET status = idempotency_keys.status + new.more
FROM unnest($2::text[], $3::smallint[]) AS new (key, more)
WHERE idempotency_keys.program_id = $1 AND idempotency_keys.key = new.key RETURNING 1
"""


def row(program_id: UUID, key: str, *, at: datetime = NOW) -> dict[str, Any]:
    named = {"program_id": program_id, "operation": "test", "key": key, "resource_id": uuid4()}
    return {**named, "fingerprint": b"", "status": 200, "recorded_at": at}


async def kept(session: AsyncSession, program_id: UUID) -> dict[str, int]:
    rows = "SELECT key, status FROM idempotency_keys WHERE program_id = $1"
    return dict(await fetch(session, rows, program_id))


async def raise_status(session: AsyncSession, program_id: UUID, expected: int | None = None, **more: int) -> None:
    values = program_id, list(more), list(more.values())
    await change_rows(session, IdempotencyKey, RAISE, *values, expected=len(more) if expected is None else expected)


async def test_a_change_sees_what_was_inserted_or_changed_before_it(session: AsyncSession) -> None:
    own = uuid4()
    await insert_rows(session, IdempotencyKey, [row(own, "a"), row(own, "b")])
    await raise_status(session, own, a=1)
    await raise_status(session, own, a=2, b=5)
    await insert_rows(session, IdempotencyKey, [row(own, "c")])
    assert await kept(session, own) == {"a": 203, "b": 205, "c": 200}


@pytest.mark.parametrize("number", [1, COPY_FROM_ROWS - 1, COPY_FROM_ROWS])
async def test_changes_go_beside_few_rows_or_many(session: AsyncSession, number: int) -> None:
    own = uuid4()
    await insert_rows(session, IdempotencyKey, [row(own, "a")])
    assert await kept(session, own) == {"a": 200}
    await raise_status(session, own, a=1)
    await insert_rows(session, IdempotencyKey, [row(own, f"{n}") for n in range(number)])
    assert await kept(session, own) == {"a": 201} | {f"{n}": 200 for n in range(number)}


async def test_a_change_that_finds_other_rows_than_those_under_lock_is_an_error(session: AsyncSession) -> None:
    own = uuid4()
    await insert_rows(session, IdempotencyKey, [row(own, "a")])
    await raise_status(session, own, expected=2, a=1)
    with pytest.raises(AssertionError, match="idempotency_keys"):
        await kept(session, own)


async def test_rows_that_differ_where_rows_are_often_alike_are_kept_as_they_are(session: AsyncSession) -> None:
    own, other = uuid4(), uuid4()
    later = NOW + timedelta(days=1)
    await insert_rows(session, IdempotencyKey, [row(own, "a"), row(own, "b", at=later)])
    await insert_rows(session, IdempotencyKey, [row(other, "c"), row(own, "d", at=later)])
    instants = "SELECT program_id, key, recorded_at FROM idempotency_keys WHERE program_id = ANY($1::uuid[])"
    assert {tuple(found) for found in await fetch(session, instants, [own, other])} == {
        (own, "a", NOW),
        (own, "b", later),
        (other, "c", NOW),
        (own, "d", later),
    }
