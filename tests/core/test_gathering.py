"""Replies leave in one piece, and whole, however a connection ends."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
import uvloop

from loyalty.core.gathering import GatheringProtocol

LONG = b"x" * 3_000_000
CHUNKS = 20_000
sent: list[int] = []
GET = b"GET %b HTTP/1.1\r\nhost: here\r\n%b\r\n"


async def _app(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(CHUNKS):
            sent[:] = [number]
            await send({"type": "http.response.body", "body": LONG[:1000], "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    body = LONG if scope["path"] == "/long" else b"ok"
    if scope["method"] == "POST":
        body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def test_who_is_gone_before_a_reply_leaves_is_no_fault() -> None:
    """On the loop that serves."""
    faults: list[Any] = []

    async def leave() -> None:
        gone = asyncio.Event()

        class Watched(GatheringProtocol):
            def connection_lost(self, exc: Exception | None) -> None:
                self.transport.write(b"too late")
                super().connection_lost(exc)
                gone.set()

        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        config = uvicorn.Config(_app, port=0, http=Watched, log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 -- it tells nobody
            await asyncio.sleep(0.01)
        _, writer = await asyncio.open_connection("127.0.0.1", server.servers[0].sockets[0].getsockname()[1])
        end = writer.get_extra_info("socket")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends by a reset
        writer.transport.abort()
        await gone.wait()
        await asyncio.sleep(0.01)
        server.should_exit = True
        await serving

    uvloop.run(leave())
    assert faults == []


@pytest.fixture
async def written(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server's port, and what its transports were given to write."""
    parts: list[bytes] = []

    class Watched(GatheringProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            own = transport.write

            def write(data: bytes) -> None:
                parts.append(data)
                own(data)

            monkeypatch.setattr(transport, "write", write)
            super().connection_made(transport)

    config = uvicorn.Config(_app, port=0, http=Watched, log_level="critical", lifespan="off", loop="asyncio")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 -- it tells nobody
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1], parts
    server.should_exit = server.force_exit = True
    await serving


async def _talk(port: int, sent: bytes) -> bytes:
    """Send, and return all that is said until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    said = await reader.read()
    writer.close()
    return said


async def test_head_and_body_leave_together(written: tuple[int, list[bytes]]) -> None:
    port, parts = written
    said = await _talk(port, GET % (b"/", b"") + GET % (b"/", b"connection: close\r\n"))
    assert said.count(b"\r\n\r\nok") == 2
    assert len(parts) == 2
    assert all(part.startswith(b"HTTP/1.1 200") and part.endswith(b"ok") for part in parts)


async def test_a_connection_that_closes_at_once_says_all_before(written: tuple[int, list[bytes]]) -> None:
    port, _ = written
    assert (await _talk(port, GET % (b"/long", b"connection: close\r\n"))).endswith(LONG)
    assert b"400 Bad Request" in await _talk(port, b"no request\r\n\r\n")


async def test_who_waits_to_be_told_to_go_on_is_told(written: tuple[int, list[bytes]]) -> None:
    port, _ = written
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nhost: here\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"more")
    assert (await reader.readuntil(b"more")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_reader_who_is_slow_is_waited_for(written: tuple[int, list[bytes]]) -> None:
    port, parts = written
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
    writer.write(GET % (b"/stream", b""))
    while not parts:  # noqa: ASYNC110 -- nobody tells
        await asyncio.sleep(0)
    await asyncio.sleep(0.2)
    assert sent[0] < CHUNKS - 1
    said = bytearray()
    while not said.endswith(b"\r\n0\r\n\r\n"):
        part = await reader.read(1 << 20)
        assert part
        said += part
    assert sent[0] == CHUNKS - 1
    assert len(said) > CHUNKS * 1000
    writer.close()
