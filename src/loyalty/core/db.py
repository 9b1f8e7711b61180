"""The database: engine, sessions, and the one place where a transaction is committed."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from asyncpg import Connection
from sqlalchemy import BigInteger, DateTime, MetaData, Text, Uuid, insert
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

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


def create_engine(settings: Settings) -> AsyncEngine:
    return create_async_engine(
        settings.database_url,
        hide_parameters=True,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.pool_timeout_ms / 1000,
        connect_args={
            "server_settings": {
                "application_name": "loyalty",
                "lock_timeout": str(settings.lock_timeout_ms),
                "statement_timeout": str(settings.statement_timeout_ms),
                "timezone": "UTC",
            }
        },
    )


def create_sessions(engine: AsyncEngine) -> Sessions:
    return async_sessionmaker(engine, expire_on_commit=False)


def create_snapshots(engine: AsyncEngine) -> Sessions:
    """Return sessions for reading, on the same connections: all that one reads is as of one instant."""
    return create_sessions(engine.execution_options(isolation_level="REPEATABLE READ"))


@asynccontextmanager
async def transaction(sessions: Sessions) -> AsyncIterator[AsyncSession]:
    """One unit of work: committed when the block ends, rolled back when it raises.

    A COMMIT that fails raises out of this block like any other failure, so nobody is told of an effect that is not
    there.
    """
    async with sessions.begin() as session:
        yield session


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
    cause = error.orig.__cause__ if error.orig is not None else None
    return getattr(cause, "constraint_name", None)


def sqlstate_of(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


COPY_FROM_ROWS = 200
"""Above this many rows COPY is cheaper than prepared single-row inserts."""


async def insert_rows(session: AsyncSession, table: type[Row], rows: Sequence[dict[str, Any]]) -> None:
    """Insert many rows of one table; all must name the same columns."""
    if not rows:
        return
    if len(rows) < COPY_FROM_ROWS:
        # By the table itself, past the ORM, which would only cost time here.
        await session.execute(insert(Row.metadata.tables[table.__tablename__]), list(rows))
        return
    connection = await driver(session)
    columns = list(rows[0])
    await connection.copy_records_to_table(
        table.__tablename__,
        records=[tuple(_copied(row[column]) for column in columns) for row in rows],
        columns=columns,
    )


def _copied(value: Any) -> Any:
    """Write a value as COPY takes it: past SQLAlchemy, JSON is text."""
    return json.dumps(value) if isinstance(value, dict) else value
