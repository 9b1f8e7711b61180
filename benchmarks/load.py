"""Clients over keep-alive connections, cheap enough that they are not what is measured.

A script is one operation: it yields requests, is sent each reply's body, and returns when the operation is done.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import cast

Script = Generator[bytes, bytes, None]
_LENGTH = b"content-length: "
_FIRST_ERROR = 400
_DRAIN_SECONDS = 30
_TIMER_SECONDS = 0.0005  # half of what the loop's timers tell apart


class Exhausted(Exception):
    """There is nothing left to do this operation on."""


@dataclass
class Sample:
    """Operations that ended within a window: how long each took, in milliseconds, and how many were refused."""

    latencies_ms: list[float] = field(default_factory=list)
    errors: int = 0
    seconds: float = 0.0
    refusal: str = ""
    replies: list[bytes] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """One keep-alive connection to a server that states the length of its replies."""

    def __init__(self, replied: Callable[[int, bytes], None]) -> None:
        self._replied = replied
        self._transport: asyncio.Transport | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._replied(0, repr(exc).encode())

    def send(self, request: bytes) -> None:
        if self._transport is None:
            self._replied(0, b"the server closed the connection")
        else:
            self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        head = buffer.find(b"\r\n\r\n")
        if head >= 0:
            at = buffer.find(_LENGTH, 0, head)
            length = int(buffer[at + len(_LENGTH) : buffer.index(b"\r", at)]) if at >= 0 else 0
            if len(buffer) - head - 4 >= length:
                self._buffer = b""
                self._replied(int(buffer[9:12]), buffer[head + 4 :])
                return
        self._buffer = buffer


class Clients:
    """So many clients, each with a connection of its own, spread over the ports."""

    def __init__(self, script: Callable[[], Script], *, ports: Sequence[int], clients: int) -> None:
        self.sample = Sample()
        self.keep_replies = False
        self.exhausted = False
        self._script = script
        self._ports = [ports[number % len(ports)] for number in range(clients)]
        self._connections: list[Connection] = []
        self._running: list[tuple[Script, float] | None] = [None] * clients
        self._next: Callable[[int], None] = self._begin
        self._ended = asyncio.Event()
        self._drained = asyncio.Event()
        self._stopping = False

    async def closed(self, *, warm: float, seconds: float, snapshot: Callable[[], None]) -> Sample:
        """Let every client begin again as soon as it is answered; `snapshot` is called at both ends of the window."""

        def begin() -> None:
            for client in range(len(self._ports)):
                self._begin(client)

        return await self._measure(begin, warm=warm, seconds=seconds, snapshot=snapshot)

    async def open(self, *, rate: float, warm: float, seconds: float, snapshot: Callable[[], None]) -> Sample:
        """Begin at random moments, so many a second, whatever became of those before; time from the moment meant."""
        loop, waiting, idle = asyncio.get_running_loop(), deque[float](), list(range(len(self._ports)))
        due = 0.0

        def arrive() -> None:
            nonlocal due
            due = due or perf_counter()
            while due <= perf_counter() + _TIMER_SECONDS:
                if idle:
                    self._begin(idle.pop(), meant=due)
                else:
                    waiting.append(due)
                due += random.expovariate(rate)
            if not self._stopping:
                loop.call_later(due - perf_counter(), arrive)

        def freed(client: int) -> None:
            if waiting:
                self._begin(client, meant=waiting.popleft())
            else:
                idle.append(client)

        self._next = freed
        return await self._measure(arrive, warm=warm, seconds=seconds, snapshot=snapshot)

    async def each(self, times: int) -> Sample:
        """Do the operation so many times in all, and keep the last replies."""
        left, busy = times, len(self._ports)
        self.keep_replies = True

        def again(client: int) -> None:
            nonlocal left, busy
            if left > 0:
                left -= 1
                self._begin(client)
            else:
                busy -= 1
                if not busy:
                    self._ended.set()

        self._next = again
        await self._connect()
        began = perf_counter()
        for client in range(len(self._ports)):
            again(client)
        await self._ended.wait()
        self._disconnect()
        self.sample.seconds = perf_counter() - began
        return self.sample

    async def _measure(
        self, begin: Callable[[], None], *, warm: float, seconds: float, snapshot: Callable[[], None]
    ) -> Sample:
        await self._connect()
        begin()
        await self._pause(warm)
        warming, self.sample = self.sample, Sample()
        snapshot()
        began = perf_counter()
        await self._pause(seconds)
        taken, self.sample = self.sample, Sample()
        taken.seconds = perf_counter() - began
        snapshot()
        taken.refusal = taken.refusal or warming.refusal
        await self._drain()
        self._disconnect()
        return taken

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        for client, port in enumerate(self._ports):
            replied = partial(self._replied, client)
            _, connection = await loop.create_connection(partial(Connection, replied), "127.0.0.1", port)
            self._connections.append(connection)

    async def _drain(self) -> None:
        """Hear the rest of what was asked: a server goes on with it, and would in the next window."""
        self._stopping = True
        if any(self._running):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._drained.wait(), _DRAIN_SECONDS)

    def _disconnect(self) -> None:
        self._stopping = True
        for connection in self._connections:
            connection.close()

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than there is something to do."""
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return

    def _begin(self, client: int, *, meant: float | None = None) -> None:
        if self._stopping:
            return
        script = self._script()
        try:
            request = next(script)
        except Exhausted:
            self.exhausted = True
            self._ended.set()
            return
        self._running[client] = script, meant if meant is not None else perf_counter()
        self._connections[client].send(request)

    def _replied(self, client: int, status: int, body: bytes) -> None:
        running = self._running[client]
        if running is None:
            return
        script, began = running
        if status < 200 or status >= _FIRST_ERROR:
            self.sample.errors += 1
            self.sample.refusal = f"{status} {body[:500].decode(errors='replace')}"
            if not status:
                self._ended.set()
            self._done(client, may_go_on=bool(status))
            return
        try:
            request = script.send(body)
        except StopIteration:
            self.sample.latencies_ms.append(1000 * (perf_counter() - began))
            if self.keep_replies:
                self.sample.replies.append(body)
            self._done(client)
        else:
            self._connections[client].send(request)

    def _done(self, client: int, *, may_go_on: bool = True) -> None:
        self._running[client] = None
        if may_go_on:
            self._next(client)
        if self._stopping and not any(self._running):
            self._drained.set()


def http(method: str, path: str, *, key: str, body: bytes | None = None, idempotency_key: bytes = b"") -> bytes:
    """Write a request whole."""
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n".encode()
    if idempotency_key:
        head += b"Idempotency-Key: " + idempotency_key + b"\r\n"
    if body is None:
        return head + b"\r\n"
    return head + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
