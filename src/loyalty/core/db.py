"""The database: engine, sessions, and the one place where a transaction is committed."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar, Final
from uuid import UUID

from asyncpg import PostgresError
from sqlalchemy import BigInteger, DateTime, MetaData, Text, Uuid, event
from sqlalchemy import Connection as SyncConnection
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


STATEMENT_TIMEOUT: Final = "statement_timeout_ms"
UNPREPARED: Final = {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
"""Both caches of prepared statements, asyncpg's own and the one above it, off: statements then have no names."""


def create_engine(settings: Settings) -> AsyncEngine:
    named = {"application_name": "loyalty", "timezone": "UTC"}
    # Compiling a statement takes longer than any here runs; plans look dear wherever statistics are old.
    limits = {
        "lock_timeout": f"{settings.lock_timeout_ms}",
        "statement_timeout": f"{settings.statement_timeout_ms}",
        "jit": "off",
    }
    with_session = {"server_settings": named | limits}
    engine = create_async_engine(
        settings.database_url,
        hide_parameters=True,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.pool_timeout_ms / 1000,
        connect_args=with_session if settings.prepared_statements else {"server_settings": named, **UNPREPARED},
        execution_options={STATEMENT_TIMEOUT: settings.statement_timeout_ms},
    )
    if not settings.prepared_statements:
        limit_transactions(engine, limits)
    return engine


def limit_transactions(engine: AsyncEngine, settings: Mapping[str, str]) -> None:
    """Set time-outs and the like as each transaction begins, for where a session is not this program's own.

    PgBouncer refuses them at the opening of a session, or drops them if told to ignore them.
    """
    limits = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())

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


def constraint_of(error: DBAPIError) -> str | None:
    """Return the name of the constraint that refused, if one did."""
    orig = error.orig
    return getattr(
        orig if isinstance(orig, PostgresError) else getattr(orig, "__cause__", None), "constraint_name", None
    )


def sqlstate_of(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)
