"""The migrations make what the models say."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import Connection
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool
from tests.conftest import SECRET, connect, drop_database, running
from tests.shop import Shop, open_shop

from loyalty.app import create_app
from loyalty.core import ids, migrate
from loyalty.core.settings import Settings
from loyalty.schema import METADATA

_REVISION = """
from alembic import op
revision, down_revision = {revision!r}, {after!r}

def upgrade():
    op.execute("CREATE TABLE made_{revision} AS SELECT current_setting('lock_timeout') AS gives_up")
    op.execute({then!r})
"""


@pytest.fixture(scope="module")
def empty_database(server_url: str) -> Iterator[str]:
    with _database(server_url) as url:
        yield url


@pytest.fixture(scope="module")
async def connection(database_url: str) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(database_url, poolclass=NullPool)
    async with engine.connect() as opened:
        yield opened
    await engine.dispose()


def test_up_and_down_and_up_again_leave_the_same_schema(empty_database: str) -> None:
    migrate.upgrade(empty_database)
    first = asyncio.run(_schema(empty_database))
    assert len(first["columns"]) > 100
    migrate.downgrade(empty_database, revision="base")
    left = asyncio.run(_schema(empty_database))
    assert {row["table_name"] for row in left["columns"]} == {"alembic_version"}
    assert left["routines"] == left["types"] == []
    migrate.upgrade(empty_database)
    assert asyncio.run(_schema(empty_database)) == first


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(empty_database: str) -> None:
    migrate.upgrade(empty_database)
    before = asyncio.run(_schema(empty_database))
    migrate.upgrade(empty_database)
    assert asyncio.run(_schema(empty_database)) == before


def test_a_migration_that_fails_leaves_those_before_it(server_url: str, tmp_path: Path) -> None:
    steps = {"first": (None, "SELECT 1"), "second": ("first", "SELECT nonsense")}
    for revision, (after, then) in steps.items():
        (tmp_path / f"{revision}.py").write_text(_REVISION.format(revision=revision, after=after, then=then))
    with _database(server_url) as url:
        settings = migrate.config(url)
        settings.set_main_option("path_separator", "newline")
        settings.set_main_option("version_locations", str(tmp_path))
        with pytest.raises(ProgrammingError, match="nonsense"):
            command.upgrade(settings, "head")
        assert {row["table_name"] for row in asyncio.run(_schema(url))["columns"]} == {"alembic_version", "made_first"}
        assert asyncio.run(_fetch(url, "SELECT version_num FROM alembic_version")) == [("first",)]
        assert asyncio.run(_fetch(url, "SELECT gives_up FROM made_first")) == [("5s",)]


def test_there_is_one_line_of_migrations() -> None:
    script = ScriptDirectory.from_config(migrate.config("postgresql+asyncpg://nowhere/none"))
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


async def test_the_models_are_the_schema(connection: AsyncConnection) -> None:
    def differences(sync: Connection) -> list[Any]:
        context = MigrationContext.configure(sync, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, METADATA))

    assert await connection.run_sync(differences) == []


async def test_every_constraint_holds_for_what_was_there_before_it(connection: AsyncConnection) -> None:
    unproven = await connection.exec_driver_sql("SELECT conname FROM pg_constraint WHERE NOT convalidated")
    assert unproven.all() == []


@contextmanager
def _database(server_url: str) -> Iterator[str]:
    name = f"migrations_{uuid4().hex}"
    asyncio.run(_fetch(server_url, f"CREATE DATABASE {name}"))
    try:
        yield f"{server_url.rpartition('/')[0]}/{name}"
    finally:
        asyncio.run(drop_database(server_url, name))


async def _fetch(url: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        return [tuple(row) for row in await connection.fetch(statement, *values)]
    finally:
        await connection.close()


async def _schema(url: str) -> dict[str, list[dict[str, Any]]]:
    """Describe everything that a migration could leave behind."""
    queries = {
        "columns": "SELECT table_name, column_name, data_type, is_nullable, column_default, is_generated"
        " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
        "constraints": "SELECT conrelid::regclass::text AS of, conname, pg_get_constraintdef(oid) AS says"
        " FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
        "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        "routines": "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
        "types": "SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace"
        " AND typtype IN ('e', 'd') ORDER BY 1",
    }
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        return {name: [dict(row) for row in await connection.fetch(query)] for name, query in queries.items()}
    finally:
        await connection.close()


async def test_wallets_that_lost_sight_of_a_date_find_it_again(server_url: str) -> None:
    """As they were left by orders that were placed together, one of them late."""
    due = "SELECT member_id, next_due_at FROM wallets ORDER BY member_id"
    async with _shop(server_url) as (shop, url):
        held, idle, plain = [await shop.enrol() for _ in range(3)]
        for member in (held, idle, plain):
            await shop.order(100, customer_id=member["customer_id"])
        await shop.post("/v1/holds", {"member_id": held["id"], "points": 5})
        (before, *_) = await _fetch(url, due)
        assert before[1] is not None
        await _fetch(url, "UPDATE lots SET idle_days = 30 WHERE member_id = $1", ids.parse("mem", idle["id"]))
        await _fetch(url, "UPDATE wallets SET next_due_at = NULL")
        await asyncio.to_thread(migrate.downgrade, url, revision="0018")
        await asyncio.to_thread(migrate.upgrade, url)
        (after, of_idle, of_plain) = await _fetch(url, due)
        assert (after, of_plain[1]) == (before, None)
        assert of_idle[1] is not None
        await shop.books_hold()


async def test_what_rules_gave_orders_moves_into_their_counts_and_back(server_url: str) -> None:
    """One order is of the first release, which kept what rules gave, and not by which set of them it was counted."""
    async with _shop(server_url) as (shop, url):
        ann = await shop.enrol()
        rule = {"kind": "bonus", "points": 7, "conditions": {"channels": ["app"]}}
        await shop.post("/v1/earning-rules", {"name": "app", "terms": rule})
        placed = [await shop.order(total, customer_id=ann["customer_id"], channel="app") for total in (19, 0, 1)]
        old = ids.parse("ord", placed[2]["id"])
        await _fetch(url, "UPDATE order_counts SET rule_set = NULL WHERE order_id = $1", old)
        paths = [f"/v1/orders/{own['id']}" for own in placed]
        before = [await shop.get(path) for path in paths]
        assert [len(own["awards"]) for own in before] == [2, 1, 2]
        await asyncio.to_thread(migrate.downgrade, url, revision="0021")
        assert await _fetch(url, "SELECT order_id FROM order_counts WHERE order_id = $1", old) == []
        kept = "SELECT points, base_minor, line_points, entry_id IS NULL FROM order_awards ORDER BY order_id, points"
        rows = [tuple(row) for row in await _fetch(url, kept)]
        assert rows == [(7, 1_900, [7], False), (19, 1_900, [19], False), (7, 0, [7], False), (1, 100, [1], False),
                        (7, 100, [7], False)]  # fmt: skip
        await asyncio.to_thread(migrate.upgrade, url)
        assert [await shop.get(path) for path in paths] == before
        await shop.post(f"{paths[2]}/returns", {})
        assert (await shop.get(f"/v1/members/{ann['id']}/wallets"))["data"][0]["available"] == 33
        await shop.books_hold()


@asynccontextmanager
async def _shop(server_url: str) -> AsyncIterator[tuple[Shop, str]]:
    """Serve a program from a database of its own, whose schema may change."""
    name = f"migrations_{uuid4().hex}"
    await _fetch(server_url, f"CREATE DATABASE {name}")
    url = f"{server_url.rpartition('/')[0]}/{name}"
    await asyncio.to_thread(migrate.upgrade, url)
    app = create_app(Settings(database_url=url, secret_key=SecretStr(SECRET)))
    async with running(app), connect(app) as client:
        yield await open_shop(client, app), url
    await drop_database(server_url, name)
