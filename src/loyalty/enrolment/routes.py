from litestar import Response, post
from litestar.datastructures import State
from litestar.params import JSONBody

from loyalty.access.guards import Call, Caller, Now
from loyalty.access.rules import Scope
from loyalty.core.problems import problems
from loyalty.core.web import Session, answer
from loyalty.enrolment import service as enrolment
from loyalty.enrolment.schemas import EnrolmentIn, EnrolmentOut, enrolment_out


@post(
    "/v1/members",
    operation_id="create_member",
    scope=Scope.MEMBERS_WRITE,
    tags=["Members"],
    responses=problems(403, 404, 409, 422),
)
async def enrol(
    data: JSONBody[EnrolmentIn], caller: Caller, call: Call, session: Session, now: Now, state: State
) -> Response[EnrolmentOut]:
    """Enrol a customer: wallet, referral code, attribution to whoever referred them, sign-up points."""
    done = await enrolment.enrol(
        session,
        program=caller.program,
        call=call,
        identifiers=data.identifiers,
        person=data.person,
        order=data.external_order_id,
        code=data.referral_code,
        click_token=data.click_token,
        channel=data.channel,
        keyring=state.keyring,
        now=now,
    )
    views = await enrolment.listed(session, program_id=caller.program.id, member_ids=[done.resource_id])
    return answer(enrolment_out(views[done.resource_id]), done)
