from typing import Annotated

from litestar import post
from litestar.params import FromPath, JSONBody

from loyalty.access.guards import Caller, Now
from loyalty.access.rules import Scope
from loyalty.core.fields import Body, text
from loyalty.core.problems import problems
from loyalty.core.web import Session
from loyalty.erasures import service as erasures
from loyalty.members import service as members
from loyalty.members.schemas import MemberOut, member_id_of, member_out


class ErasureIn(Body):
    """Why the member is forgotten; say nothing personal here."""

    reason: Annotated[str, text(longest=500)]


@post(
    "/v1/members/{member_id:str}/erasure",
    operation_id="create_member_erasure",
    scope=Scope.MEMBERS_WRITE,
    tags=["Members"],
    status_code=200,
    responses=problems(403, 404),
)
async def erase(
    member_id: FromPath[str], data: JSONBody[ErasureIn], caller: Caller, session: Session, now: Now
) -> MemberOut:
    """Forget who a member was: personal data goes, entries and orders stay without a name."""
    parsed = member_id_of(member_id)
    await erasures.erase(
        session, program_id=caller.program.id, member_id=parsed, reason=data.reason, actor=caller.actor, now=now
    )
    session.expire_all()
    return member_out(await members.get(session, program_id=caller.program.id, member_id=parsed))
