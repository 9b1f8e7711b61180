"""The connection to PostgreSQL breaks at the worst moment: around the COMMIT, whose answer nobody hears."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

import httpx
import pytest
from litestar import Litestar
from tests.faults.deeds import DEEDS, prepare
from tests.faults.servers import application
from tests.shop import Shop, open_shop

from loyalty.core.settings import Settings

_COMMIT: Final = b"COMMIT;\x00"
_COMMITTED: Final = b"COMMIT\x00"


class Cut(StrEnum):
    """When to cut: before the COMMIT reaches PostgreSQL, or when it is done and not heard of yet."""

    BEFORE = "before"
    AFTER = "after"


class Proxy:
    """Stands between the application and PostgreSQL, and cuts the connection at the next COMMIT when told to."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self.armed: Cut | None = None
        self.cuts = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        listener = await asyncio.start_server(self._join, "127.0.0.1", 0)
        async with listener:
            yield int(listener.sockets[0].getsockname()[1])

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass everything on both ways until one side ends or the connection is to be cut."""
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        committing = asyncio.Event()
        there = asyncio.create_task(self._ask(reader, far_writer, committing))
        back = asyncio.create_task(self._answer(far_reader, writer, committing))
        await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        for task, end in ((there, writer), (back, far_writer)):
            task.cancel()
            end.transport.abort()
        await asyncio.gather(there, back, return_exceptions=True)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, committing: asyncio.Event) -> None:
        while data := await reader.read(65_536):
            if self.armed is not None and _COMMIT in data:
                cut, self.armed = self.armed, None
                self.cuts += 1
                if cut is Cut.BEFORE:
                    return
                committing.set()
            writer.write(data)

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, committing: asyncio.Event
    ) -> None:
        while data := await reader.read(65_536):
            if committing.is_set():
                assert _COMMITTED in data
                return
            writer.write(data)


_ON_THE_SHORT_WAY: Final = {"order", "redemption", "hold", "capture"}


@pytest.fixture(scope="module")
async def proxy(settings: Settings) -> AsyncIterator[tuple[Proxy, httpx.AsyncClient]]:
    """A proxy, and an application that reaches its database only through it."""
    address = urlsplit(settings.database_url)
    assert address.hostname is not None
    assert address.port is not None
    made = Proxy(address.hostname, address.port)
    async with made.listening() as port:
        through = address._replace(netloc=address.netloc.replace(f":{address.port}", f":{port}")).geturl()
        async with application(settings, database_url=through) as (client, _):
            yield made, client


@pytest.mark.parametrize("cut", Cut)
@pytest.mark.parametrize("name", DEEDS)
async def test_a_retry_with_the_same_key_finds_out_what_became_of_a_commit_that_nobody_heard_of(
    client: httpx.AsyncClient, app: Litestar, proxy: tuple[Proxy, httpx.AsyncClient], name: str, cut: Cut
) -> None:
    shop = await open_shop(client, app)
    through, remote = proxy
    far = Shop(remote, shop.sessions, shop.program, shop.key)
    deed = await prepare(shop, name)
    before, cuts = await shop.digest(), through.cuts

    through.armed = cut
    lost = await far.send("POST", deed.path, deed.body, key="once")
    assert through.cuts == cuts + 1
    path, key = deed.path, "once"
    if name in _ON_THE_SHORT_WAY:
        # The short way asks again by itself, with the same key, and so hears what became of it.
        assert lost.status_code == 201
        assert ("idempotency-replayed" in lost.headers) is (cut is Cut.AFTER)
        through.armed = cut
        deed = await prepare(shop, name)
        before = await shop.digest()
        path, key = f"{deed.path}?dry_run=false", "again"
        lost = await far.send("POST", path, deed.body, key=key)
    assert (lost.status_code, lost.json()["code"], lost.headers["retry-after"]) == (503, "busy", "1")
    committed = await shop.digest()
    assert (committed == before) is (cut is Cut.BEFORE)

    retry = await far.send("POST", path, deed.body, key=key, expect=201)
    assert ("idempotency-replayed" in retry.headers) is (cut is Cut.AFTER)
    done = await shop.digest()
    assert (done == committed) is (cut is Cut.AFTER)
    again = await far.send("POST", path, deed.body, key=key, expect=201)
    assert (again.content, again.headers["idempotency-replayed"]) == (retry.content, "true")
    assert await shop.digest() == done
    assert (await shop.wallet(deed.member["id"]))["balance"] == deed.balance
    await shop.books_hold()
