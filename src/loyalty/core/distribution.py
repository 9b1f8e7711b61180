"""The schema spread over servers by Citus: what belongs to a program by its id, the rest on every server."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import MetaData, Table, text

from loyalty.core.db import Sessions, transaction
from loyalty.core.errors import Unavailable

_PROGRAM: Final = "program_id"


class CitusMissing(Unavailable):
    """This database has no Citus: name the coordinator, and run `CREATE EXTENSION citus` there first."""


@dataclass(frozen=True)
class Placement:
    """A call that places one table on the servers."""

    table: str
    call: str


def placements(metadata: MetaData) -> Iterator[Placement]:
    """Yield a call for each table, whatever it refers to before it, and the shared tables before all others.

    The first tenants' table begins a group of shards, which the others join: what belongs to one program lies on one
    server. Partitions follow the table that they are of.
    """
    tables = metadata.sorted_tables
    first, *others = (table for table in tables if _PROGRAM in table.columns)
    yield from (_everywhere(table) for table in tables if _PROGRAM not in table.columns)
    yield _by_program(first, beside="none")
    yield from (_by_program(table, beside=first.name) for table in others)


async def distribute(sessions: Sessions, *, metadata: MetaData) -> AsyncIterator[Placement]:
    """Place every table that is not placed yet, and yield what was done as it is done. Raises CitusMissing.

    Each in a transaction of its own: one for all would hold the locks of thousands of shards. A broken run goes on
    where it stopped.
    """
    async with transaction(sessions) as session:
        if not (await session.execute(text(_HAS_CITUS))).scalar_one():
            raise CitusMissing
        placed = set((await session.execute(text(_PLACED))).scalars())
    for placement in placements(metadata):
        if placement.table not in placed:
            async with transaction(sessions) as session:
                await session.execute(text(placement.call))
            yield placement


def _everywhere(table: Table) -> Placement:
    return Placement(table.name, f"SELECT create_reference_table('{table.name}')")


def _by_program(table: Table, *, beside: str) -> Placement:
    call = f"SELECT create_distributed_table('{table.name}', '{_PROGRAM}', colocate_with => '{beside}')"
    return Placement(table.name, call)


_HAS_CITUS: Final = "SELECT EXISTS (SELECT FROM pg_proc WHERE proname = 'create_distributed_table')"
# Citus turns tables that refer to a shared one into local ones of its own; those are still to be placed.
_PLACED: Final = "SELECT table_name::text FROM citus_tables WHERE citus_table_type IN ('reference', 'distributed')"
