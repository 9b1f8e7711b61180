"""The plans of what the product really runs, with its own parameters, in its own transactions.

`python -m benchmarks.plans PORT` serves like `loyalty serve`. From SIGUSR1 on (again) every statement is explained
just before it runs, and what that did is undone. What was seen is written as JSON to `SAMPLING_FILE` at the end.
"""

import functools
import json
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import uvicorn
from asyncpg.prepared_stmt import PreparedStatement

from benchmarks.sampling import FETCHES
from loyalty.app import create_app
from loyalty.core.settings import Settings
from loyalty.schema import METADATA

SHARED = ("programs", "managers")
"""Small tables that belong to no program, and may be read whole."""
_EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "
Plan = dict[str, Any]


@dataclass(frozen=True)
class Read:
    """What one run of a statement did: pages touched, rows looked at and kept, and by which indexes or without one."""

    buffers: int
    looked_at: int
    kept: int
    ways: tuple[str, ...]

    @classmethod
    def of(cls, plan: Plan) -> "Read":
        scans = [node for node in nodes(plan) if "Relation Name" in node and node["Node Type"].endswith("Scan")]
        kept = sum(round(node["Actual Rows"] * node["Actual Loops"]) for node in scans)
        dropped = sum(
            round(node.get(what, 0) * node["Actual Loops"])
            for node in scans
            for what in ("Rows Removed by Filter", "Rows Removed by Index Recheck")
        )
        buffers = int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])
        return cls(buffers, kept + dropped, kept, ways(plan))


def nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def ways(plan: Plan) -> tuple[str, ...]:
    """Return the indexes that a plan uses, and `table (all)` for each table that it reads whole."""
    found = [
        node["Index Name"] if "Index Name" in node else f"{node['Relation Name']} (all)"
        for node in nodes(plan)
        if "Index Name" in node or node["Node Type"] == "Seq Scan"
    ]
    return tuple(dict.fromkeys(found))


def whole_tables(plan: Plan) -> set[str]:
    """Return the tenants' tables that a plan reads whole."""
    read = {node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"}
    return {name for name in read if name in METADATA.tables and name not in SHARED}


async def generic(admin: asyncpg.Connection, statements: Sequence[str]) -> dict[str, Plan]:
    """Plan statements for any parameters, as the database does for those that come again and again; from 16 on."""
    if admin.get_server_version().major < 16:
        return {}
    await admin.execute(_GENERIC)
    found = {text: await admin.fetchval("SELECT pg_temp.generic($1)", text) for text in statements}
    return {text: json.loads(plan)[0]["Plan"] for text, plan in found.items()}


_GENERIC = """
CREATE OR REPLACE FUNCTION pg_temp.generic(statement text) RETURNS json LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
    EXECUTE 'EXPLAIN (GENERIC_PLAN, FORMAT JSON) ' || statement INTO plan;
    RETURN plan;
END $$
"""


class Explaining:
    """Whether statements are being explained, and the plans so far; `settings` hold for the planner meanwhile."""

    def __init__(self, *settings: str) -> None:
        self.is_on = False
        self.plans: defaultdict[str, list[Plan]] = defaultdict(list)
        self._settings = settings

    def begin(self, *_: object) -> None:
        self.is_on = True
        self.plans.clear()

    async def explain(self, connection: asyncpg.Connection, statement: str, values: Sequence[Any]) -> None:
        if not self.is_on or statement.split(maxsplit=1)[0].upper() not in _EXPLAINED:
            return
        # By hand: asyncpg's own transactions go only into transactions of its own.
        begin, undo = _WITHIN if connection.is_in_transaction() else _ALONE
        await connection.execute(begin)
        try:
            for setting in self._settings:
                await connection.execute(f"SET LOCAL {setting}")
            found = await connection.fetchval(_EXPLAIN + statement, *values)
        finally:
            await connection.execute(undo)
        (told,) = json.loads(found) if isinstance(found, str) else found  # SQLAlchemy's have read it
        self.plans[" ".join(statement.split())].append(told["Plan"])


_WITHIN = "SAVEPOINT explained", "ROLLBACK TO SAVEPOINT explained; RELEASE SAVEPOINT explained"
_ALONE = "BEGIN", "ROLLBACK"
_EXPLAINED = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


@contextmanager
def listening(explaining: Explaining) -> Iterator[None]:
    """Come before every statement of this process, prepared by SQLAlchemy or handed to asyncpg at once."""
    handed = asyncpg.Connection.fetch
    prepared = {name: getattr(PreparedStatement, name) for name in FETCHES}

    @functools.wraps(handed)
    async def fetch(connection: asyncpg.Connection, statement: str, *values: Any, **options: Any) -> Any:
        await explaining.explain(connection, statement, values)
        return await handed(connection, statement, *values, **options)

    asyncpg.Connection.fetch = fetch
    for name, own in prepared.items():
        setattr(PreparedStatement, name, _before(own, explaining))
    try:
        yield
    finally:
        asyncpg.Connection.fetch = handed
        for name, own in prepared.items():
            setattr(PreparedStatement, name, own)


def _before(fetch: Callable[..., Awaitable[Any]], explaining: Explaining) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(fetch)
    async def explained(statement: PreparedStatement, *values: Any, **options: Any) -> Any:
        await explaining.explain(statement._connection, statement.get_query(), values)  # noqa: SLF001 -- it tells nobody
        return await fetch(statement, *values, **options)

    return explained


def main(port: int) -> None:
    explaining = Explaining()
    signal.signal(signal.SIGUSR1, explaining.begin)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # uvicorn raises it once more when it is done
    try:
        with listening(explaining):
            uvicorn.run(create_app(Settings()), port=port, log_level="warning", access_log=False, server_header=False)  # type: ignore[call-arg]
    finally:
        Path(os.environ["SAMPLING_FILE"]).write_text(json.dumps(explaining.plans))


if __name__ == "__main__":
    main(int(sys.argv[1]))
