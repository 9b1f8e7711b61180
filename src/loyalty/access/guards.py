"""What routes ask for: the caller, the program's present, and the identity of a repeatable call."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, cast
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
from litestar import Request
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException
from litestar.params import HeaderParameter
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.access import service as access
from loyalty.access.errors import CredentialsMissing, CrossSiteRequest
from loyalty.access.rules import MAX_CREDENTIAL_LENGTH, Credential, Scope, read_credential
from loyalty.access.rules import Caller as CallerFacts
from loyalty.core import clock, idempotency, replicas
from loyalty.core.db import Sessions, release
from loyalty.core.signing import Keyring
from loyalty.core.web import Session, open_report

_BEARER: Final = "bearer"
_REQUEST: Final = "loyalty:request"
_SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS"}
_TRUE: Final = {"true", "1"}
_OWN_SITE: Final = {"same-origin", "none"}
SESSION_COOKIE: Final = "loyalty_session"

Caller = NamedDependency[CallerFacts]
Now = NamedDependency[datetime]
Call = NamedDependency[idempotency.Call]


@dataclass(frozen=True)
class ReportFacts:
    """What a report reads: one snapshot, and the program's present as far as that knows it."""

    session: AsyncSession
    now: datetime


Report = NamedDependency[ReportFacts]


async def provide_caller(request: Request[Any, Any, Any], session: Session) -> CallerFacts:
    """Authenticate, and hold the caller to the scope that the operation names."""
    caller = await _authenticate(request, session)
    caller.demand(cast(Scope, request.route_handler.opt["scope"]))
    return caller


async def _authenticate(request: Request[Any, Any, Any], session: AsyncSession) -> CallerFacts:
    header, cookie = request.headers.get("authorization"), request.cookies.get(SESSION_COOKIE)
    if header is None and cookie is not None:
        check_same_site(request)
        return await access.resume(session, cookie=cookie, real_now=clock.now())
    scheme, _, rest = (header or "").partition(" ")
    credential = rest.strip()
    if scheme.lower() != _BEARER or not credential or len(credential) > MAX_CREDENTIAL_LENGTH:
        raise CredentialsMissing
    keyring = cast(Keyring, request.app.state.keyring)
    return await access.authenticate(session, credential=credential, keyring=keyring, real_now=clock.now())


def key_of(request: Request[Any, Any, Any]) -> Credential | None:
    """Return the program's key that a request carries; None where it carries something else."""
    _, _, rest = request.headers.get("authorization", "").partition(" ")
    return read_credential(rest.strip())


def check_same_site(request: Request[Any, Any, Any]) -> None:
    """Refuse a change that another site's page makes a signed-in browser send.

    By Fetch Metadata, or Origin where a browser is too old for it; what sends neither is no browser.
    """
    if request.method in _SAFE_METHODS:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    of_page = origin is None or _host_of(origin) == request.headers.get("host")
    if not (of_page if site is None else site in _OWN_SITE):
        raise CrossSiteRequest


def _host_of(origin: str) -> str | None:
    """Return host and port of an origin; None for what is none, which is nobody's."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


async def provide_now(caller: Caller) -> datetime:
    """Return the program's present: its test clock's, or the real one."""
    return caller.program.now(clock.now())


async def provide_report(request: Request[Any, Any, Any], caller: Caller, session: Session) -> ReportFacts:
    """Read from the replica, if there is one; who calls was asked of the primary, where a revoked key is gone at once.

    The primary's connection is given back: a long report on the replica must neither keep it from the till nor hold a
    snapshot open there.
    """
    replica, present = cast("Sessions | None", request.app.state.reports), clock.now()
    if replica is None:
        return ReportFacts(session, caller.program.now(present))
    await release(session)
    reading = await open_report(request, replica)
    return ReportFacts(reading, caller.program.now(min(present, await replicas.known_until(reading))))


async def provide_call(
    request: Request[Any, Any, Any],
    caller: Caller,
    idempotency_key: Annotated[
        str | None, HeaderParameter(name="Idempotency-Key", description="1 to 255 visible ASCII characters; required.")
    ] = None,
) -> idempotency.Call:
    """Identify this call by its key and by what it asks."""
    body = await request.body()
    try:
        content = msgspec.json.decode(body) if body else None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise HTTPException(status_code=400) from error
    keyring = cast(Keyring, request.app.state.keyring)
    # Only operations that declare dry_run let it pass; the trial of a write takes no part in anybody's keys.
    is_trial = request.query_params.getall("dry_run", [""])[-1].lower() in _TRUE
    key = str(uuid4()) if is_trial else idempotency.read_key(idempotency_key)
    return idempotency.Call(
        program_id=caller.program.id,
        operation=str(request.route_handler.operation_id),
        key=_within(caller, key),
        fingerprints=fingerprints(keyring, path=request.url.path, content=content),
    )


def fingerprints(keyring: Keyring, *, path: str, content: Any) -> tuple[bytes, ...]:
    """Digest what a call asks: the address and the body, whatever its spacing or field order."""
    canonical = "" if content is None else msgspec.json.encode(content, order="sorted").decode()
    return keyring.digests(_REQUEST, f"{path}\n{canonical}")


def _within(caller: CallerFacts, key: str) -> str:
    """Keep members' keys apart: each app counts its own, and two may well choose the same."""
    return key if caller.member_id is None else f"{caller.actor}/{key}"
