from typing import Annotated

from litestar import Controller, Response, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from loyalty.access.guards import Call, Caller, Now
from loyalty.access.rules import Scope
from loyalty.activities import service as activities
from loyalty.activities.errors import ActivityNotFound
from loyalty.activities.schemas import ActivityIn, ActivityOut, ActivityPage, activity_out, activity_page
from loyalty.core import ids
from loyalty.core.paging import DEFAULT_LIMIT, Cursor, Limit
from loyalty.core.problems import problems
from loyalty.core.web import DryRun, Session, conclude
from loyalty.members.schemas import member_id_of

Doer = Annotated[str | None, QueryParameter(max_length=40, description="Only this member's, `mem_…`.")]


class ActivityRoutes(Controller):
    path = "/v1/activities"
    tags = ("Activities",)

    @post(
        "/", operation_id="create_activity", scope=Scope.ACTIVITIES_WRITE, responses=problems(403, 404, 409, 422, 503)
    )
    async def record(
        self,
        data: JSONBody[ActivityIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[ActivityOut]:
        """Record something that a member did, and what it earns.

        200 when the same activity was recorded under another key.
        """
        done = await activities.record(
            session,
            program=caller.program,
            call=call,
            member_id=data.member_id,
            type_=data.type,
            external_id=data.external_id,
            occurred_at=data.occurred_at,
            metadata=data.metadata,
            now=now,
        )
        view = await activities.get(session, program=caller.program, activity_id=done.resource_id)
        return await conclude(session, activity_out(view), done, dry_run=dry_run)

    @get("/{activity_id:str}", operation_id="get_activity", scope=Scope.ACTIVITIES_READ, responses=problems(403, 404))
    async def read(self, activity_id: FromPath[str], caller: Caller, session: Session) -> ActivityOut:
        """Read an activity and what it earned."""
        parsed = ids.parse("act", activity_id)
        if parsed is None:
            raise ActivityNotFound
        return activity_out(await activities.get(session, program=caller.program, activity_id=parsed))

    @get("/", operation_id="list_activities", scope=Scope.ACTIVITIES_READ, responses=problems(403, 404))
    async def listing(
        self,
        caller: Caller,
        session: Session,
        member_id: Doer = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> ActivityPage:
        """List activities, the last recorded first."""
        doer = member_id_of(member_id) if member_id else None
        page, earned = await activities.page(
            session, program_id=caller.program.id, member_id=doer, cursor=cursor, limit=limit
        )
        return activity_page(page, earned)
