"""The planner hears of tables that grew, before it plans for empty ones."""

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest
from asyncpg import Connection

from loyalty.core import statistics
from loyalty.core.db import Sessions
from loyalty.core.settings import Settings


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator[Connection]:
    opened = await asyncpg.connect(settings.database_url.replace("+asyncpg", ""))
    yield opened
    await opened.close()


async def grow(connection: Connection, table: str, *, rows: int) -> None:
    """Add rows, and let the database know at once how many."""
    await connection.execute(f"INSERT INTO {table} SELECT generate_series(1, {rows})")
    await connection.execute("SELECT pg_stat_force_next_flush()")
    await connection.execute("SELECT")


async def test_what_tripled_is_analysed_once(connection: Connection, sessions: Sessions) -> None:
    table = f"grown_{uuid4().hex}"
    await connection.execute(f"CREATE TABLE {table} (n int)")
    await grow(connection, table, rows=400)
    assert table not in await statistics.refresh(sessions)
    await grow(connection, table, rows=600)
    assert table in await statistics.refresh(sessions)
    assert await connection.fetchval("SELECT reltuples FROM pg_class WHERE relname = $1", table) == 1000
    assert table not in await statistics.refresh(sessions)
    await grow(connection, table, rows=2000)
    assert table not in await statistics.refresh(sessions)
    await grow(connection, table, rows=600)
    assert table in await statistics.refresh(sessions)
    await connection.execute(f"DROP TABLE {table}")
