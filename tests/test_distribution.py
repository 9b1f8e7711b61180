"""Every tenant's table can be distributed by its program, as Citus asks; read from the catalog of the database."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import asyncpg
import pytest
from click.testing import CliRunner, Result
from tests import statements
from tests.conftest import SECRET, drop_database
from tests.shop import Shop

from loyalty import worker
from loyalty.cli import main
from loyalty.core import migrate
from loyalty.core.distribution import placements
from loyalty.schema import METADATA

SHARED = {"programs", "managers"}
"""The only tables that belong to no program: small, and on every server."""

_TENANTS = """
WITH tenants AS (
    SELECT c.oid, c.relname AS name, a.attnum, a.attnotnull, a.atttypid FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'program_id'
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
)
"""
_INDEXES = "FROM pg_index AS i JOIN tenants AS t ON t.oid = i.indrelid WHERE i.indkey[0] <> t.attnum"
_KEYS = "pg_constraint AS k JOIN tenants AS t ON t.oid = k.conrelid AND k.contype = 'f'"
_TO_TENANTS = f"FROM {_KEYS} JOIN tenants AS other ON other.oid = k.confrelid"
_TO_SHARED = f"FROM {_KEYS} WHERE k.confrelid NOT IN (SELECT oid FROM tenants)"
_IN_PUBLIC = "relnamespace = 'public'::regnamespace"
_STAND_IN = """
CREATE TABLE placed (number serial, table_name regclass PRIMARY KEY, citus_table_type text, beside text);
CREATE VIEW citus_tables AS SELECT table_name, citus_table_type FROM placed;
CREATE FUNCTION create_reference_table(own regclass) RETURNS void LANGUAGE sql AS
    $$INSERT INTO placed (table_name, citus_table_type) VALUES (own, 'reference')$$;
CREATE FUNCTION create_distributed_table(own regclass, by text, colocate_with text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_constraint WHERE conrelid = own AND contype = 'f' AND confrelid <> own
        AND confrelid NOT IN (SELECT table_name FROM placed)
    ) THEN RAISE EXCEPTION 'referenced table must be a distributed table or a reference table'; END IF;
    IF colocate_with <> 'none' AND NOT EXISTS (SELECT FROM placed WHERE table_name = colocate_with::regclass) THEN
        RAISE EXCEPTION 'not distributed: %', colocate_with; END IF;
    INSERT INTO placed (table_name, citus_table_type, beside) VALUES (own, 'distributed', by || ' ' || colocate_with);
