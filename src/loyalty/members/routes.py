from typing import Annotated

from litestar import Controller, get, patch, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter

from loyalty.access import service as access
from loyalty.access.guards import Caller, Now
from loyalty.access.rules import Scope
from loyalty.access.schemas import TokenOut, token_out
from loyalty.core import clock
from loyalty.core.fields import fold_email
from loyalty.core.paging import DEFAULT_LIMIT, Cursor, Limit
from loyalty.core.problems import problems
from loyalty.core.web import Session
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
)

Sought = Annotated[str | None, QueryParameter(max_length=254, description="Find the member known by this.")]


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
