"""Entries and events divided by month: everything goes on, rights hold, and old events can be taken off."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from asyncpg import Connection
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import SECRET, connect, drop_database, running
from tests.shop import Shop, open_shop

from loyalty import worker
from loyalty.app import create_app
from loyalty.books import service as books
from loyalty.core import clock, ids, migrate, months
from loyalty.core.db import transaction
from loyalty.core.settings import Settings
from loyalty.outbox import service as outbox
from loyalty.outbox.errors import EventsNotNumbered
from loyalty.schema import BY_MONTH

AGO = timedelta(days=70)


@pytest.fixture
async def database(server_url: str) -> AsyncIterator[str]:
    """A database of its own: others share the tables that are divided here."""
    async with database_of(server_url) as url:
        yield url


@asynccontextmanager
async def database_of(server_url: str) -> AsyncIterator[str]:
    admin = await asyncpg.connect(server_url.replace("+asyncpg", ""))
    name = f"months_{uuid4().hex}"
    await admin.execute(f"CREATE DATABASE {name}")
    url = f"{server_url.rpartition('/')[0]}/{name}"
    await asyncio.to_thread(migrate.upgrade, url)
    yield url
    await drop_database(server_url, name)
    await admin.close()


@pytest.fixture
async def own_shop(database: str) -> AsyncIterator[Shop]:
    async with shop_in(database) as shop:
        yield shop


@asynccontextmanager
async def shop_in(database: str) -> AsyncIterator[Shop]:
    app = create_app(Settings(database_url=database, secret_key=SecretStr(SECRET)))
    async with running(app), connect(app) as client:
        yield await open_shop(client, app)


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Connection]:
    opened = await asyncpg.connect(database.replace("+asyncpg", ""))
    yield opened
    await opened.close()


async def trade(shop: Shop) -> None:
    """Earn, spend, hold and give back."""
    member = await shop.enrol()
    for _ in range(3):
        placed = await shop.order(50, customer_id=member["customer_id"])
    reward = await shop.reward(cost=10)
    taken = await shop.post("/v1/redemptions", {"member_id": member["id"], "reward_id": reward["id"]})
    await shop.post(f"/v1/redemptions/{taken['id']}/cancellation", {})
    held = await shop.post("/v1/holds", {"member_id": member["id"], "points": 5})
    await shop.post(f"/v1/holds/{held['id']}/capture", {})
    await shop.post(f"/v1/orders/{placed['id']}/cancellation", {})
    assert (await shop.get(f"/v1/members/{member['id']}/entries"))["data"]


async def relay(shop: Shop) -> list[int]:
    """Number what waits; return the numbers told."""
    async with transaction(shop.sessions) as session:
        await outbox.relay(session, program_id=shop.program.id)
    return [event["number"] for event in (await shop.get("/v1/events?limit=100"))["data"]]


async def typed(database: str, *words: str, expect: int = 0) -> list[str]:
    process = await started(database, *words)
    output, _ = await process.communicate()
    assert process.returncode == expect, output.decode()
    return output.decode().splitlines()


async def started(database: str, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "loyalty",
        *words,
        env={**os.environ, "LOYALTY_DATABASE_URL": database, "LOYALTY_SECRET_KEY": SECRET},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def part_names(session: AsyncSession, table: str) -> list[str]:
    return [part.name for part in await months.parts(session, table)]


async def test_a_running_house_is_divided_and_goes_on(own_shop: Shop, database: str, connection: Connection) -> None:
    await trade(own_shop)
    made = await typed(database, "partition")
    assert len(made) == len(BY_MONTH) * months.AHEAD
    assert await typed(database, "partition") == []
    await trade(own_shop)
    assert await relay(own_shop) == list(range(1, 1 + await connection.fetchval("SELECT count(*) FROM events")))
    await own_shop.books_hold()
    async with transaction(own_shop.sessions) as session:
        tomorrow = clock.now() + timedelta(days=2)
        assert await books.seal_next(session, program=own_shop.program, now=tomorrow, real_now=tomorrow)
        assert (await books.prove(session, program_id=own_shop.program.id)).broken == []
    assert await typed(database, "detach", "entries", "--before", "2020-01") == []
    assert await typed(database, "detach", "events", "--before", "2100-01") == []


async def test_a_new_month_is_as_the_table_was(own_shop: Shop, database: str, connection: Connection) -> None:
    described = """
        SELECT regexp_replace(pg_get_indexdef(indexrelid), '^CREATE (UNIQUE )?INDEX \\S+ ON \\S+', '\\1') FROM pg_index
        WHERE indrelid = $1::text::regclass UNION ALL
        SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype <> 'n'
        UNION ALL SELECT relacl::text FROM pg_class WHERE oid = $1::text::regclass
        UNION ALL SELECT reloptions::text FROM pg_class WHERE oid = $1::text::regclass ORDER BY 1
    """
    before = {table: await connection.fetch(described, table) for table in BY_MONTH}
    await typed(database, "partition")
    async with transaction(own_shop.sessions) as session:
        names = {table: await part_names(session, table) for table in BY_MONTH}
    for table, own in names.items():
        assert len(own) == 1 + months.AHEAD
        for name in own:
            assert await connection.fetch(described, name) == before[table]
    for name in ("entries", *names["entries"]):
        for statement in ("UPDATE {} SET points = 1", "DELETE FROM {}", "TRUNCATE {}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement.format(name))


async def test_what_was_detached_is_never_numbered_again(
    own_shop: Shop, database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await relay(own_shop)
    await connection.execute("TRUNCATE events")  # those of the program's own making are of today
    past = datetime.now(UTC) - AGO
    for table in BY_MONTH:
        await months.divide(own_shop.sessions, table, now=past)
        async with transaction(own_shop.sessions) as session:
            await months.extend(session, table, now=clock.now())
    monkeypatch.setattr(ids, "new", lambda: UUID(int=ids.floor(past).int | uuid4().int >> 48))
    await trade(own_shop)
    monkeypatch.undo()
    this_month = f"{datetime.now(UTC):%Y-%m}"
    assert "no number yet" in "".join(await typed(database, "detach", "events", "--before", this_month, expect=1))
    told = await relay(own_shop)
    assert told == list(range(1, len(told) + 1))
    assert f"events_before_{past + timedelta(days=31):%Y_%m}" in await typed(
        database, "detach", "events", "--before", this_month
    )
    assert await relay(own_shop) == []
    await trade(own_shop)
    later = await relay(own_shop)
    assert later == list(range(len(told) + 1, len(told) + len(later) + 1))
    await own_shop.books_hold()


async def test_events_without_a_number_stay(own_shop: Shop) -> None:
    async with own_shop.sessions() as session:
        with pytest.raises(EventsNotNumbered):
            await outbox.let_go(session, partition="events")


async def test_the_worker_makes_the_months_ahead(own_shop: Shop) -> None:
    assert await worker.make_months(own_shop.sessions) == 0
    past = clock.now() - AGO
    await months.divide(own_shop.sessions, "events", now=clock.now())
    async with transaction(own_shop.sessions) as session:
        await months.extend(session, "events", now=past)
    missing = await worker.make_months(own_shop.sessions)
    assert missing in {2, 3}
    assert await worker.make_months(own_shop.sessions) == 0
