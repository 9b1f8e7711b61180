"""The migrations make what the models say, and every tenant's table can be distributed by its program."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from loyalty.core import migrate
from loyalty.schema import METADATA

SHARED = {"programs", "managers", "alembic_version"}
"""The only tables that belong to no program."""

_REVISION = """
from alembic import op
revision, down_revision = {revision!r}, {after!r}

def upgrade():
    op.execute("CREATE TABLE made_{revision} AS SELECT current_setting('lock_timeout') AS gives_up")
    op.execute({then!r})
"""

_COLUMNS = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"


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


async def test_the_tables_of_no_program_are_these(connection: AsyncConnection) -> None:
    shared = {name for name, columns in (await _columns(connection)).items() if "program_id" not in columns}
    assert shared == SHARED


async def test_every_tenants_key_index_and_reference_leads_with_the_program(connection: AsyncConnection) -> None:
    def leading(sync: Connection) -> dict[str, str]:
        found = inspect(sync)
        firsts = {}
        for table in set(found.get_table_names()) - SHARED:
            firsts[f"{table}: primary key"] = found.get_pk_constraint(table)["constrained_columns"][0]
            for unique in found.get_unique_constraints(table):
                firsts[f"{table}: {unique['name']}"] = unique["column_names"][0]
            for index in found.get_indexes(table):
                firsts[f"{table}: {index['name']}"] = str(index["column_names"][0])
        return firsts

    firsts = await connection.run_sync(leading)
    assert len(firsts) > 40
    assert {name: column for name, column in firsts.items() if column != "program_id"} == {}


async def test_no_reference_crosses_programs(connection: AsyncConnection) -> None:
    """Between tenants' tables both sides name the program first; only the shared tables are referred to without it."""

    def references(sync: Connection) -> list[tuple[str, str, list[str], list[str]]]:
        found = inspect(sync)
        return [
            (table, key["referred_table"], key["constrained_columns"], key["referred_columns"])
            for table in found.get_table_names()
            for key in found.get_foreign_keys(table)
        ]

    found = await connection.run_sync(references)
    assert len(found) > 20
    crossing = [
        (table, other)
        for table, other, columns, referred in found
        if other not in SHARED and (columns[0], referred[0]) != ("program_id", "program_id")
    ]
    assert crossing == []
    to_shared = {(other, *columns) for _, other, columns, _ in found if other in SHARED}
    assert to_shared == {("programs", "program_id"), ("managers", "manager_id")}


async def test_the_program_is_never_null(connection: AsyncConnection) -> None:
    tables = await _columns(connection)
    assert [
        name for name, columns in tables.items() if columns.get("program_id", {"nullable": False})["nullable"]
    ] == []


@pytest.mark.parametrize(
    "query",
    [
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
        "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'",
        "SELECT relname FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace",
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
        "SELECT relname FROM pg_class WHERE relkind IN ('v', 'm') AND relnamespace = 'public'::regnamespace",
        f"{_COLUMNS} AND column_default ~* 'now|clock_timestamp|current|uuid|nextval|random'",
        f"{_COLUMNS} AND data_type IN ('real', 'double precision', 'money', 'timestamp without time zone')",
        "SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND NOT convalidated",
    ],
    ids=[
        "triggers",
        "extensions",
        "sequences",
        "functions",
        "views",
        "clocks and chance",
        "floats",
        "unchecked constraints",
    ],
)
async def test_there_are_none_of(connection: AsyncConnection, query: str) -> None:
    assert [tuple(row) for row in await connection.execute(text(query))] == []


@contextmanager
def _database(server_url: str) -> Iterator[str]:
    name = f"migrations_{uuid4().hex}"
    asyncio.run(_fetch(server_url, f"CREATE DATABASE {name}"))
    try:
        yield f"{server_url.rpartition('/')[0]}/{name}"
    finally:
        asyncio.run(_fetch(server_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def _columns(connection: AsyncConnection) -> dict[str, dict[str, ReflectedColumn]]:
    def read(sync: Connection) -> dict[str, dict[str, ReflectedColumn]]:
        found = inspect(sync)
        return {
            table: {column["name"]: column for column in found.get_columns(table)} for table in found.get_table_names()
        }

    return await connection.run_sync(read)


async def _fetch(url: str, statement: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
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
