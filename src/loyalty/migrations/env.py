"""How Alembic reaches the database. Each migration runs in its own transaction and gives up a lock it cannot have soon."""

import asyncio

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from loyalty.core.db import UNPREPARED, limit_transactions
from loyalty.schema import METADATA

# As each transaction begins: each migration has one of its own, and behind PgBouncer the session is not this program's.
_PATIENCE = {"lock_timeout": "5000"}


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=METADATA, transaction_per_migration=True, compare_server_default=True
    )
    with context.begin_transaction():
        context.run_migrations()


async def _run() -> None:
    url = context.config.get_main_option("sqlalchemy.url") or ""
    engine = create_async_engine(url, poolclass=NullPool, connect_args=UNPREPARED)
    limit_transactions(engine, _PATIENCE)
    async with engine.connect() as connection:
        await connection.run_sync(_migrate)
    await engine.dispose()


asyncio.run(_run())
