"""One real PostgreSQL for the whole run, a database for each worker, a program for each test."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import hypothesis
import pytest
from litestar import Litestar
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession
from tests import statements
from tests.shop import Shop, open_shop

from loyalty.app import create_app
from loyalty.core import migrate
from loyalty.core.db import Sessions
from loyalty.core.embedded import serve
from loyalty.core.settings import Settings

# No test fails for being slow: the machine may be shared.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

SECRET = "a secret that only the tests know, long enough"
_HOMES = Path(__file__).parent.parent / ".loyalty"


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The server that all workers share; each PostgreSQL tried gets a home of its own."""
    own = os.environ.get("LOYALTY_PG_BIN", "wheel").strip("/").replace("/", "-")
    with serve(_HOMES / f"tests-{own}") as server:
        yield server.url


@pytest.fixture(scope="session")
def database_url(server_url: str) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    admin = server_url.replace("+asyncpg", "")
    asyncio.run(_run(admin, f"CREATE DATABASE {name}"))
    url = f"{server_url.rpartition('/')[0]}/{name}"
    migrate.upgrade(url)
    yield url
    asyncio.run(drop_database(admin, name))


@pytest.fixture(scope="session")
def settings(database_url: str) -> Settings:
    return Settings(
        database_url=database_url, secret_key=SecretStr(SECRET), lock_timeout_ms=20_000, pool_timeout_ms=30_000
    )


@pytest.fixture(scope="session")
async def app(settings: Settings) -> AsyncIterator[Litestar]:
    application = create_app(settings)
    statements.watch(application.state.sessions.kw["bind"])
    async with running(application):
        yield application
    await statements.assert_each_keeps_to_one_program(settings.database_url)


@pytest.fixture(scope="session")
async def client(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(app) as connected:
        yield connected


@pytest.fixture
def sessions(app: Litestar) -> Sessions:
    found: Sessions = app.state.sessions
    return found


@pytest.fixture
async def session(sessions: Sessions) -> AsyncIterator[AsyncSession]:
    """A transaction that is rolled back, for tests below the HTTP doors."""
    async with sessions() as opened:
        yield opened
        await opened.rollback()


@pytest.fixture
async def shop(client: httpx.AsyncClient, app: Litestar) -> Shop:
    """A program of its own, with a point a euro, a reward and a referral campaign."""
    return await open_shop(client, app)


@pytest.fixture
async def other_shop(client: httpx.AsyncClient, app: Litestar) -> Shop:
    return await open_shop(client, app)


@asynccontextmanager
async def running(application: Litestar) -> AsyncIterator[None]:
    """Run an application's lifespan in this very loop, in one task: what opens it must also close it."""
    started, ended = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with application.lifespan():
            started.set()
            await ended.wait()

    task = asyncio.create_task(live())
    await started.wait()
    try:
        yield
    finally:
        ended.set()
        await task


def connect(application: Litestar) -> httpx.AsyncClient:
    transport = _Transport(application, raise_app_exceptions=False)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://loyalty.test")


class _Transport(httpx.ASGITransport):
    """What is done for a request is the product's doing, not the test's."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with statements.of_the_product():
            return await super().handle_async_request(request)


async def _run(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def drop_database(url: str, name: str) -> None:
    """Drop a database, also one that a vacuum of the server's own is just leaving. The URL is another one's."""
    url = url.replace("+asyncpg", "")
    for _ in range(10):
        try:
            return await _run(url, f"DROP DATABASE {name} WITH (FORCE)")
        except (asyncpg.ObjectInUseError, asyncpg.InsufficientPrivilegeError):
            await asyncio.sleep(1)
    return await _run(url, f"DROP DATABASE {name} WITH (FORCE)")
