"""Every statement that the product sends while it is tested, and whether it keeps to one program."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import asyncpg
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.shop import Json

EXPLAINS_SINCE_MAJOR: Final = 16
_SEEN: Final[set[str]] = set()
_FROM_PRODUCT: Final = ContextVar("from_product", default=False)
_PLANNED: Final = re.compile(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
_BOUND: Final = re.compile(r"""\(?([\w".]*\bprogram_id = [^\s()]+|[^\s()]+ = [\w".]*\bprogram_id)\)?""")
_CONDITIONS: Final = ("Index Cond", "Recheck Cond", "Filter")
_EXPLAIN: Final = """
CREATE OR REPLACE FUNCTION pg_temp.plan_of(statement text) RETURNS json LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
    EXECUTE 'EXPLAIN (GENERIC_PLAN, FORMAT JSON) ' || statement INTO plan;
    RETURN plan;
END $$
"""


@contextmanager
def of_the_product() -> Iterator[None]:
    """What is sent in this block is the product's; a test's own statements may look at whatever they like."""
    token = _FROM_PRODUCT.set(True)
    try:
        yield
    finally:
        _FROM_PRODUCT.reset(token)


def watch(engine: AsyncEngine) -> None:
    """Collect what goes through this engine, and past SQLAlchemy through its connections."""

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def sent(_: Any, __: Any, statement: str, *___: Any) -> None:
        _see(statement)

    @event.listens_for(engine.sync_engine, "connect")
    def opened(connection: Any, _: Any) -> None:
        connection.driver_connection.add_query_logger(lambda logged: _see(logged.query))


def _see(statement: str) -> None:
    if _FROM_PRODUCT.get() and _PLANNED.match(statement):
        _SEEN.add(statement)


async def assert_each_keeps_to_one_program(url: str) -> None:
    """Ask PostgreSQL how it would run each statement: whatever it reads of tenants' tables, it looks for a program's.

    It derives conditions through joins as Citus does, to send a statement to the one server that has the program.
    """
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        if connection.get_server_version().major >= EXPLAINS_SINCE_MAJOR:
            found = {statement: await unbound(connection, statement) for statement in sorted(_SEEN)}
            assert {statement: tables for statement, tables in found.items() if tables} == {}
    finally:
        await connection.close()


async def unbound(connection: asyncpg.Connection, statement: str) -> set[str]:
    """Return the tenants' tables of which the statement would read rows of any program."""
    await connection.execute(_EXPLAIN)
    plan = json.loads(await connection.fetchval("SELECT pg_temp.plan_of($1)", statement))[0]["Plan"]
    tenants = {row[0] for row in await connection.fetch(_TENANTS)}
    return {
        node["Relation Name"]
        for node in _nodes(plan)
        if node.get("Relation Name") in tenants
        and node["Node Type"] != "ModifyTable"
        and not any(_is_bound(node.get(condition, "")) for condition in _CONDITIONS)
    }


def _is_bound(condition: str) -> bool:
    """Whether a condition such as `((program_id = $1) AND (version > $2))` holds for one program alone."""
    return any(_BOUND.fullmatch(part) for part in condition[1:-1].split(" AND "))


def _nodes(plan: Json) -> Iterator[Json]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


_TENANTS: Final = "SELECT attrelid::regclass::text FROM pg_attribute WHERE attname = 'program_id'"