END $$
"""


@pytest.fixture(scope="module")
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    yield opened
    await opened.close()


async def test_the_tables_of_no_program_are_these(connection: asyncpg.Connection) -> None:
    query = f"{_TENANTS} SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND {_IN_PUBLIC}"
    shared = f"{query} AND oid NOT IN (SELECT oid FROM tenants)"
    assert {row[0] for row in await connection.fetch(shared)} == SHARED | {"alembic_version"}
    assert len(await connection.fetch(query)) > 50


@pytest.mark.parametrize(
    "offenders",
    [
        "SELECT name FROM tenants WHERE NOT attnotnull OR atttypid <> 'uuid'::regtype",
        "SELECT name FROM tenants WHERE oid NOT IN (SELECT conrelid FROM pg_constraint WHERE contype = 'p')",
        f"SELECT name, i.indexrelid::regclass {_INDEXES} AND i.indisprimary",
        f"SELECT name, i.indexrelid::regclass {_INDEXES} AND i.indisunique",
        f"SELECT name, i.indexrelid::regclass {_INDEXES} AND NOT i.indisunique",
        "SELECT conname FROM pg_constraint WHERE contype = 'x'",
    ],
    ids=[
        "the program is a uuid and never null",
        "there is a primary key",
        "primary keys lead with the program",
        "unique constraints and indexes lead with the program",
        "other indexes lead with the program",
        "nothing excludes",
    ],
)
async def test_keys_hold_within_a_program(connection: asyncpg.Connection, offenders: str) -> None:
    assert [tuple(row) for row in await connection.fetch(_TENANTS + offenders)] == []


@pytest.mark.parametrize(
    "offenders",
    [
        f"SELECT t.name, other.name {_TO_TENANTS} WHERE k.conkey[1] <> t.attnum OR k.confkey[1] <> other.attnum",
        (
            "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid NOT IN (SELECT oid FROM tenants)"
            " AND confrelid IN (SELECT oid FROM tenants)"
        ),
        # Citus makes tables local whose references lead to a shared one, however far, and those cannot refer to others.
        f"SELECT t.name, other.name {_TO_TENANTS} WHERE other.oid IN (SELECT k.conrelid {_TO_SHARED})",
        "SELECT conname FROM pg_constraint WHERE contype = 'f' AND confupdtype <> 'a'",
        "SELECT conname FROM pg_constraint WHERE contype = 'f' AND confdeltype NOT IN ('a', 'r', 'c')",
    ],
    ids=[
        "from tenant to tenant within a program",
        "from shared tables to no tenant",
        "who refers to a shared table is referred to by none",
        "no key changes",
        "no program is set to null",
    ],
)
async def test_references_stay_on_one_server(connection: asyncpg.Connection, offenders: str) -> None:
    assert [tuple(row) for row in await connection.fetch(_TENANTS + offenders)] == []
    assert len(await connection.fetch(f"{_TENANTS} SELECT 1 {_TO_TENANTS}")) > 40


async def test_the_shared_tables_are_referred_to_by_these_columns(connection: asyncpg.Connection) -> None:
    query = f"{_TENANTS} SELECT DISTINCT k.confrelid::regclass::text, pg_get_constraintdef(k.oid) {_TO_SHARED}"
    assert {(table, says.partition(")")[0]) for table, says in await connection.fetch(query)} == {
        ("programs", "FOREIGN KEY (program_id"),
        ("managers", "FOREIGN KEY (manager_id"),
    }


@pytest.mark.parametrize(
    "query",
    [
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
        "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'",
        f"SELECT relname FROM pg_class WHERE relkind = 'S' AND {_IN_PUBLIC}",
        (
            f"SELECT attname FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid AND {_IN_PUBLIC}"
            " WHERE attidentity <> ''"
        ),
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
        f"SELECT relname FROM pg_class WHERE relkind IN ('v', 'm', 'f') AND {_IN_PUBLIC}",
        (
            f"SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND {_IN_PUBLIC}"
            " AND (relrowsecurity OR relpersistence <> 'p')"
        ),
        "SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd', 'r')",
        (
            "SELECT attrelid::regclass, attname, pg_get_expr(adbin, adrelid) FROM pg_attrdef"
            " JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum AND attgenerated = ''"
            r" WHERE pg_get_expr(adbin, adrelid) ~ '\(' OR pg_get_expr(adbin, adrelid) ~* 'current_|localtime'"
        ),
        (
            "SELECT attrelid::regclass, attname FROM pg_attribute"
            f" JOIN pg_class AS c ON c.oid = attrelid AND {_IN_PUBLIC}"
            " WHERE c.relkind IN ('r', 'p') AND attnum > 0"
            " AND atttypid IN ('real'::regtype, 'float8'::regtype, 'money'::regtype, 'timestamp'::regtype)"
        ),
        "SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND NOT convalidated",
    ],
    ids=[
        "triggers",
        "extensions",
        "sequences",
        "identity columns",
        "functions",
        "views",
        "row security or unlogged tables",
        "types",
        "computed defaults",
        "floats",
        "unchecked constraints",
    ],
)
async def test_there_are_none_of(connection: asyncpg.Connection, query: str) -> None:
    assert [tuple(row) for row in await connection.fetch(query)] == []


async def test_background_work_names_its_program(shop: Shop) -> None:
    """What requests send is collected throughout the suite, and asked about as it ends."""
    member = await shop.enrol()
    await shop.order(customer_id=member["customer_id"])
    with statements.of_the_product():
        await worker.relay_all(shop.sessions)
        await worker.run_due_jobs(shop.sessions)


@pytest.mark.parametrize(
    ("statement", "unbound"),
    [
        ("SELECT count(*) FROM wallets", {"wallets"}),
        ("SELECT count(*) FROM wallets WHERE member_id = $1 OR program_id = $2", {"wallets"}),
        ("UPDATE lots SET unit = o.channel FROM orders AS o WHERE lots.program_id = $1", {"orders"}),
        ("SELECT 1 FROM lots WHERE unit = $1 OR (source_type = $2 AND program_id = $3)", {"lots"}),
        ("SELECT 1 FROM lots JOIN wallets USING (program_id, member_id) WHERE wallets.program_id = $1", set()),
        ("SELECT 1 FROM lots LEFT JOIN wallets USING (program_id, member_id) WHERE program_id = $1", set()),
        ("SELECT 1 FROM programs JOIN managers ON true", set()),
    ],
)
async def test_a_statement_that_looks_beyond_its_program_is_found(
    connection: asyncpg.Connection, statement: str, unbound: set[str]
) -> None:
    if connection.get_server_version().major < statements.EXPLAINS_SINCE_MAJOR:
        pytest.skip("this PostgreSQL does not explain statements without their values")
    assert await statements.unbound(connection, statement) == unbound


def test_the_calls_come_in_the_order_that_references_need() -> None:
    calls = run("distribute --dry-run").output.splitlines()
    assert set(calls[: len(SHARED)]) == {f"SELECT create_reference_table('{table}');" for table in SHARED}
    first, *others = calls[len(SHARED) :]
    assert first.endswith("', 'program_id', colocate_with => 'none');")
    root = first.split("'")[1]
    assert {call.partition(", ")[2] for call in others} == {f"'program_id', colocate_with => '{root}');"}

    order = [placement.table for placement in placements(METADATA)]
    assert sorted(order) == sorted(METADATA.tables)
    for table in METADATA.tables.values():
        referred = {key.referred_table.name for key in table.foreign_key_constraints} - {table.name}
        assert all(order.index(other) < order.index(table.name) for other in referred), table.name


@pytest.fixture
def own_database(server_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = f"distributed_{uuid4().hex}"
    url = f"{server_url.rpartition('/')[0]}/{name}"
    asyncio.run(_execute(server_url, f"CREATE DATABASE {name}"))
    migrate.upgrade(url)
    monkeypatch.setenv("LOYALTY_DATABASE_URL", url)
    monkeypatch.setenv("LOYALTY_SECRET_KEY", SECRET)
    yield url
    asyncio.run(drop_database(server_url, name))


def test_a_database_without_citus_is_refused(own_database: str) -> None:
    result = CliRunner().invoke(main, ["distribute"])
    assert result.exit_code == 1
    assert "This database has no Citus" in result.output


def test_every_call_is_made_once_and_a_broken_run_goes_on(own_database: str) -> None:
    """On functions that stand in for those of Citus, and refuse what it would refuse."""
    asyncio.run(_execute(own_database, _STAND_IN))
    printed = run("distribute --dry-run").output.splitlines()
    for call in printed[:20]:
        asyncio.run(_execute(own_database, call))
    assert run("distribute").output.splitlines() == [*printed[20:], f"-- {len(printed) - 20} tables placed."]
    assert run("distribute").output == "-- 0 tables placed.\n"


def run(line: str) -> Result:
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 0, result.output
    return result


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
