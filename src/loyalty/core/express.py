"""A short way to the hottest operations, beside the framework's: it answers what succeeds, and passes on all else.

The declared handler of the same operation stays its whole definition. It documents it, and it answers whatever the
short way does not: every refusal, every replay, every request that is out of the ordinary.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from litestar import Request
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPRequestEvent, Message, Receive, ReceiveMessage, Scope, Send

from loyalty.core import ids
from loyalty.core.errors import Unavailable
from loyalty.core.problems import refusal

_LARGEST: Final = 64 * 1024
_JSON: Final = b"application/json"
_TAKEN: Final = frozenset({b"authorization", b"content-type", b"content-length", b"idempotency-key"})


@dataclass(frozen=True)
class Parcel:
    """What the short way looks at of a request."""

    path: str
    credential: str
    key: str
    body: bytes


Work = Callable[[Parcel], Awaitable[bytes | None]]
"""Does an operation and returns the JSON of its 201; None for what is to go the long way, of which nothing happened."""


class Express:
    """Stands before the framework, and takes what its operations can do."""

    def __init__(self, app: ASGIApp, works: Mapping[str, Work]) -> None:
        self._app = app
        self._works = works

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = self._works.get(scope["path"]) if scope["type"] == ScopeType.HTTP and scope["method"] == "POST" else None
        headers = None if work is None else _taken(scope)
        if work is None or headers is None:
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return
        parcel = Parcel(scope["path"], headers[b"authorization"][7:], headers[b"idempotency-key"], body)
        try:
            reply = await work(parcel)
        except Unavailable as error:
            request = Request[Any, Any, Any](scope, receive, send)
            await refusal(request, error).to_asgi_response(app=None, request=request)(scope, receive, send)
            return
        if reply is None:
            await self._app(scope, _again(body, receive), send)
            return
        start: Message = {
            "type": "http.response.start",
            "status": 201,
            "headers": [
                (b"content-type", _JSON),
                (b"content-length", str(len(reply)).encode()),
                (b"request-id", ids.public("req", ids.new()).encode()),
            ],
        }
        await send(start)
        await send({"type": "http.response.body", "body": reply, "more_body": False})


def _taken(scope: Scope) -> dict[bytes, str] | None:
    """Return the headers of an ordinary request; None for one with more to it."""
    if scope["query_string"]:
        return None
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in (b"request-id", b"transfer-encoding", b"cookie"):
            return None
        if name in _TAKEN:
            if name in found:
                return None
            found[name] = value.decode("latin-1")
    if len(found) < len(_TAKEN) or found[b"content-type"] != "application/json":
        return None
    length = found[b"content-length"]
    if not found[b"authorization"].startswith("Bearer ") or not length.isdecimal() or int(length) > _LARGEST:
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
