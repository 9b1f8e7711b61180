"""A unit of work that is begun and ended past SQLAlchemy fails as any other does."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from asyncpg import InternalClientError
from litestar import Litestar
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, UnboundExecutionError
from sqlalchemy.ext.asyncio import AsyncEngine

from loyalty.core.db import sqlstate_of
from loyalty.core.idempotency import IdempotencyKey
from loyalty.core.rows import fetch, hurried, insert_rows

KEPT = "SELECT FROM idempotency_keys WHERE program_id = $1"


@pytest.fixture
def engine(app: Litestar) -> AsyncEngine:
    engine: AsyncEngine = app.state.sessions.kw["bind"]
    return engine


def row(program_id: Any, key: str) -> dict[str, Any]:
    named = {"program_id": program_id, "operation": "test", "key": key, "resource_id": program_id}
    return {**named, "fingerprint": b"", "status": 201, "recorded_at": datetime.now(UTC)}


async def test_what_is_refused_at_the_end_is_heard_as_from_the_database(engine: AsyncEngine) -> None:
    own = uuid4()
    with pytest.raises(DBAPIError) as refused:
        async with hurried(engine, lock_timeout_ms=250) as session:
            await insert_rows(session, IdempotencyKey, [row(own, "one"), row(own, "one")])
    assert sqlstate_of(refused.value) == "23505"
    async with hurried(engine, lock_timeout_ms=250) as session:
        assert await fetch(session, KEPT, own) == []


async def test_what_the_database_did_not_keep_is_an_error(engine: AsyncEngine) -> None:
    own = uuid4()
    with pytest.raises(DBAPIError):
        await _pass_over_a_failure(engine, own)
    async with hurried(engine, lock_timeout_ms=250) as session:
        assert await fetch(session, KEPT, own) == []


async def _pass_over_a_failure(engine: AsyncEngine, program_id: Any) -> None:
    async with hurried(engine, lock_timeout_ms=250) as session:
        await insert_rows(session, IdempotencyKey, [row(program_id, "one")])
        with suppress(DBAPIError):
            await fetch(session, "SELECT 1 / 0")


async def test_what_asks_past_it_is_refused(engine: AsyncEngine) -> None:
    with pytest.raises(UnboundExecutionError):
        async with hurried(engine, lock_timeout_ms=250) as session:
            await session.execute(select(IdempotencyKey))


async def test_a_lost_connection_is_heard_and_nobody_gets_it_again(engine: AsyncEngine) -> None:
    for _ in range(engine.pool.size() + 1):  # type: ignore[attr-defined]
        with pytest.raises(DBAPIError) as lost:
            async with hurried(engine, lock_timeout_ms=250) as session:
                await fetch(session, "SELECT pg_terminate_backend(pg_backend_pid())")
        assert lost.value.connection_invalidated
    async with hurried(engine, lock_timeout_ms=250) as session:
        assert await fetch(session, "SELECT 1") == [(1,)]
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_who_is_cancelled_leaves_a_connection_that_is_whole_or_gone(engine: AsyncEngine) -> None:
    async def wait() -> None:
        async with hurried(engine, lock_timeout_ms=250) as session:
            await fetch(session, "SELECT pg_sleep(30)")

    for _ in range(3):
        task = asyncio.create_task(wait())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # while it is being undone
        with pytest.raises(asyncio.CancelledError):
            await task
    async with hurried(engine, lock_timeout_ms=250) as session:
        assert await fetch(session, "SELECT 1") == [(1,)]
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [RuntimeError, InternalClientError])
async def test_what_was_not_undone_for_certain_nobody_goes_on_with(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    own = uuid4()

    async def fail(*_: Any) -> None:
        raise error

    async def do() -> None:
        async with hurried(engine, lock_timeout_ms=250) as session:
            await insert_rows(session, IdempotencyKey, [row(own, "one")])
            await fetch(session, "SELECT")
            monkeypatch.setattr("asyncpg.Connection.execute", fail)
            raise error

    with pytest.raises((error, DBAPIError)):
        await do()
    monkeypatch.undo()
    for _ in range(engine.pool.size() + 1):  # type: ignore[attr-defined]
        async with hurried(engine, lock_timeout_ms=250) as session:
            assert await fetch(session, KEPT, own) == []
