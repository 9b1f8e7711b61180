from litestar import Controller, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from loyalty.access import service as access
from loyalty.access.errors import KeyNotFound
from loyalty.access.guards import Caller
from loyalty.access.rules import Scope
from loyalty.access.schemas import KeyEnding, KeyIn, KeyList, KeyOut, NewKeyOut, SignIn, TokenOut, key_out, token_out
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


@post("/v1/manager-sessions", operation_id="create_manager_session", tags=["Access"], responses=problems(), security=[])
async def sign_in(data: JSONBody[SignIn], state: State) -> TokenOut:
    """Sign a manager in to one program; the token works for twelve hours."""
    issued = await access.sign_in(
        state.sessions,
        program=data.program,
        email=data.email,
        password=data.password,
        passwords=state.passwords,
        real_now=clock.now(),
    )
    return token_out(issued)
