from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest
from litestar import Litestar
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import drop_database

from loyalty.app import create_app
from loyalty.core import clock
from loyalty.core.db import Sessions
from loyalty.core.readiness import (
    ClocksDiffer,
    DatabaseForgets,
    SchemaOutOfDate,
    check_clocks,
    check_durability,
    check_schema,
)
from loyalty.core.settings import Settings


async def test_a_database_in_order_may_be_trusted(session: AsyncSession) -> None:
    await check_durability(session)
    await check_clocks(session, clock=clock.now)


@pytest.mark.parametrize("seconds", [-6, 6])
async def test_a_clock_six_seconds_off_is_refused(session: AsyncSession, seconds: int) -> None:
    with pytest.raises(ClocksDiffer) as refused:
        await check_clocks(session, clock=lambda: datetime.now(UTC) + timedelta(seconds=seconds))
    assert 5 < refused.value.seconds <= 6


async def test_a_slow_answer_is_no_skew(session: AsyncSession) -> None:
    """The database's instant lies between the two at which it was asked and had answered."""
    told = iter([datetime.now(UTC) - timedelta(seconds=60), datetime.now(UTC) + timedelta(seconds=60)])
    await check_clocks(session, clock=lambda: next(told))


async def test_a_database_that_confirms_before_it_has_written_is_refused(session: AsyncSession) -> None:
    await session.execute(text("SET LOCAL synchronous_commit = off"))
    with pytest.raises(DatabaseForgets) as refused:
        await check_durability(session)
    assert refused.value.settings == ["synchronous_commit"]


async def test_another_schema_is_refused(session: AsyncSession) -> None:
    with pytest.raises(SchemaOutOfDate):
        await check_schema(session, expected="0000")


@pytest.fixture
async def forgetful(settings: Settings) -> AsyncIterator[Settings]:
    """A database of its own that forgets."""
    name, server = f"forgetful_{uuid4().hex}", settings.database_url.rpartition("/")[0]
    admin = await asyncpg.connect(f"{server}/postgres".replace("+asyncpg", ""))
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        await admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        yield settings.model_copy(update={"database_url": f"{server}/{name}"})
        await drop_database(f"{server}/postgres", name)
    finally:
        await admin.close()


async def test_the_server_does_not_start_on_a_database_that_forgets(
    forgetful: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ExceptionGroup) as refused:
        async with create_app(forgetful).lifespan():
            pass
    assert refused.group_contains(DatabaseForgets)
    assert "not starting" in caplog.text
    assert "synchronous_commit" in caplog.text


async def test_all_that_one_get_reads_is_as_of_one_instant(app: Litestar, sessions: Sessions) -> None:
    """What is committed after a snapshot's first statement it does not see; its connection goes back as it was."""
    async with sessions() as session:
        await session.execute(text("CREATE TABLE IF NOT EXISTS snapshot_probe (number integer)"))
        await session.commit()
    async with app.state.snapshots() as reading:
        before = (await reading.execute(text("SELECT count(*) FROM snapshot_probe"))).scalar_one()
        async with sessions.begin() as writing:
            await writing.execute(text("INSERT INTO snapshot_probe VALUES (1)"))
        assert (await reading.execute(text("SELECT count(*) FROM snapshot_probe"))).scalar_one() == before
    async with sessions.begin() as session:
        assert (await session.execute(text("SHOW transaction_isolation"))).scalar_one() == "read committed"
        await session.execute(text("DROP TABLE snapshot_probe"))
