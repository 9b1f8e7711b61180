from typing import Annotated, Literal

from litestar import Controller, HttpMethod, Request, Response, get, post, route
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Redirect
from litestar.types import Method

from loyalty.access.guards import Call, Caller, Now
from loyalty.access.rules import Scope
from loyalty.core import clock
from loyalty.core.paging import DEFAULT_LIMIT, Cursor, Limit
from loyalty.core.problems import problems
from loyalty.core.web import EXPAND, Session, answer
from loyalty.members import service as members
from loyalty.members.routes import expand_members
from loyalty.members.schemas import member_id_of
from loyalty.programs import service as programs
from loyalty.referrals import attributing, codes, links
from loyalty.referrals import service as referrals
from loyalty.referrals.errors import ReferralCodeMistyped
from loyalty.referrals.schemas import (
    AttributionOut,
    CampaignIn,
    CampaignOut,
    CodeCheck,
    CodeIn,
    CodeList,
    ReferralPage,
    attribution_out,
    campaign_out,
    code_list,
    referral_page,
)

Advocate = Annotated[str | None, QueryParameter(max_length=40, description="Only this member's.")]
Expand = Annotated[list[Literal["advocate", "referee"]] | None, EXPAND]
Channel = Annotated[
    str | None, QueryParameter(max_length=64, pattern="^[A-Za-z0-9_-]+$", description="Where it was shared.")
]


class ReferralRoutes(Controller):
    path = "/v1"
    tags = ("Referrals",)

    @get(
        "/referral-campaign",
        operation_id="get_referral_campaign",
        scope=Scope.REFERRALS_READ,
        responses=problems(403, 404),
    )
    async def read_campaign(self, caller: Caller, session: Session) -> CampaignOut:
        """Read the active campaign."""
        return campaign_out(await referrals.active_campaign(session, program_id=caller.program.id))

    @post(
        "/referral-campaigns",
        operation_id="create_referral_campaign",
        scope=Scope.PROGRAM_WRITE,
        responses=problems(403),
    )
    async def start_campaign(
        self, data: JSONBody[CampaignIn], caller: Caller, session: Session, now: Now
    ) -> CampaignOut:
        """Start a campaign in place of the active one."""
        own = caller.program.rules
        terms = data.terms(unit=own.unit, currency=own.currencies[0])
        return campaign_out(await referrals.start_campaign(session, program_id=caller.program.id, terms=terms, now=now))

    @get(
        "/referral-codes/{code:str}",
        operation_id="check_referral_code",
        scope=Scope.CODES_CHECK,
        responses=problems(403, 404),
    )
    async def check_code(self, code: FromPath[str], caller: Caller, session: Session) -> CodeCheck:
        """Check a typed code; a mistyped one is told from an unknown one."""
        return CodeCheck(await referrals.read_code(session, program_id=caller.program.id, text=code))

    @get("/referrals", operation_id="list_referrals", scope=Scope.REFERRALS_READ, responses=problems(403))
    async def listing(
        self,
        caller: Caller,
        session: Session,
        advocate_id: Advocate = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
        expand: Expand = None,
    ) -> ReferralPage:
        """List referrals, the last recorded first; `expand` needs `members:read`."""
        page = await referrals.page(
            session,
            program_id=caller.program.id,
            advocate_id=member_id_of(advocate_id) if advocate_id else None,
            cursor=cursor,
            limit=limit,
        )
        sides = expand or []
        wanted = [row.advocate_id for row in page.data] * ("advocate" in sides)
        wanted += [row.referee_id for row in page.data] * ("referee" in sides)
        known = await expand_members(caller, session, wanted=bool(sides), customer_ids=wanted)
        return referral_page(page, known, sides)

    @get(
        "/members/{member_id:str}/attribution",
        operation_id="get_member_attribution",
        scope=Scope.REFERRALS_READ,
        responses=problems(403, 404),
    )
    async def attribution(self, member_id: FromPath[str], caller: Caller, session: Session) -> AttributionOut:
        """Tell who brought a member, which claims lost, and why."""
        parsed = member_id_of(member_id)
        await members.standing(session, program_id=caller.program.id, member_id=parsed)
        found = await attributing.outcomes(session, program_id=caller.program.id, referee_ids=[parsed])
        return attribution_out(*found[parsed])

    @get(
        "/members/{member_id:str}/referral-codes",
        operation_id="list_member_referral_codes",
        scope=Scope.REFERRALS_READ,
        responses=problems(403, 404),
    )
    async def list_codes(self, member_id: FromPath[str], caller: Caller, session: Session, state: State) -> CodeList:
        """List a member's codes and the links to share, the primary one first."""
        parsed = member_id_of(member_id)
        await members.standing(session, program_id=caller.program.id, member_id=parsed)
        rows = await referrals.member_codes(session, program_id=caller.program.id, member_id=parsed)
        return code_list(rows, slug=caller.program.slug, public_url=state.settings.public_url)

    @post(
        "/members/{member_id:str}/referral-codes",
        operation_id="create_member_referral_code",
        scope=Scope.REFERRALS_WRITE,
        responses=problems(403, 404, 409, 422),
    )
    async def choose_code(
        self,
        member_id: FromPath[str],
        data: JSONBody[CodeIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        state: State,
    ) -> Response[CodeList]:
        """Give a member a code of their own choice as the primary one; the codes they had keep working."""
        parsed = member_id_of(member_id)
        await members.standing(session, program_id=caller.program.id, member_id=parsed)
        done = await referrals.choose_code(session, call=call, member_id=parsed, text=data.code, now=now)
        rows = await referrals.member_codes(session, program_id=caller.program.id, member_id=parsed)
        return answer(code_list(rows, slug=caller.program.slug, public_url=state.settings.public_url), done)


def _link_operation(_: object, method: HttpMethod | Method, __: object) -> str:
    return "follow_referral_link" if method == HttpMethod.GET else "head_referral_link"


@route(
    "/r/{program_slug:str}/{code:str}",
    http_method=[HttpMethod.GET, HttpMethod.HEAD],
    operation_id=_link_operation,
    tags=["Referrals"],
    security=[],
    status_code=302,
    responses=problems(404),
)
async def follow_link(
    program_slug: FromPath[str],
    code: FromPath[str],
    request: Request[object, object, State],
    session: Session,
    state: State,
    channel: Channel = None,
) -> Redirect:
    """Record the click and lead on to the campaign's landing page with a signed proof of it."""
    if codes.is_mistyped(codes.fold(code)):
        raise ReferralCodeMistyped
    program = await programs.get_by_slug(session, slug=program_slug)
    purpose = f"{request.headers.get('sec-purpose', '')} {request.headers.get('purpose', '')}"
    kind = links.kind_of_visit(method=request.method, user_agent=request.headers.get("user-agent", ""), purpose=purpose)
    click = await attributing.click(
        session,
        program_id=program.id,
        text=code,
        channel=channel,
        kind=kind,
        keyring=state.keyring,
        now=program.now(clock.now()),
    )
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Redirect(links.landing(click.landing_url, token=click.token), status_code=302, headers=headers)
