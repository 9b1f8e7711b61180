"""Every refusal as RFC 9457 problem details: what was refused, its stable code, and each fault with its pointer."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from loyalty.core import ids
from loyalty.core.db import constraint_of, sqlstate_of
from loyalty.core.errors import (
    Conflict,
    Fault,
    Forbidden,
    Invalid,
    LoyaltyError,
    NotFound,
    Unauthenticated,
    Unavailable,
    Unprocessable,
    ValidationFailed,
)
from loyalty.core.fields import faults_in

_log = logging.getLogger("loyalty.web")
_STATUS: Final[dict[type[LoyaltyError], int]] = {
    Invalid: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Unprocessable: 422,
    Unavailable: 503,
}
_HTTP_CODES: Final = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "content_type_not_supported",
}
_HTTP_TITLES: Final = {
    400: "The request could not be read.",
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "The request body is too large.",
    415: "Send the body as application/json.",
}
_BUSY: Final = {
    "55P03", "57014", "53100", "53200", "53300", "57P01", "57P02", "57P03", "40001", "40P01",
    "08000", "08001", "08003", "08004", "08006",
}  # fmt: skip
"""After these SQLSTATEs the same request may well succeed: time-outs, no room, no connection, serialisation."""
_NOT_A_CHARACTER: Final = "22021"
_UNIQUE_VIOLATION: Final = "23505"
_RETRY_AFTER_SECONDS: Final = 1


class Busy(Unavailable):
    """The service is too busy to answer in time; nothing was changed unless a retry with the same key says so."""


class ConcurrentChange(Conflict):
    """Another request changed the same thing at the same time; nothing was done, so try again."""


class InternalError(LoyaltyError):
    """Something failed on our side; the request id finds it in the log."""


class ProblemFault(msgspec.Struct):
    """One fault: where, a stable code, a sentence."""

    pointer: str
    code: str
    detail: str


class Problem(msgspec.Struct):
    """RFC 9457 problem details. `code` is stable for ever; `data` carries the facts behind the refusal."""

    type: str
    title: str
    status: int
    code: str
    request_id: str
    data: dict[str, Any]
    errors: list[ProblemFault]


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """Document the refusals of an operation; 400, 401 and 500 go without saying."""
    return {
        status: ResponseSpec(
            Problem, generate_examples=False, description=_describe(status), media_type="application/problem+json"
        )
        for status in sorted({400, 401, 500, *statuses})
    }


def _describe(status: int) -> str:
    return {
        400: "The request is malformed; every fault is listed.",
        401: "No valid key or token.",
        403: "The key or token lacks the scope.",
        404: "No such thing in this program.",
        409: "Does not fit the present state.",
        422: "The Idempotency-Key was used with another request.",
        500: "Failed on our side.",
        503: "Too busy; retry after the time stated.",
    }[status]


def problem_of(error: LoyaltyError, *, request_id: str) -> Problem:
    """Tell a refusal as problem details."""
    facts = {field.name: getattr(error, field.name) for field in fields(error) if field.name != "errors"}
    return _problem(
        request_id,
        status=next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500),
        code=error.code,
        title=str(error),
        data=facts,
        faults=error.errors if isinstance(error, ValidationFailed) else [],
    )


def refusal(request: Request[Any, Any, Any], error: LoyaltyError) -> Response[bytes]:
    problem = problem_of(error, request_id=request_id_of(request))
    headers = {}
    if problem.status == 401:  # noqa: PLR2004 -- the number says more than a name would
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
    return _reply(request, problem, headers=headers)


def http_refusal(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    if isinstance(error, ValidationException):
        return refusal(request, ValidationFailed(errors=_faults(request, error)))
    status = error.status_code
    if status >= 500:  # noqa: PLR2004
        return unexpected(request, error)
    code = _HTTP_CODES.get(status, "malformed_request")
    title = _HTTP_TITLES.get(status, _HTTP_TITLES[400])
    problem = _problem(request_id_of(request), status=status, code=code, title=title)
    return _reply(request, problem, headers=error.headers or {})


def database_refusal(request: Request[Any, Any, Any], error: DBAPIError) -> Response[bytes]:
    if sqlstate_of(error) in _BUSY or error.connection_invalidated:
        _log.warning("database busy", extra={"request_id": request_id_of(request), "sqlstate": sqlstate_of(error)})
        return refusal(request, Busy())
    if sqlstate_of(error) == _NOT_A_CHARACTER:
        return unreadable(request, error)
    if sqlstate_of(error) == _UNIQUE_VIOLATION:
        return refusal(request, ConcurrentChange())
    # Only what names no value: the driver's own message may show a whole row, and rows hold personal data.
    facts = {"sqlstate": sqlstate_of(error), "constraint": constraint_of(error), "request_id": request_id_of(request)}
    _log.error("database refused: %s", type(error.orig).__name__, extra=facts, stack_info=False)
    return refusal(request, InternalError())


def unreadable(request: Request[Any, Any, Any], _: Exception) -> Response[bytes]:
    """Refuse a body that is no UTF-8, or nested without end: the framework's decoder gives up on both."""
    return http_refusal(request, HTTPException(status_code=400))


