"""Real processes to be killed: servers, workers, and databases of their own."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any, Final
from uuid import uuid4

import asyncpg
import httpx
from litestar import Litestar
from pydantic import SecretStr
from sqlalchemy import text
from tests.conftest import connect, drop_database, running
from tests.shop import Json, Shop

from loyalty.app import create_app
from loyalty.core import ids, migrate
from loyalty.core.db import transaction
from loyalty.core.embedded.cluster import SUPERUSER
from loyalty.core.embedded.place import find_place
from loyalty.core.settings import Settings

PATIENCE_SECONDS: Final = 60
Process = subprocess.Popen[bytes]


@contextmanager
def loyalty(settings: Settings, *arguments: str, stderr: IO[bytes] | None = None) -> Iterator[Process]:
    """Run `loyalty` in a process of its own, with these settings, for as long as the block lasts."""
    command = [sys.executable, "-m", "loyalty", *arguments]
    process = subprocess.Popen(command, env=environment(settings), stderr=stderr)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


async def command(settings: Settings, *arguments: str) -> str:
    """Run a command of `loyalty` to its good end, and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loyalty", *arguments, env=environment(settings), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


def environment(settings: Settings) -> dict[str, str]:
    """Return this process's environment with these settings in it."""
    chosen = {name: getattr(settings, name) for name in settings.model_fields_set}
    said = {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in chosen.items()}
    return {**os.environ, **{f"LOYALTY_{name}".upper(): str(value) for name, value in said.items()}}


@asynccontextmanager
async def server(
    settings: Settings, *, stderr: IO[bytes] | None = None
) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """A server that is ready, and a client of it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with loyalty(settings, "serve", "--port", str(port), stderr=stderr) as process:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as remote:
            await _until_ready(process, remote)
            yield process, remote


async def _until_ready(process: Process, remote: httpx.AsyncClient) -> None:
    while process.poll() is None:
        try:
            if (await remote.get("/health/ready")).status_code == 200:
                return
        except httpx.TransportError:
            await asyncio.sleep(0.05)
    raise AssertionError("the server ended before it was ready")


@asynccontextmanager
async def database(server_url: str, settings: Settings) -> AsyncIterator[Settings]:
    """A database that nobody else works on, with the schema of this release."""
    name = f"fault_{uuid4().hex}"
    admin = await asyncpg.connect(server_url.replace("+asyncpg", ""))
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        url = f"{server_url.rpartition('/')[0]}/{name}"
        await asyncio.to_thread(migrate.upgrade, url)
        yield settings.model_copy(update={"database_url": url})
        await drop_database(server_url, name)
    finally:
        await admin.close()


@asynccontextmanager
async def application(settings: Settings, **changes: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Litestar]]:
    """An application in this process, with settings of its own."""
    app = create_app(settings.model_copy(update=changes))
    async with running(app), connect(app) as client:
        yield client, app


@asynccontextmanager
async def superuser(home: Path) -> AsyncIterator[asyncpg.Connection]:
    """Connect to the server of this home as who may change its settings; the connection need not end well."""
    place = find_place(home)
    admin = await asyncpg.connect(
        host="127.0.0.1",
        port=int(place.port.read_text()),
        user=SUPERUSER,
        password=place.superuser_password.read_text(),
        database="postgres",
        ssl=False,
    )
    try:
        yield admin
    finally:
        admin.terminate()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 -- what is waited for happens in another process
            await asyncio.sleep(0.02)


@asynccontextmanager
async def locked_wallet(settings: Settings, shop: Shop, member: Json) -> AsyncIterator[asyncpg.Connection]:
    """Hold a member's wallet under lock from outside, as a transaction does that does not end."""
    holder = await asyncpg.connect(settings.database_url.replace("+asyncpg", ""))
    try:
        async with holder.transaction():
            own = ids.parse("mem", member["id"])
            query = "SELECT 1 FROM wallets WHERE program_id = $1 AND member_id = $2 FOR UPDATE"
            assert await holder.fetchval(query, shop.program.id, own) == 1
            yield holder
    finally:
        await holder.close()


async def number_of(shop: Shop, query: str, **values: Any) -> int:
    """Count or sum something of a shop's program, named :id in the query."""
    async with transaction(shop.sessions) as session:
        return int((await session.execute(text(query), {"id": shop.program.id, **values})).scalar_one())


async def lock_waiters(shop: Shop) -> int:
    """Count who waits for a lock in the shop's database."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with transaction(shop.sessions) as session:
        return int((await session.execute(text(query))).scalar_one())
