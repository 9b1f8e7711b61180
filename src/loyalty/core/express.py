"""A short way to the hottest operations, beside the framework's: it answers what succeeds, and passes on all else.

The declared handler of the same operation stays its whole definition. It documents it, and it answers whatever the
short way does not: every refusal, every request that is out of the ordinary.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from litestar import Request
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPRequestEvent, HTTPScope, Message, Receive, ReceiveMessage, Scope, Send

from loyalty.core import ids
from loyalty.core.errors import Unavailable
from loyalty.core.problems import refusal

_LARGEST: Final = 64 * 1024
_JSON: Final = b"application/json"
_READS: Final = frozenset({b"authorization"})
_WRITES: Final = frozenset({b"authorization", b"content-type", b"content-length", b"idempotency-key"})
_OUT_OF_THE_ORDINARY: Final = frozenset({b"request-id", b"transfer-encoding", b"cookie"})


@dataclass(frozen=True)
class Address:
    """Where an operation is found. A `path` names at most one thing, before its last part: `/v1/holds/{}/capture`."""

    method: str
    path: str


@dataclass(frozen=True)
class Parcel:
    """What the short way looks at of a request. `named` is what stands for the `{}` of its address."""

    path: str
    named: str
    credential: str
    key: str | None
    body: bytes


@dataclass(frozen=True)
class Reply:
    """A JSON reply. `replayed` tells a repeated request's from the first one's."""

    content: bytes
    status: int
    replayed: bool = False


Work = Callable[[Parcel], Awaitable[Reply | None]]
"""Does an operation; None for what is to go the long way, of which nothing happened."""


class Express:
    """Stands before the framework, and takes what its operations can do."""

    def __init__(self, app: ASGIApp, works: Mapping[Address, Work]) -> None:
        self._app = app
        self.works = {(address.method, address.path): work for address, work in works.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = headers = None
        if scope["type"] == ScopeType.HTTP and not scope["query_string"]:
            found = self._find(scope["method"], scope["path"])
            headers = None if found is None else _taken(scope)
        if found is None or headers is None:
            await self._app(scope, receive, send)
            return
        work, named = found
        body = b""
        if b"idempotency-key" in headers:
            read = await _read(receive)
            if read is None:
                return
            body, receive = read, _again(read, receive)
        parcel = Parcel(scope["path"], named, headers[b"authorization"][7:], headers.get(b"idempotency-key"), body)
        try:
            reply = await work(parcel)
        except Unavailable as error:
            request = Request[Any, Any, Any](scope, receive, send)
            await refusal(request, error).to_asgi_response(app=None, request=request)(scope, receive, send)
            return
        if reply is None:
            await self._app(scope, receive, send)
        else:
            await _answer(reply, send)

    def _find(self, method: str, path: str) -> tuple[Work, str] | None:
        if (work := self.works.get((method, path))) is not None:
            return work, ""
        head, _, tail = path.rpartition("/")
        head, _, named = head.rpartition("/")
        work = self.works.get((method, f"{head}/{{}}/{tail}"))
        return None if work is None else (work, named)


async def _answer(reply: Reply, send: Send) -> None:
    headers = [
        (b"content-type", _JSON),
        (b"content-length", str(len(reply.content)).encode()),
        (b"request-id", ids.public("req", ids.new()).encode()),
    ]
    if reply.replayed:
        headers.append((b"idempotency-replayed", b"true"))
    start: Message = {"type": "http.response.start", "status": reply.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": reply.content, "more_body": False})


def _taken(scope: HTTPScope) -> dict[bytes, str] | None:
    """Return the headers of an ordinary request; None for one with more to it."""
    reads = scope["method"] == "GET"
    wanted, found = _READS if reads else _WRITES, dict[bytes, str]()
    for name, value in scope["headers"]:
        if name in _OUT_OF_THE_ORDINARY or name in found or (reads and name in _WRITES - _READS):
            return None
        if name in wanted:
            found[name] = value.decode("latin-1")
    if len(found) < len(wanted) or not found[b"authorization"].startswith("Bearer "):
        return None
    if not reads:
        length = found[b"content-length"]
        if found[b"content-type"] != "application/json" or not length.isdecimal() or int(length) > _LARGEST:
            return None
    return found


async def _read(receive: Receive) -> bytes | None:
    """Return a body as a whole; None if the caller has gone."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message["body"])
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """Let the framework read the body once more."""
    first = True

    async def read() -> ReceiveMessage:
        nonlocal first
        if first:
            first = False
            return HTTPRequestEvent(type="http.request", body=body, more_body=False)
        return await receive()

    return read
