from collections.abc import Iterable
from typing import Annotated
from uuid import UUID

from litestar import Controller, get, patch, post, put
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.access import service as access
from loyalty.access.guards import Caller, Now
from loyalty.access.rules import Scope
from loyalty.access.schemas import NewPassword, OwnNewPassword, SignIn, TokenOut, token_out
from loyalty.core import clock
from loyalty.core.fields import fold_email
from loyalty.core.paging import DEFAULT_LIMIT, Cursor, Limit
from loyalty.core.problems import problems
from loyalty.core.web import Session
from loyalty.members import credentials
from loyalty.members import service as members
from loyalty.members.errors import NothingToFindBy
from loyalty.members.rules import IdentifierKind
from loyalty.members.schemas import (
    MemberOut,
    MemberPage,
    MemberPatch,
    StatusChange,
    member_id_of,
    member_out,
    member_page,
    members_out,
)

Sought = Annotated[str | None, QueryParameter(max_length=254, description="Find the member known by this.")]


async def expand_members(
    caller: Caller, session: AsyncSession, *, wanted: bool, customer_ids: Iterable[UUID | None]
) -> dict[UUID, MemberOut]:
    """Return the members among these customers where a caller wants them within another reply, and may read them."""
    if not wanted:
        return {}
    caller.demand(Scope.MEMBERS_READ)
    named = {customer_id for customer_id in customer_ids if customer_id is not None}
    return members_out(await members.views(session, program_id=caller.program.id, customer_ids=named))


class MemberRoutes(Controller):
    path = "/v1/members"
    tags = ("Members",)

    @get("/", operation_id="list_members", scope=Scope.MEMBERS_READ, responses=problems(403))
    async def listing(
        self,
        caller: Caller,
        session: Session,
        external_id: Sought = None,
        email: Sought = None,
        phone: Sought = None,
        card: Sought = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> MemberPage:
        """List members, or find the one known by an identifier."""
        folded = email and (fold_email(email) or email)
        sought = {
            kind: value
            for kind, value in zip(IdentifierKind, (external_id, folded, phone, card), strict=True)
            if value is not None
        }
        if len(sought) > 1:
            raise NothingToFindBy
        for kind, value in sought.items():
            found = await members.find_by(session, program_id=caller.program.id, kind=kind, value=value)
            return MemberPage([member_out(view) for view in found], has_more=False, next_cursor=None)
        page = await members.page(session, program_id=caller.program.id, cursor=cursor, limit=limit)
        return member_page(page)

    @get("/{member_id:str}", operation_id="get_member", scope=Scope.MEMBERS_READ, responses=problems(403, 404))
    async def read(self, member_id: FromPath[str], caller: Caller, session: Session) -> MemberOut:
        """Read a member."""
        view = await members.get(session, program_id=caller.program.id, member_id=member_id_of(member_id))
        return member_out(view)

    @patch(
        "/{member_id:str}", operation_id="update_member", scope=Scope.MEMBERS_WRITE, responses=problems(403, 404, 409)
    )
    async def update(
        self, member_id: FromPath[str], data: JSONBody[MemberPatch], caller: Caller, session: Session, now: Now
    ) -> MemberOut:
        """Change identifiers and personal data."""
        parsed = member_id_of(member_id)
        await members.update(
            session,
            program_id=caller.program.id,
            member_id=parsed,
            identifiers=data.identifier_changes,
            person=data.person_changes,
            now=now,
        )
        return member_out(await members.get(session, program_id=caller.program.id, member_id=parsed))

    @post(
        "/{member_id:str}/status-changes",
        operation_id="create_member_status_change",
        scope=Scope.MEMBERS_WRITE,
        responses=problems(403, 404, 409),
    )
    async def change_status(
        self, member_id: FromPath[str], data: JSONBody[StatusChange], caller: Caller, session: Session, now: Now
    ) -> MemberOut:
        """Suspend, reactivate or close a membership, with the reason."""
        parsed = member_id_of(member_id)
        await members.change_status(
            session,
            program_id=caller.program.id,
            member_id=parsed,
            status=data.status,
            suspends=data.suspends,
            reason=data.reason,
            actor=caller.actor,
            now=now,
        )
        return member_out(await members.get(session, program_id=caller.program.id, member_id=parsed))

    @post(
        "/{member_id:str}/tokens",
        operation_id="create_member_token",
        scope=Scope.TOKENS_WRITE,
        responses=problems(403, 404),
    )
    async def mint(self, member_id: FromPath[str], caller: Caller, session: Session, state: State) -> TokenOut:
        """Mint a short-lived token with which the member acts for themselves."""
        parsed = member_id_of(member_id)
        await members.standing(session, program_id=caller.program.id, member_id=parsed)
        issued = access.mint_member_token(
            program_id=caller.program.id, member_id=parsed, keyring=state.keyring, real_now=clock.now()
        )
        return token_out(issued)

    @put(
        "/{member_id:str}/password",
        operation_id="set_member_password",
        scope=Scope.TOKENS_WRITE,
        status_code=204,
        responses=problems(403, 404, 409, 503),
    )
    async def set_password(
        self,
        member_id: FromPath[str],
        data: JSONBody[NewPassword],
        caller: Caller,
        session: Session,
        now: Now,
        state: State,
    ) -> None:
        """Give a member a password to sign in with, in place of any former one."""
        await credentials.set_password(
            session,
            program_id=caller.program.id,
            member_id=member_id_of(member_id),
            password=data.password,
            passwords=state.passwords,
            now=now,
        )


@post(
    "/v1/member-sessions",
    operation_id="create_member_session",
    tags=["Members"],
    responses=problems(503),
    security=[],
)
async def sign_in_member(data: JSONBody[SignIn], session: Session, state: State) -> TokenOut:
    """Sign a member in by e-mail and password; the token works for fifteen minutes."""
    issued = await credentials.sign_in(
        session,
        program=data.program,
        email=data.email,
        password=data.password,
        passwords=state.passwords,
        keyring=state.keyring,
        real_now=clock.now(),
    )
    return token_out(issued)


@put(
    "/v1/me/password",
    operation_id="change_my_password",
    scope=Scope.ME_WRITE,
    tags=["Me"],
    status_code=204,
    responses=problems(403, 409, 503),
)
async def change_own_password(
    data: JSONBody[OwnNewPassword], caller: Caller, session: Session, now: Now, state: State
) -> None:
    """Change one's password; tokens already given work until they expire."""
    await credentials.change_password(
        session,
        program_id=caller.program.id,
        member_id=caller.member,
        current=data.current_password,
        password=data.password,
        passwords=state.passwords,
        now=now,
    )
