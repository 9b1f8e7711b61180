"""Bringing crowds in: COPY from a connection that makes rows up into one that writes them."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from benchmarks.crowd import Crowd, tables
from loyalty.schema import METADATA

_CHUNKS = 64
Connections = tuple[asyncpg.Connection, asyncpg.Connection]


@dataclass(frozen=True)
class Loaded:
    """How many rows came in, and what that took."""

    rows: int
    copy_seconds: float
    index_seconds: float

    def __str__(self) -> str:
        seconds = self.copy_seconds + self.index_seconds
        parts = f"COPY {self.copy_seconds:.0f} s, indexes and references {self.index_seconds:.0f} s"
        return f"{self.rows} rows, {parts}: {self.rows / seconds:.0f} rows/s"


async def load(both: Connections, crowds: Sequence[Crowd]) -> Loaded:
    """Load crowds into tables as they are.

    Each table is analyzed before the next one refers to it: within one COPY, references go on being looked up by the
    plan they began with, and one made for an empty table may read a whole index for each row.
    """
    began, rows = time.perf_counter(), 0
    for crowd in crowds:
        for table, (columns, source) in tables(crowd).items():
            query = f"SELECT {', '.join(columns.values())} FROM {source}"
            rows += await _copy(*both, table=table, columns=list(columns), query=query)
            await both[1].execute(f"ANALYZE {table}")
    return Loaded(rows, time.perf_counter() - began, 0.0)


async def load_bare(both: Connections, crowds: Sequence[Crowd]) -> Loaded:
    """Load crowds with the tables' indexes and references dropped, and make these again."""
    async with _bare(both[1], list(tables(crowds[0]))):
        loaded = await load(both, crowds)
        began = time.perf_counter()
    return Loaded(loaded.rows, loaded.copy_seconds, time.perf_counter() - began)


async def clone(connection: asyncpg.Connection, program_id: UUID, *, times: int) -> None:
    """Make more programs like one, with all that is in it but its keys. Rows keep their ids; the program differs."""
    await connection.execute(
        f"CREATE TEMP TABLE clones AS SELECT gen_random_uuid() AS id, n FROM generate_series(1, {times}) AS n"
    )
    await connection.execute(
        """
        INSERT INTO programs (id, slug, name, mode, settings_version, created_at)
        SELECT clones.id, slug || '-' || n, name, mode, settings_version, created_at
        FROM programs CROSS JOIN clones WHERE programs.id = $1
        """,
        program_id,
    )
    for table in METADATA.sorted_tables:
        if "program_id" in table.columns and table.name != "api_keys":
            others = [own.name for own in table.columns if own.name != "program_id" and own.computed is None]
            into, read = (", ".join(f'{of}"{name}"' for name in others) for of in ("", "own."))
            await connection.execute(
                f"INSERT INTO {table.name} (program_id, {into})"
                f" SELECT clones.id, {read} FROM {table.name} AS own CROSS JOIN clones WHERE own.program_id = $1",
                program_id,
            )


async def _copy(
    reader: asyncpg.Connection, writer: asyncpg.Connection, *, table: str, columns: Sequence[str], query: str
) -> int:
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue(_CHUNKS)

    async def read() -> None:
        await reader.copy_from_query(query, output=chunks.put, format="binary")
        await chunks.put(None)

    async def made() -> AsyncIterator[bytes]:
        while (chunk := await chunks.get()) is not None:
            yield chunk

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read())
        written = tasks.create_task(writer.copy_to_table(table, source=made(), columns=columns, format="binary"))
    return int(written.result().split()[-1])


@asynccontextmanager
async def _bare(connection: asyncpg.Connection, names: Sequence[str]) -> AsyncIterator[None]:
    """Take indexes and references off tables for a while."""
    constraints = await connection.fetch(_CONSTRAINTS, names)
    indexes = await connection.fetch(_INDEXES, names)
    for row in constraints:  # references first: the keys that they point at can go only after them
        await connection.execute(f"ALTER TABLE {row['table']} DROP CONSTRAINT {row['name']}")
    for row in indexes:
        await connection.execute(f"DROP INDEX {row['name']}")
    yield
    await connection.execute("SET maintenance_work_mem = '1GB'")
    for row in reversed(constraints):
        await connection.execute(f"ALTER TABLE {row['table']} ADD CONSTRAINT {row['name']} {row['says']}")
    for row in indexes:
        await connection.execute(row["says"])


_CONSTRAINTS = """
SELECT conrelid::regclass::text AS table, conname AS name, pg_get_constraintdef(oid) AS says FROM pg_constraint
WHERE contype IN ('p', 'f') AND (conrelid = ANY($1::regclass[]) OR confrelid = ANY($1::regclass[]))
ORDER BY contype
"""
_INDEXES = """
SELECT indexname AS name, indexdef AS says FROM pg_indexes
WHERE schemaname = 'public' AND tablename = ANY($1::text[])
    AND indexname NOT IN (SELECT conname FROM pg_constraint WHERE contype = 'p')
"""