def too_busy(request: Request[Any, Any, Any], _: Exception) -> Response[bytes]:
    return refusal(request, Busy())


def unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    _log.error("request failed", exc_info=error, extra={"request_id": request_id_of(request)})
    return refusal(request, InternalError())


def request_id_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Return the request's id; an address that leads nowhere passes no middleware, so it gets its id here."""
    state = connection.scope.setdefault("state", {})
    if "request_id" not in state:
        state["request_id"] = ids.public("req", ids.new())
        state["request_id_header"] = True
    return str(state["request_id"])


EXCEPTION_HANDLERS: Final[dict[int | type[Exception], Any]] = {
    LoyaltyError: refusal,
    HTTPException: http_refusal,
    DBAPIError: database_refusal,
    PoolTimeoutError: too_busy,
    ConnectionError: too_busy,
    UnicodeDecodeError: unreadable,
    RecursionError: unreadable,
    Exception: unexpected,
}


def _problem(
    request_id: str,
    *,
    status: int,
    code: str,
    title: str,
    data: dict[str, Any] | None = None,
    faults: Sequence[Fault] = (),
) -> Problem:
    return Problem(
        type=f"urn:loyalty:problem:{code}",
        title=title,
        status=status,
        code=code,
        request_id=request_id,
        data=data or {},
        errors=[ProblemFault(fault.pointer, fault.code, fault.detail) for fault in faults],
    )


def _reply(request: Request[Any, Any, Any], problem: Problem, *, headers: Mapping[str, str]) -> Response[bytes]:
    own = {"Request-Id": problem.request_id} if request.scope["state"].get("request_id_header") else {}
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type="application/problem+json",
        headers={"Cache-Control": "no-store", **headers, **own},
    )


def _faults(request: Request[Any, Any, Any], error: ValidationException) -> list[Fault]:
    """Read the faults of a body (found by pydantic, all at once) or of parameters out of what the framework raised."""
    found = getattr(error.__cause__, "errors", None)
    if found:
        return faults_in(found)
    extra = error.extra if isinstance(error.extra, list) else []
    return [_parameter_fault(request, item) for item in extra if isinstance(item, dict)]


def _parameter_fault(request: Request[Any, Any, Any], item: dict[str, Any]) -> Fault:
    source = getattr(item.get("source"), "value", item.get("source"))
    if source == "body":
        return Fault("", "missing", "A JSON body is required")
    key = str(item.get("key"))
    parameter = request.route_handler.parsed_fn_signature.parameters.get(key)
    name = getattr(parameter.kwarg_definition, "name", None) if parameter is not None else None
    return Fault(f"{source}:{name or key}", "invalid", str(item.get("message")))
