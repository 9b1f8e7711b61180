"""How Alembic reaches the database. Each migration runs in its own transaction and gives up a lock it cannot have soon."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from loyalty.schema import METADATA

_LOCK_TIMEOUT = "SET lock_timeout = '5s'"


def _migrate(connection: Connection) -> None:
    connection.execute(text(_LOCK_TIMEOUT))
    context.configure(
        connection=connection, target_metadata=METADATA, transaction_per_migration=True, compare_server_default=True
    )
    with context.begin_transaction():
        context.run_migrations()


async def _run() -> None:
    engine = create_async_engine(context.config.get_main_option("sqlalchemy.url") or "", poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(_migrate)
        await connection.commit()
    await engine.dispose()


asyncio.run(_run())
