from typing import Any

from litestar import Controller, Request, Response, delete, get, post
from litestar.datastructures import Cookie, State
from litestar.params import FromPath, JSONBody

from loyalty.access import service as access
from loyalty.access.errors import KeyNotFound
from loyalty.access.guards import SESSION_COOKIE, Caller, check_same_site
from loyalty.access.rules import Scope
from loyalty.access.schemas import (
    KeyEnding,
    KeyIn,
    KeyList,
    KeyOut,
    NewKeyOut,
    SessionOut,
    SignIn,
    key_out,
    session_out,
)
from loyalty.core import clock, ids
from loyalty.core.problems import problems
from loyalty.core.web import Session


class KeyRoutes(Controller):
    path = "/v1/keys"
    tags = ("Access",)

    @get("/", operation_id="list_keys", scope=Scope.KEYS_WRITE, responses=problems(403))
    async def listing(self, caller: Caller, session: Session) -> KeyList:
        """List the program's keys, without their secrets."""
        return KeyList([key_out(key) for key in await access.list_keys(session, program=caller.program)])

    @post("/", operation_id="create_key", scope=Scope.KEYS_WRITE, responses=problems(403))
    async def create(self, data: JSONBody[KeyIn], caller: Caller, session: Session) -> NewKeyOut:
        """Make a key; its secret is shown this once."""
        key, secret = await access.create_key(
            session,
            program=caller.program,
            kind=data.kind,
            name=data.name,
            scopes=frozenset(data.scopes),
            maker_scopes=caller.scopes,
            expires_at=data.expires_at,
            real_now=clock.now(),
        )
        return NewKeyOut(key_out(key), secret)

    @post(
        "/{key_id:str}/ending",
        operation_id="create_key_ending",
        scope=Scope.KEYS_WRITE,
        status_code=200,
        responses=problems(403, 404),
    )
    async def end(self, key_id: FromPath[str], data: JSONBody[KeyEnding], caller: Caller, session: Session) -> KeyOut:
        """Let a key end, at once or after its successor had time to be rolled out."""
        parsed = ids.parse("key", key_id)
        if parsed is None:
            raise KeyNotFound
        real_now = clock.now()
        ended = await access.end_key(
            session, program=caller.program, key_id=parsed, at=data.at or real_now, real_now=real_now
        )
        return key_out(ended)


class SessionRoutes(Controller):
    """A manager's session, which a browser keeps as a cookie that no script can read."""

    path = "/v1/manager-sessions"
    tags = ("Access",)

    @post("/", operation_id="create_manager_session", responses=problems(403), security=[])
    async def sign_in(
        self, data: JSONBody[SignIn], request: Request[Any, Any, Any], state: State
    ) -> Response[SessionOut]:
        """Sign a manager in to one program for twelve hours; the session is set as a cookie."""
        check_same_site(request)
        caller, cookie = await access.sign_in(
            state.sessions,
            program=data.program,
            email=data.email,
            password=data.password,
            passwords=state.passwords,
            real_now=clock.now(),
        )
        kept = _cookie(state, value=cookie, max_age=int(access.SESSION_LIFE.total_seconds()))
        return Response(session_out(caller), status_code=201, cookies=[kept])

    @get("/current", operation_id="get_manager_session", scope=Scope.SESSION_OWN, responses=problems(403))
    async def read(self, caller: Caller) -> SessionOut:
        """Read who is signed in, and what they may do."""
        return session_out(caller)

    @delete(
        "/current",
        operation_id="delete_manager_session",
        scope=Scope.SESSION_OWN,
        status_code=204,
        responses=problems(403),
    )
    async def sign_out(self, caller: Caller, session: Session, state: State) -> Response[None]:
        """Sign out: the session ends here, wherever its cookie may have been copied to."""
        await access.sign_out(session, program_id=caller.program.id, signed_in=caller.signed_in, real_now=clock.now())
        return Response(None, status_code=204, cookies=[_cookie(state, value="", max_age=0)])


def _cookie(state: State, *, value: str, max_age: int) -> Cookie:
    """Make the session's cookie; over plain HTTP, as on a developer's machine, a secure one would be lost."""
    secure = state.settings.public_url.startswith("https://")
    return Cookie(SESSION_COOKIE, "/", value, max_age, secure=secure, httponly=True, samesite="strict")
