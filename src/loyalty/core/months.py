"""Tables divided by month of their ids, which are UUIDv7 and so begin with the instant they were made at.

A plain table becomes the first partition as it stands, without a row being read under a lock or written again. There is
no partition for what fits nowhere: months are made ahead, and one can be taken off beside running transactions. What is
unique by other columns than the id is so within a month; who relies on more holds it by a lock or a key of its own.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids
from loyalty.core.db import Sessions, transaction
from loyalty.core.rows import fetch

AHEAD: Final = 6
"""So many months after the present one have their partitions; each is looked into by who does not name an id."""
_BOUND: Final = re.compile(r"'([0-9a-f-]{36})'")
_MONTHS: Final = 12


@dataclass(frozen=True)
class Part:
    """A partition, with ids made from `since` (None: from the first on) and before `until`."""

    name: str
    since: datetime | None
    until: datetime


async def is_divided(session: AsyncSession, table: str) -> bool:
    return bool(await fetch(session, "SELECT FROM pg_class WHERE oid = $1::text::regclass AND relkind = 'p'", table))


async def parts(session: AsyncSession, table: str) -> list[Part]:
    """Return a divided table's partitions, the oldest first."""
    found = await fetch(
        session,
        """
        SELECT part.relname, pg_get_expr(part.relpartbound, part.oid) FROM pg_inherits AS of
        JOIN pg_class AS part ON part.oid = of.inhrelid
        WHERE of.inhparent = $1::text::regclass AND NOT of.inhdetachpending
        """,
        table,
    )
    return sorted((_part(*row) for row in found), key=lambda part: part.until)


async def divide(sessions: Sessions, table: str, *, now: datetime) -> None:
    """Make a plain table the first partition of one of its name, up to the end of the present month; repeatable.

    Its rows are read once, while others write; what locks them out takes no longer than the catalogue does.
    """
    until = _after(now, 1)
    first, check = f"{table}_before_{_label(until)}", f"ck_{table}_before"
    async with transaction(sessions) as session:
        if await is_divided(session, table):
            return
        await _do(
            session,
            f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {check}",
            f"ALTER TABLE {table} ADD CONSTRAINT {check} CHECK (id < '{ids.floor(until)}') NOT VALID",
        )
    async with transaction(sessions) as session:
        await _do(session, f"ALTER TABLE {table} VALIDATE CONSTRAINT {check}")
    async with transaction(sessions) as session:
        await _do(session, f"ALTER TABLE {table} RENAME TO {first}")
        references = await fetch(session, _REFERENCES, first)
        await _do(
            session,
            f"ALTER INDEX pk_{table} RENAME TO pk_{first}",
            f"CREATE TABLE {table} (LIKE {first} INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY RANGE (id)",
            f"ALTER TABLE {table} DROP CONSTRAINT {check}",
            f"ALTER TABLE {table} ADD CONSTRAINT pk_{table} PRIMARY KEY (program_id, id)",
            *(f"ALTER TABLE {table} ADD CONSTRAINT {name} {says}" for name, says in references),
            f"ALTER TABLE {table} ATTACH PARTITION {first} FOR VALUES FROM (MINVALUE) TO ('{ids.floor(until)}')",
            f"ALTER TABLE {first} DROP CONSTRAINT {check}",
        )
        await _grant_as(session, table, model=first)


async def extend(session: AsyncSession, table: str, *, now: datetime) -> list[Part]:
    """Make a divided table's partitions for the months ahead that it has not yet; return them."""
    await fetch(session, "SELECT pg_advisory_xact_lock(hashtext($1))", f"months of {table}")  # of several workers one
    newest = (await parts(session, table))[-1]
    made = []
    while newest.until < _after(now, AHEAD + 1):
        month = Part(f"{table}_{_label(newest.until)}", newest.until, _after(newest.until, 1))
        ((options,),) = await fetch(
            session,
            "SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = $1::text::regclass",
            newest.name,
        )
        bounds = f"FROM ('{ids.floor(newest.until)}') TO ('{ids.floor(month.until)}')"
        await _do(
            session,
            f"CREATE TABLE {month.name} (LIKE {newest.name} INCLUDING ALL)",
            *([f"ALTER TABLE {month.name} SET ({options})"] if options else []),
            f"ALTER TABLE {table} ATTACH PARTITION {month.name} FOR VALUES {bounds}",
        )
        await _grant_as(session, month.name, model=newest.name)
        made.append(month)
        newest = month
    return made


async def detach(sessions: Sessions, table: str, old: Collection[Part]) -> list[str]:
    """Take partitions off, beside running transactions, for whose end it waits; return those that are gone.

    They stay as tables of their own. One that was being taken off when something ended that is finished first.
    """
    async with sessions() as session:
        begun = [name for (name,) in await fetch(session, _BEGUN, table)]
        await session.rollback()
        connection = await session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        await connection.execute(text("SET lock_timeout = 0"))
        await connection.execute(text("SET statement_timeout = 0"))
        try:
            for name in begun:
                await connection.execute(text(f"ALTER TABLE {table} DETACH PARTITION {name} FINALIZE"))
            for part in old:
                await connection.execute(text(f"ALTER TABLE {table} DETACH PARTITION {part.name} CONCURRENTLY"))
        finally:
            await connection.execute(text("RESET lock_timeout"))
            await connection.execute(text("RESET statement_timeout"))
    return begun + [part.name for part in old]


_BEGUN: Final = """
SELECT part.relname FROM pg_inherits AS of JOIN pg_class AS part ON part.oid = of.inhrelid
WHERE of.inhparent = $1::text::regclass AND of.inhdetachpending
"""
_REFERENCES: Final = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' AND conrelid = $1::text::regclass
"""
_GRANTED: Final = """
SELECT privilege_type, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
FROM pg_class, aclexplode(relacl) WHERE oid = $1::text::regclass
"""


async def _grant_as(session: AsyncSession, table: str, *, model: str) -> None:
    """Give a new table the rights that another has, and no others: its owner too may only append where that is so."""
    if granted := await fetch(session, _GRANTED, model):
        await _do(
            session,
            f"REVOKE ALL ON {table} FROM PUBLIC, CURRENT_USER",
            *(f"GRANT {right} ON {table} TO {role}" for right, role in granted),
        )


async def _do(session: AsyncSession, *statements: str) -> None:
    for statement in statements:
        await session.execute(text(statement))


def _part(name: str, bounds: str) -> Part:
    found: Sequence[str] = _BOUND.findall(bounds)
    *since, until = (ids.made_at(UUID(bound)) for bound in found)
    return Part(name, since[0] if since else None, until)


def _after(instant: datetime, months: int) -> datetime:
    """Return the start of the month that lies so many after an instant's."""
    utc = instant.astimezone(UTC)
    years, month = divmod(utc.year * _MONTHS + utc.month - 1 + months, _MONTHS)
    return datetime(years, month + 1, 1, tzinfo=UTC)


def _label(month: datetime) -> str:
    return f"{month:%Y_%m}"
