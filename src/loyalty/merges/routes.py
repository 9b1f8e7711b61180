from litestar import Controller, Response, get, post
from litestar.params import FromPath, JSONBody

from loyalty.access.guards import Call, Caller, Now
from loyalty.access.rules import Scope
from loyalty.core import ids
from loyalty.core.problems import problems
from loyalty.core.web import DryRun, Session, conclude
from loyalty.merges import service as merges
from loyalty.merges.errors import MergeNotFound
from loyalty.merges.schemas import MergeIn, MergeOut, merge_out


class MergeRoutes(Controller):
    path = "/v1/member-merges"
    tags = ("Members",)

    @post(
        "/", operation_id="create_member_merge", scope=Scope.POINTS_WRITE, responses=problems(403, 404, 409, 422, 503)
    )
    async def merge(
        self,
        data: JSONBody[MergeIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[MergeOut]:
        """Make two memberships of one person one: points, debt, orders, coupons, referrals and codes go over."""
        done = await merges.merge(
            session,
            program=caller.program,
            call=call,
            giver=data.from_member_id,
            receiver=data.into_member_id,
            reason=data.reason,
            actor=caller.actor,
            now=now,
        )
        view = await merges.get(session, program_id=caller.program.id, merge_id=done.resource_id)
        return await conclude(session, merge_out(view), done, dry_run=dry_run)

    @get("/{merge_id:str}", operation_id="get_member_merge", scope=Scope.POINTS_READ, responses=problems(403, 404))
    async def read(self, merge_id: FromPath[str], caller: Caller, session: Session) -> MergeOut:
        """Read a merge."""
        parsed = ids.parse("mrg", merge_id)
        if parsed is None:
            raise MergeNotFound
        return merge_out(await merges.get(session, program_id=caller.program.id, merge_id=parsed))
