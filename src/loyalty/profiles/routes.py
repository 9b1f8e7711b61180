from litestar import Controller, get
from litestar.datastructures import State
from litestar.params import FromPath

from loyalty.access.guards import Caller, Now
from loyalty.access.rules import Scope
from loyalty.core.paging import DEFAULT_LIMIT, Cursor, Limit
from loyalty.core.problems import problems
from loyalty.core.web import Session
from loyalty.members import service as members
from loyalty.members.schemas import member_id_of
from loyalty.points import balances, openings
from loyalty.points import history as points_history
from loyalty.points.routes import UnitParameter
from loyalty.points.rules import WalletKey
from loyalty.points.schemas import EntryPage, entry_page
from loyalty.profiles import service as profiles
from loyalty.profiles.schemas import ExplanationOut, MeOut, OfferPage, explanation_out, me_out, offer_page
from loyalty.referrals import service as referrals
from loyalty.referrals.schemas import code_list


class MeRoutes(Controller):
    path = "/v1/me"
    tags = ("Me",)

    @get("/", operation_id="get_me", scope=Scope.ME_READ, responses=problems(403, 404))
    async def read(self, caller: Caller, session: Session, now: Now, state: State) -> MeOut:
        """Read one's own standing, balances and codes."""
        program = caller.program
        standing = await members.standing(session, program_id=program.id, member_id=caller.member)
        codes = await referrals.member_codes(session, program_id=program.id, member_id=caller.member)
        return me_out(
            standing,
            wallets=await balances.wallets(session, program=program, member_id=caller.member, now=now),
            codes=code_list(codes, slug=program.slug, public_url=state.settings.public_url).data,
        )

    @get("/entries", operation_id="list_my_entries", scope=Scope.ME_READ, responses=problems(403))
    async def entries(
        self,
        caller: Caller,
        session: Session,
        unit: UnitParameter = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> EntryPage:
        """List what moved one's points, the newest first."""
        key = WalletKey(caller.program.id, caller.member, unit or caller.program.rules.unit)
        found = await points_history.entries(session, key=key, cursor=cursor, limit=limit)
        return entry_page(found, await openings.of_wallet(session, key))

    @get("/explanation", operation_id="get_my_explanation", scope=Scope.ME_READ, responses=problems(403))
    async def why(self, caller: Caller, session: Session, now: Now, unit: UnitParameter = None) -> ExplanationOut:
        """Tell why one's balance is what it is, in words."""
        key = WalletKey(caller.program.id, caller.member, unit or caller.program.rules.unit)
        found = await profiles.explanation(session, program=caller.program, key=key, now=now)
        return explanation_out(key.unit, found)

    @get("/rewards", operation_id="list_my_rewards", scope=Scope.ME_READ, responses=problems(403, 404))
    async def offers(
        self, caller: Caller, session: Session, now: Now, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> OfferPage:
        """List the rewards offered, and what keeps one from redeeming each."""
        found = await profiles.offers(
            session, program=caller.program, member_id=caller.member, cursor=cursor, limit=limit, now=now
        )
        return offer_page(found)


@get(
    "/v1/members/{member_id:str}/explanation",
    operation_id="get_member_explanation",
    scope=Scope.POINTS_READ,
    tags=["Points"],
    responses=problems(403, 404),
)
async def explain_balance(
    member_id: FromPath[str], caller: Caller, session: Session, now: Now, unit: UnitParameter = None
) -> ExplanationOut:
    """Tell why a member's balance is what it is, in words."""
    key = WalletKey(caller.program.id, member_id_of(member_id), unit or caller.program.rules.unit)
    found = await profiles.explanation(session, program=caller.program, key=key, now=now)
    return explanation_out(key.unit, found)


@get(
    "/v1/members/{member_id:str}/rewards",
    operation_id="list_member_rewards",
    scope=Scope.POINTS_READ,
    tags=["Rewards"],
    responses=problems(403, 404),
)
async def list_offers(
    member_id: FromPath[str],
    caller: Caller,
    session: Session,
    now: Now,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> OfferPage:
    """List the rewards offered, and what keeps a member from redeeming each."""
    found = await profiles.offers(
        session, program=caller.program, member_id=member_id_of(member_id), cursor=cursor, limit=limit, now=now
    )
    return offer_page(found)
