from collections.abc import Collection, Sequence
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post
from litestar.params import FromPath, JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.access.guards import Call, Caller, Now
from loyalty.access.rules import Scope
from loyalty.core import ids
from loyalty.core.paging import DEFAULT_LIMIT, Cursor, Limit
from loyalty.core.problems import problems
from loyalty.core.web import EXPAND, DryRun, Session, answer, conclude
from loyalty.members import service as members
from loyalty.members.routes import expand_members
from loyalty.members.schemas import member_id_of
from loyalty.redemptions import service as redemptions
from loyalty.redemptions import showing
from loyalty.redemptions.errors import RedemptionNotFound
from loyalty.redemptions.schemas import (
    CancellationIn,
    CouponUseIn,
    OwnRedemptionIn,
    RedemptionIn,
    RedemptionOut,
    RedemptionPage,
    RewardGrantIn,
    grant_out,
    redeemed_out,
    redemption_out,
    redemption_page,
)
from loyalty.redemptions.showing import View
from loyalty.rewards import service as rewards
from loyalty.rewards.schemas import RewardOut, reward_out

Expand = Annotated[list[Literal["member", "reward"]] | None, EXPAND]


class RedemptionRoutes(Controller):
    """Redemptions on a member's behalf, by the storefront or support."""

    path = "/v1"
    tags = ("Redemptions",)

    @post(
        "/redemptions",
        operation_id="create_redemption",
        scope=Scope.REDEMPTIONS_WRITE,
        responses=problems(403, 404, 409, 422, 503),
    )
    async def redeem(
        self,
        data: JSONBody[RedemptionIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[RedemptionOut]:
        """Redeem a reward for a member's points; the reply carries its coupon."""
        done = await redemptions.redeem(
            session,
            program=caller.program,
            call=call,
            member_id=data.member_id,
            reward_id=data.reward_id,
            metadata=data.metadata,
            now=now,
        )
        view = await showing.get(session, program_id=caller.program.id, redemption_id=done.resource_id)
        return await conclude(session, redeemed_out(view), done, dry_run=dry_run)

    @post(
        "/reward-grants",
        operation_id="create_reward_grant",
        scope=Scope.REWARDS_WRITE,
        responses=problems(403, 404, 409, 422, 503),
    )
    async def grant(
        self,
        data: JSONBody[RewardGrantIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[RedemptionOut]:
        """Give a member a reward without points; the reply is a redemption for none, and carries its coupon."""
        done = await redemptions.grant(
            session,
            program=caller.program,
            call=call,
            member_id=data.member_id,
            reward_id=data.reward_id,
            actor=caller.actor,
            reason=data.reason,
            metadata=data.metadata,
            now=now,
        )
        view = await showing.get(session, program_id=caller.program.id, redemption_id=done.resource_id)
        shown = msgspec.structs.replace(redeemed_out(view), grant=grant_out(view))
        return await conclude(session, shown, done, dry_run=dry_run)

    @post(
        "/redemptions/{redemption_id:str}/cancellation",
        operation_id="create_redemption_cancellation",
        scope=Scope.REDEMPTIONS_WRITE,
        responses=problems(403, 404, 409, 422, 503),
    )
    async def cancel(
        self,
        redemption_id: FromPath[str],
        data: JSONBody[CancellationIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[RedemptionOut]:
        """Undo a redemption whose coupon is unused: its points return to the very lots they came from."""
        done = await redemptions.cancel(
            session,
            program=caller.program,
            call=call,
            redemption_id=_redemption_id(redemption_id),
            member_id=None,
            actor=caller.actor,
            reason=data.reason,
            now=now,
        )
        view = await showing.get(session, program_id=caller.program.id, redemption_id=done.resource_id)
        return await conclude(session, redemption_out(view), done, dry_run=dry_run)

    @post(
        "/coupon-uses",
        operation_id="create_coupon_use",
        scope=Scope.REDEMPTIONS_WRITE,
        responses=problems(403, 404, 409, 422, 503),
    )
    async def use_coupon(
        self, data: JSONBody[CouponUseIn], caller: Caller, call: Call, session: Session, now: Now
    ) -> Response[RedemptionOut]:
        """Use a coupon at the till, once: from then on its redemption cannot be cancelled."""
        done = await redemptions.use_coupon(
            session,
            program_id=caller.program.id,
            call=call,
            code=data.code,
            external_order_id=data.external_order_id,
            now=now,
        )
        view = await showing.get(session, program_id=caller.program.id, redemption_id=done.resource_id)
        return answer(redemption_out(view), done)

    @get(
        "/redemptions/{redemption_id:str}",
        operation_id="get_redemption",
        scope=Scope.REDEMPTIONS_READ,
        responses=problems(403, 404),
    )
    async def read(
        self, redemption_id: FromPath[str], caller: Caller, session: Session, expand: Expand = None
    ) -> RedemptionOut:
        """Read a redemption; `expand` needs `members:read` or `rewards:read`."""
        parsed = _redemption_id(redemption_id)
        view = await showing.get(session, program_id=caller.program.id, redemption_id=parsed)
        return (await _expanded([view], caller, session, expand or []))[0]

    @get(
        "/members/{member_id:str}/redemptions",
        operation_id="list_member_redemptions",
        scope=Scope.REDEMPTIONS_READ,
        responses=problems(403, 404),
    )
    async def listing(
        self,
        member_id: FromPath[str],
        caller: Caller,
        session: Session,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
        expand: Expand = None,
    ) -> RedemptionPage:
        """List a member's redemptions, the newest first; `expand` needs `members:read` or `rewards:read`."""
        parsed = member_id_of(member_id)
        await members.standing(session, program_id=caller.program.id, member_id=parsed)
        page = await showing.page(session, program_id=caller.program.id, member_id=parsed, cursor=cursor, limit=limit)
        return RedemptionPage(
            await _expanded(page.data, caller, session, expand or []), page.has_more, page.next_cursor
        )


class OwnRedemptionRoutes(Controller):
    """A member's own redemptions."""

    path = "/v1/me/redemptions"
    tags = ("Me",)

    @get("/", operation_id="list_my_redemptions", scope=Scope.ME_READ, responses=problems(403))
    async def listing(
        self, caller: Caller, session: Session, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> RedemptionPage:
        """List one's redemptions, the newest first."""
        page = await showing.page(
            session, program_id=caller.program.id, member_id=caller.member, cursor=cursor, limit=limit
        )
        return redemption_page(page)

    @post("/", operation_id="create_my_redemption", scope=Scope.ME_WRITE, responses=problems(403, 404, 409, 422, 503))
    async def redeem(
        self,
        data: JSONBody[OwnRedemptionIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[RedemptionOut]:
        """Redeem a reward for one's points; the reply carries its coupon."""
        done = await redemptions.redeem(
            session,
            program=caller.program,
            call=call,
            member_id=caller.member,
            reward_id=data.reward_id,
            metadata=data.metadata,
            now=now,
        )
        view = await showing.get(session, program_id=caller.program.id, redemption_id=done.resource_id)
        return await conclude(session, redeemed_out(view), done, dry_run=dry_run)

    @post(
        "/{redemption_id:str}/cancellation",
        operation_id="create_my_redemption_cancellation",
        scope=Scope.ME_WRITE,
        responses=problems(403, 404, 409, 422, 503),
    )
    async def cancel(
        self,
        redemption_id: FromPath[str],
        data: JSONBody[CancellationIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[RedemptionOut]:
        """Undo a redemption whose coupon is unused."""
        done = await redemptions.cancel(
            session,
            program=caller.program,
            call=call,
            redemption_id=_redemption_id(redemption_id),
            member_id=caller.member,
            actor=caller.actor,
            reason=data.reason,
            now=now,
        )
        view = await showing.get(session, program_id=caller.program.id, redemption_id=done.resource_id)
        return await conclude(session, redemption_out(view), done, dry_run=dry_run)


async def _expanded(
    views: Sequence[View], caller: Caller, session: AsyncSession, expand: Collection[str]
) -> list[RedemptionOut]:
    buyers = [view.redemption.member_id for view in views]
    known = await expand_members(caller, session, wanted="member" in expand, customer_ids=buyers)
    catalogue: dict[UUID, RewardOut] = {}
    if "reward" in expand:
        caller.demand(Scope.REWARDS_READ)
        named = {view.redemption.reward_id for view in views}
        found = await rewards.listed(session, program_id=caller.program.id, reward_ids=named)
        catalogue = {own.reward.id: reward_out(own) for own in found}
    return [
        msgspec.structs.replace(
            redemption_out(view),
            member=known.get(view.redemption.member_id),
            reward=catalogue.get(view.redemption.reward_id),
            grant=grant_out(view),
        )
        for view in views
    ]


def _redemption_id(text: str) -> UUID:
    redemption_id = ids.parse("red", text)
    if redemption_id is None:
        raise RedemptionNotFound
    return redemption_id
