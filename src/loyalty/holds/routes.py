from datetime import timedelta
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.params import FromPath, JSONBody

from loyalty.access.guards import Call, Caller, Now
from loyalty.access.rules import Scope
from loyalty.core import ids
from loyalty.core.problems import problems
from loyalty.core.web import DryRun, Session, conclude
from loyalty.holds import service as holds
from loyalty.holds.schemas import CaptureIn, HoldIn, HoldOut, held_out, hold_out
from loyalty.points.errors import HoldNotFound


class HoldRoutes(Controller):
    path = "/v1/holds"
    tags = ("Holds",)

    @post("/", operation_id="create_hold", scope=Scope.HOLDS_WRITE, responses=problems(403, 404, 409, 422, 503))
    async def create(
        self,
        data: JSONBody[HoldIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[HoldOut]:
        """Lock a member's points across all carts, until captured, released or expired."""
        done = await holds.create(
            session,
            program=caller.program,
            call=call,
            member_id=data.member_id,
            unit=data.unit or caller.program.rules.unit,
            amount=data.points,
            lifetime=timedelta(seconds=data.expires_in_seconds),
            metadata=data.metadata,
            now=now,
        )
        view = await holds.get(session, program_id=caller.program.id, hold_id=done.resource_id, now=now)
        return await conclude(session, held_out(view), done, dry_run=dry_run)

    @get("/{hold_id:str}", operation_id="get_hold", scope=Scope.POINTS_READ, responses=problems(403, 404))
    async def read(self, hold_id: FromPath[str], caller: Caller, session: Session, now: Now) -> HoldOut:
        """Read a hold."""
        view = await holds.get(session, program_id=caller.program.id, hold_id=_hold_id(hold_id), now=now)
        return hold_out(view)

    @post(
        "/{hold_id:str}/capture",
        operation_id="create_hold_capture",
        scope=Scope.HOLDS_WRITE,
        responses=problems(403, 404, 409, 422, 503),
    )
    async def capture(
        self,
        hold_id: FromPath[str],
        data: JSONBody[CaptureIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[HoldOut]:
        """Spend held points, all or some, and release the rest; once, under whatever key."""
        done = await holds.capture(
            session,
            program=caller.program,
            call=call,
            hold_id=_hold_id(hold_id),
            amount=data.points,
            now=now,
        )
        view = await holds.get(session, program_id=caller.program.id, hold_id=done.resource_id, now=now)
        return await conclude(session, hold_out(view), done, dry_run=dry_run)

    @post(
        "/{hold_id:str}/release",
        operation_id="create_hold_release",
        scope=Scope.HOLDS_WRITE,
        responses=problems(403, 404, 409, 422, 503),
    )
    async def release(
        self,
        hold_id: FromPath[str],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[HoldOut]:
        """Give held points back before their time."""
        done = await holds.release(session, program=caller.program, call=call, hold_id=_hold_id(hold_id), now=now)
        view = await holds.get(session, program_id=caller.program.id, hold_id=done.resource_id, now=now)
        return await conclude(session, hold_out(view), done, dry_run=dry_run)


def _hold_id(text: str) -> UUID:
    hold_id = ids.parse("hld", text)
    if hold_id is None:
        raise HoldNotFound
    return hold_id
