"""The database: engine, sessions, and the one place where a transaction is committed."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cache
from typing import Any, ClassVar, Final, TypeVar
from uuid import UUID

from asyncpg import Connection, InterfaceError, InternalClientError, PostgresConnectionError, PostgresError
from sqlalchemy import BigInteger, DateTime, MetaData, Text, Uuid, event, text
from sqlalchemy import Connection as SyncConnection
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    AsyncSessionTransaction,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm.attributes import manager_of_class

from loyalty.core.settings import Settings

Sessions = async_sessionmaker[AsyncSession]


class Row(DeclarativeBase):
    """A table. Every tenant's table leads its keys with program_id.

    So that the whole house can be distributed by it.
    """

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        int: BigInteger(),
        UUID: Uuid(),
        datetime: DateTime(timezone=True),
        dict[str, str]: JSONB(),
    }


T = TypeVar("T", bound=Row)
UNPREPARED: Final = {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
"""Both caches of prepared statements, asyncpg's own and the one above it, off: statements then have no names."""


def create_engine(settings: Settings) -> AsyncEngine:
    named = {"application_name": "loyalty", "timezone": "UTC"}
    limits = {"lock_timeout": settings.lock_timeout_ms, "statement_timeout": settings.statement_timeout_ms}
    with_session = {"server_settings": named | {name: str(value) for name, value in limits.items()}}
    engine = create_async_engine(
        settings.database_url,
        hide_parameters=True,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.pool_timeout_ms / 1000,
        connect_args=with_session if settings.prepared_statements else {"server_settings": named, **UNPREPARED},
    )
    if not settings.prepared_statements:
        limit_transactions(engine, limits)
    return engine


def limit_transactions(engine: AsyncEngine, limits_ms: Mapping[str, int]) -> None:
    """Set time-outs as each transaction begins, for where a session is not this program's own.

    PgBouncer refuses them at the opening of a session, or drops them if told to ignore them.
    """
    limits = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in limits_ms.items())

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: SyncConnection) -> None:
        connection.exec_driver_sql(f"SELECT {limits}")


def create_sessions(engine: AsyncEngine) -> Sessions:
    return async_sessionmaker(engine, expire_on_commit=False)


def create_snapshots(engine: AsyncEngine) -> Sessions:
    """Return sessions for reading, on the same connections: all that one reads is as of one instant."""
    return create_sessions(engine.execution_options(isolation_level="REPEATABLE READ"))


def create_reports(engine: AsyncEngine) -> Sessions:
    """Return sessions that read as `create_snapshots`' do, and that the database lets write nothing."""
    return create_sessions(engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True))


@asynccontextmanager
async def transaction(sessions: Sessions) -> AsyncIterator[AsyncSession]:
    """One unit of work: committed when the block ends, rolled back when it raises.

    A COMMIT that fails raises out of this block like any other failure, so nobody is told of an effect that is not
    there.
    """
    async with sessions.begin() as session:
        yield session


@asynccontextmanager
async def savepoint(session: AsyncSession) -> AsyncIterator[AsyncSessionTransaction]:
    """A part of a unit of work that can be undone by itself: when the block raises, or by rolling back what it yields.

    SQLAlchemy sends the SAVEPOINT with its own next statement only, and what goes past it would not be undone.
    """
    async with session.begin_nested() as attempt:
        await session.connection()
        yield attempt


async def open_session(sessions: Sessions) -> AsyncSession:
    """Begin a unit of work whose end its opener sees to: by `keep`, or by closing the session, which undoes it."""
    session = sessions()
    await session.begin()
    return session


async def keep(session: AsyncSession) -> None:
    """End a unit of work for good; raises when the database does not keep it."""
    await session.commit()


async def release(session: AsyncSession) -> None:
    """Give the connection back while something slow is done; what was written in this transaction is undone.

    The session goes on in a new transaction with its next statement.
    """
    await session.rollback()


async def hurry(session: AsyncSession, *, lock_timeout_ms: int) -> None:
    """Let this transaction wait no longer than this for any lock."""
    await session.execute(_HURRY, {"value": str(lock_timeout_ms)})


async def driver(session: AsyncSession) -> Connection:
    """Return asyncpg's own connection inside this session's transaction, for COPY and other bulk work.

    The session must have run a statement before: its transaction begins with the first one, and what the raw connection
    does earlier would be committed by itself.
    """
    raw = await (await session.connection()).get_raw_connection()
    connection: Connection = raw.driver_connection
    if not connection.is_in_transaction():
        raise RuntimeError("run a statement through the session first")
    return connection


def constraint_of(error: DBAPIError) -> str | None:
    """Return the name of the constraint that refused, if one did."""
    orig = error.orig
    return getattr(
        orig if isinstance(orig, PostgresError) else getattr(orig, "__cause__", None), "constraint_name", None
    )


