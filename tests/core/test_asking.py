"""What is asked at once is answered as if one had been asked after the other."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.asking import Question, as_one
from loyalty.core.db import Row, create_engine, create_sessions
from loyalty.core.idempotency import IdempotencyKey
from loyalty.core.rows import at_once, fetch, fetch_rows, insert_new_rows, insert_rows
from loyalty.core.settings import Settings

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def row(program_id: UUID, key: str) -> dict[str, Any]:
    named = {"program_id": program_id, "operation": "test", "key": key, "resource_id": uuid4()}
    return {**named, "fingerprint": b"", "status": 200, "recorded_at": NOW}


async def one(session: AsyncSession, statement: str, *values: Any) -> Any:
    [[found]] = await fetch(session, statement, *values)
    return found


async def steps(session: AsyncSession, start: int, *, times: int) -> int:
    for _ in range(times):
        start = await one(session, "SELECT $1::int + 1", start)
    return start


async def nothing() -> str:
    return "nothing asked"


async def test_each_gets_its_own_answers_however_many_it_asks(session: AsyncSession) -> None:
    assert await at_once(
        session, steps(session, 0, times=3), steps(session, 10, times=1), nothing(), steps(session, 20, times=2)
    ) == (3, 11, "nothing asked", 22)


async def test_what_is_asked_at_the_same_time_is_one_statement(session: AsyncSession) -> None:
    sent: list[str] = []
    raw = (await (await session.connection()).get_raw_connection()).driver_connection
    assert raw is not None
    raw.add_query_logger(log := lambda logged: sent.append(logged.query))
    await at_once(session, steps(session, 0, times=2), steps(session, 10, times=1), steps(session, 20, times=1))
    raw.remove_query_logger(log)
    assert len(sent) == 2  # all three, and the second step of the first


async def test_no_row_many_and_none_of_a_kind(session: AsyncSession) -> None:
    own = uuid4()
    await insert_rows(session, IdempotencyKey, [row(own, "a"), row(own, "b")])
    keys = "SELECT key, NULL::text, recorded_at FROM idempotency_keys WHERE program_id = $1 ORDER BY key DESC"
    nobody, both, rows = await at_once(
        session,
        fetch(session, keys, uuid4()),
        fetch(session, keys, own),
        fetch_rows(session, IdempotencyKey, "WHERE program_id = $1 ORDER BY key", own),
    )
    assert nobody == []
    assert [tuple(found) for found in both] == [("b", None, NOW), ("a", None, NOW)]
    assert [found.key for found in rows] == ["a", "b"]


async def test_what_is_inserted_beside_a_question_is_kept_and_not_seen_by_it(session: AsyncSession) -> None:
    own = uuid4()
    there = row(own, "a")
    await insert_rows(session, IdempotencyKey, [there])
    keys = "SELECT key FROM idempotency_keys WHERE program_id = $1 ORDER BY key"
    before, new = await at_once(
        session,
        fetch(session, keys, own),
        insert_new_rows(session, IdempotencyKey, [row(own, "a"), row(own, "b")], returning="key"),
    )
    assert ([key for (key,) in before], new) == (["a"], {"b"})
    assert [key for (key,) in await fetch(session, keys, own)] == ["a", "b"]


async def test_parts_may_run_parts_and_wait_for_other_things(session: AsyncSession) -> None:
    async def inner() -> tuple[int, int]:
        return await at_once(session, steps(session, 0, times=2), steps(session, 10, times=1))

    async def other() -> Any:
        await asyncio.sleep(0)
        found = await session.execute(text("SELECT 7"))
        return found.scalar_one() + await steps(session, 100, times=1)

    assert await at_once(session, inner(), other()) == ((2, 11), 108)


async def test_a_failure_ends_all_and_what_follows_is_asked_as_ever(session: AsyncSession) -> None:
    ended: list[str] = []

    async def patient() -> None:
        try:
            await steps(session, 0, times=2)
        finally:
            ended.append("patient")

    async def fails() -> None:
        await steps(session, 0, times=1)
        raise LookupError

    async def other() -> None:
        try:
            await steps(session, 0, times=2)
        except LookupError:
            await asyncio.sleep(0)
            ended.append("other")
            raise

    with pytest.raises(LookupError):
        await at_once(session, patient(), fails(), other())
    assert ended == ["patient", "other"]
    assert await steps(session, 1, times=1) == 2
    async with session.begin_nested():
        with pytest.raises(DBAPIError):
            await at_once(session, steps(session, 0, times=1), one(session, "SELECT 1 / $1::int", 0))


async def test_who_is_cancelled_while_a_part_waits_for_something_else_hears_of_it(session: AsyncSession) -> None:
    heard: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(at_once(session, steps(session, 0, times=1), forever()), 0.05)
    assert heard == ["cancelled"]
    assert await steps(session, 1, times=1) == 2


def test_questions_keep_their_values_apart() -> None:
    combined = as_one([Question("SELECT $1::int, $2::text", (1, "a")), Question("SELECT $1::int + $1::int", (2,))])
    assert combined.values == (1, "a", 2)
    assert "SELECT $1::int, $2::text" in combined.statement
    assert "SELECT $3::int + $3::int" in combined.statement


async def test_rows_of_every_type_are_read_on_a_connection_that_has_seen_none(settings: Settings) -> None:
    engine = create_engine(settings)
    examples = {"JSONB": """'{"a": 1}'""", "UUID": f"'{UUID(int=1)}'", "BOOLEAN": "true", "BYTEA": r"'\x00ff'"}
    types = {str(own.type.compile(engine.dialect)) for table in Row.metadata.tables.values() for own in table.columns}
    for type_ in sorted(types):
        example = "'{1,2}'" if "[]" in type_ else "'2026-01-02'" if "TIME" in type_ or "DATE" in type_ else "'1'"
        statement = f"SELECT {examples.get(type_, example)}::{type_}, NULL::{type_}"
        async with create_sessions(engine)() as session:
            beside, _ = await at_once(session, fetch(session, statement), nothing_but(session))
            assert [tuple(row) for row in beside] == [tuple(row) for row in await fetch(session, statement)], type_
        await engine.dispose()
    assert "BIGINT[]" in types


async def nothing_but(session: AsyncSession) -> Any:
    return await one(session, "SELECT 1")
