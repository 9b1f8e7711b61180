"""The ground under every route: one transaction a request, its id, its outline, and how a repeatable write answers."""

import re
from collections.abc import AsyncIterator
from functools import cache
from typing import Annotated, Any, Final, Protocol, TypeVar, cast

from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids
from loyalty.core.db import Sessions, keep, open_session
from loyalty.core.errors import Fault, ValidationFailed

T = TypeVar("T")
DryRun = Annotated[
    bool, QueryParameter(description="Tell what would happen, and do nothing; needs no Idempotency-Key.")
]
EXPAND: Final = QueryParameter(
    name="expand", max_items=5, description="Show these whole within the reply, beside their ids."
)
JSON: Final = "application/json"
MAX_BODY_BYTES: Final = 2 * 1024 * 1024
_SESSION: Final = "session"
_REPORT: Final = "report"
_WELL_FORMED_ID: Final = re.compile(r"^req_[0-9a-z]{26}$")


async def provide_session(request: Request[Any, Any, Any]) -> AsyncIterator[AsyncSession]:
    """Open the request's one transaction; it commits before the reply starts, or nothing of it happened.

    The framework forgets this generator when another dependency refuses: it is then ended by the garbage collector, at
    a moment of its own. So nothing is awaited on that way, and the outermost of the request closes the session.
    A GET reads one snapshot: its reply is composed of several statements, and money may move between them.
    """
    state = request.app.state
    session = await open_session(cast(Sessions, state.snapshots if request.method == "GET" else state.sessions))
    request.scope["state"][_SESSION] = session
    yield session
    await keep(session)


Session = NamedDependency[AsyncSession]


async def open_report(request: Request[Any, Any, Any], sessions: Sessions) -> AsyncSession:
    """Open a second session, for reading; it ends with the request."""
    session = await open_session(sessions)
    request.scope["state"][_REPORT] = session
    return session


class RequestEdge:
    """The outermost of a request: its id (a well-formed one sent by the caller is kept), and the end of its session.

    An address with a NUL in it is refused here: no text of the database can hold one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        sent = headers.get(b"request-id", b"").decode("latin-1")
        request_id = sent if _WELL_FORMED_ID.match(sent) else ids.public("req", ids.new())
        scope.setdefault("state", {})["request_id"] = request_id

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"request-id", request_id.encode())]
            await send(message)

        try:
            if b"%00" in scope["raw_path"] or b"%00" in scope["query_string"]:
                raise HTTPException(status_code=400)
            await self._app(scope, receive, named)
        finally:
            for name in (_REPORT, _SESSION):
                session = scope["state"].pop(name, None)
                if session is not None:
                    await session.close()


async def check_outline(request: Request[Any, Any, Any]) -> None:
    """Refuse a body that does not say it is JSON (or what else the operation takes), and unknown query parameters.

    Guessing would let a form post pass for an API call, and a mistyped filter for none.
    """
    if unknown := sorted(request.query_params.keys() - _query_parameters(request.route_handler)):
        raise ValidationFailed(errors=[Fault(f"query:{name}", "unknown", "No such parameter") for name in unknown])
    has_body = request.headers.get("transfer-encoding") or request.headers.get("content-length", "0") != "0"
    if has_body and request.content_type[0] not in request.route_handler.opt.get("body_types", {JSON}):
        raise HTTPException(status_code=415)


@cache
def _query_parameters(handler: BaseRouteHandler) -> frozenset[str]:
    parameters = handler.parsed_fn_signature.parameters.items()
    return frozenset(
        definition.kwarg_definition.name or name
        for name, definition in parameters
        if isinstance(definition.kwarg_definition, QueryParameter)
    )


class Outcome(Protocol):
    """What a repeatable write did: the status the first answer had, and whether this is a repetition of it."""

    @property
    def status(self) -> int: ...
    @property
    def replayed(self) -> bool: ...


async def conclude(session: AsyncSession, content: T, outcome: Outcome, *, dry_run: bool) -> Response[T]:
    """Reply to a repeatable write, or to the trial of one, which is undone before anybody hears of it."""
    if not dry_run:
        return answer(content, outcome)
    await session.rollback()
    return Response(content, status_code=200)


def answer(content: T, outcome: Outcome) -> Response[T]:
    """Reply to a repeatable write."""
    headers = {"Idempotency-Replayed": "true"} if outcome.replayed else {}
    return Response(content, status_code=outcome.status, headers=headers)