def sqlstate_of(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


COPY_FROM_ROWS = 50
"""Above this many rows COPY is cheaper than prepared single-row inserts."""


async def insert_rows(session: AsyncSession, table: type[Row], rows: Sequence[dict[str, Any]]) -> None:
    """Insert many rows of one table; all must name the same columns."""
    if not rows:
        return
    columns = list(rows[0])
    if len(rows) < COPY_FROM_ROWS:
        await fetch(session, _insert(table.__tablename__, tuple(columns), ""), *_transposed(rows, columns))
        return
    connection = await driver(session)
    await connection.copy_records_to_table(
        table.__tablename__,
        records=[tuple(_copied(row[column]) for column in columns) for row in rows],
        columns=columns,
    )


async def insert_new_rows(
    session: AsyncSession, table: type[Row], rows: Sequence[dict[str, Any]], *, returning: str
) -> set[Any]:
    """Insert those of these rows that meet no other one, in their order; return what these have in a column."""
    if not rows:
        return set()
    columns = list(rows[0])
    statement = _insert(table.__tablename__, tuple(columns), f"ON CONFLICT DO NOTHING RETURNING {returning}")
    return {row[0] for row in await fetch(session, statement, *_transposed(rows, columns))}


async def fetch(session: AsyncSession, statement: str, *values: Any) -> list[Any]:
    """Run a statement past SQLAlchemy, within the session's transaction; it fails as any other of the session does."""
    if session.new or session.dirty or session.deleted:
        await session.flush()
    unit = session.sync_session.get_transaction()
    known = session.info.get(_DRIVER)
    if known is not None and known[0] is unit:
        raw = known[1]
    else:
        if unit is None or not await _has_begun(session):
            await session.execute(_NOTHING)
        raw = await driver(session)
        session.info[_DRIVER] = (session.sync_session.get_transaction(), raw)
    try:
        found: list[Any] = await raw.fetch(statement, *values)
    except (PostgresError, InterfaceError, InternalClientError) as error:
        lost = raw.is_closed() or isinstance(error, (PostgresConnectionError, InternalClientError))
        if lost:
            await (await session.connection()).invalidate()
        raise DBAPIError(None, None, error, connection_invalidated=lost) from error
    return found


async def fetch_rows(session: AsyncSession, table: type[T], ending: str, *values: Any) -> list[T]:
    """Read rows of a table, chosen and ordered by the ending of a SELECT; they are nobody's to change."""
    statement, attributes = _selection(table)
    new = manager_of_class(table).new_instance
    found = []
    for record in await fetch(session, f"{statement} {ending}", *values):
        row = new()
        row.__dict__.update(zip(attributes, record, strict=True))
        found.append(row)
    return found


async def _has_begun(session: AsyncSession) -> bool:
    raw = (await (await session.connection()).get_raw_connection()).driver_connection
    return raw is not None and bool(raw.is_in_transaction())


_DRIVER: Final = "driver_in_transaction"
_NOTHING: Final = text("SELECT")
_HURRY: Final = text("SELECT set_config('lock_timeout', :value, true)")
_SENT_AS_TEXT: Final = ("JSONB", "[]", "CHAR")


@cache
def _insert(table: str, columns: tuple[str, ...], ending: str) -> str:
    """Write the statement that inserts rows given as one array a column.

    What has no place in an array of its own kind is sent as text.
    """
    known = Row.metadata.tables[table].columns
    kinds = [known[column].type.compile(_DIALECT) for column in columns]
    sent = ["text" if any(own in kind for own in _SENT_AS_TEXT) else kind for kind in kinds]
    names = [f'"{column}"' for column in columns]
    into, arrays = ", ".join(names), ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(sent, start=1))
    shown = ", ".join(f"{name}::{kind}" for name, kind in zip(names, kinds, strict=True))
    return (
        f"INSERT INTO {table} ({into}) SELECT {shown} "  # noqa: S608 -- names of our own tables
        f"FROM unnest({arrays}) WITH ORDINALITY AS new ({into}, place_in_array) ORDER BY place_in_array {ending}"
    )


_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]


@cache
def _selection(table: type[Row]) -> tuple[str, tuple[str, ...]]:
    """Write what selects all columns of a table; return also the attributes they are."""
    columns = {own.key: own.columns[0] for own in table.__mapper__.column_attrs}
    named = ", ".join(f'"{column.name}"' for column in columns.values())
    return f"SELECT {named} FROM {table.__tablename__}", tuple(columns)  # noqa: S608 -- our own names


def _transposed(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> list[list[Any]]:
    return [[_sent(row[column]) for row in rows] for column in columns]


def _sent(value: Any) -> Any:
    """Write a value as it stands in an array of its column."""
    if isinstance(value, dict):
        return json.dumps(value)
    return f"{{{','.join(map(str, value))}}}" if isinstance(value, list) else value


def _copied(value: Any) -> Any:
    """Write a value as COPY takes it: past SQLAlchemy, JSON is text."""
    return json.dumps(value) if isinstance(value, dict) else value
