from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.params import FromPath, JSONBody

from loyalty.access.guards import Call, Caller, Now
from loyalty.access.rules import Scope
from loyalty.adjustments import bulk
from loyalty.adjustments import service as adjustments
from loyalty.adjustments.errors import AdjustmentNotFound
from loyalty.adjustments.schemas import (
    AdjustmentIn,
    AdjustmentOut,
    AdjustmentPage,
    BatchIn,
    BatchOut,
    LotExtensionIn,
    adjustment_out,
    adjustment_page,
    batch_out,
)
from loyalty.core import ids
from loyalty.core.paging import DEFAULT_LIMIT, Cursor, Limit
from loyalty.core.problems import problems
from loyalty.core.web import DryRun, Session, conclude
from loyalty.members import service as members
from loyalty.members.schemas import member_id_of
from loyalty.points.errors import LotNotFound


class AdjustmentRoutes(Controller):
    path = "/v1"
    tags = ("Adjustments",)

    @post(
        "/adjustments",
        operation_id="create_adjustment",
        scope=Scope.POINTS_WRITE,
        responses=problems(403, 404, 409, 422, 503),
    )
    async def adjust(
        self,
        data: JSONBody[AdjustmentIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[AdjustmentOut]:
        """Give a member points by hand, or take some, with the reason."""
        asked = data.asked(caller.program, actor=caller.actor)
        done = await adjustments.adjust(session, program=caller.program, call=call, asked=asked, now=now)
        view = await adjustments.get(session, program_id=caller.program.id, adjustment_id=done.resource_id)
        return await conclude(session, adjustment_out(view), done, dry_run=dry_run)

    @post(
        "/adjustment-batches",
        operation_id="create_adjustment_batch",
        scope=Scope.POINTS_WRITE,
        status_code=200,
        responses=problems(403, 409, 503),
    )
    async def adjust_many(
        self, data: JSONBody[BatchIn], caller: Caller, session: Session, now: Now, dry_run: DryRun = False
    ) -> BatchOut:
        """Give or take points for many members from a CSV; each row is done or refused by itself.

        It needs no Idempotency-Key: the rows carry theirs.
        """
        rows = bulk.read(data.csv)
        outcomes = await bulk.apply(session, program=caller.program, rows=rows, actor=caller.actor, now=now)
        if dry_run:
            await session.rollback()
        return batch_out(outcomes)

    @get(
        "/adjustments/{adjustment_id:str}",
        operation_id="get_adjustment",
        scope=Scope.POINTS_READ,
        responses=problems(403, 404),
    )
    async def read(self, adjustment_id: FromPath[str], caller: Caller, session: Session) -> AdjustmentOut:
        """Read an adjustment."""
        parsed = ids.parse("adj", adjustment_id)
        if parsed is None:
            raise AdjustmentNotFound
        return adjustment_out(await adjustments.get(session, program_id=caller.program.id, adjustment_id=parsed))

    @get(
        "/members/{member_id:str}/adjustments",
        operation_id="list_member_adjustments",
        scope=Scope.POINTS_READ,
        responses=problems(403, 404),
    )
    async def listing(
        self,
        member_id: FromPath[str],
        caller: Caller,
        session: Session,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> AdjustmentPage:
        """List what was changed by hand for a member, the newest first."""
        parsed = member_id_of(member_id)
        await members.standing(session, program_id=caller.program.id, member_id=parsed)
        page = await adjustments.page(
            session, program_id=caller.program.id, member_id=parsed, cursor=cursor, limit=limit
        )
        return adjustment_page(page)

    @post(
        "/lots/{lot_id:str}/extension",
        operation_id="create_lot_extension",
        scope=Scope.POINTS_WRITE,
        responses=problems(403, 404, 409, 422, 503),
    )
    async def extend(
        self,
        lot_id: FromPath[str],
        data: JSONBody[LotExtensionIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[AdjustmentOut]:
        """Let what is left of a lot live longer."""
        done = await adjustments.extend(
            session,
            program=caller.program,
            call=call,
            lot_id=_lot_id(lot_id),
            expires_at=data.expires_at,
            reason=data.reason,
            actor=caller.actor,
            now=now,
        )
        view = await adjustments.get(session, program_id=caller.program.id, adjustment_id=done.resource_id)
        return await conclude(session, adjustment_out(view), done, dry_run=dry_run)

    @post(
        "/lots/{lot_id:str}/reinstatement",
        operation_id="create_lot_reinstatement",
        scope=Scope.POINTS_WRITE,
        responses=problems(403, 404, 409, 422, 503),
    )
    async def reinstate(
        self,
        lot_id: FromPath[str],
        data: JSONBody[LotExtensionIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[AdjustmentOut]:
        """Give back what of a lot has expired."""
        done = await adjustments.reinstate(
            session,
            program=caller.program,
            call=call,
            lot_id=_lot_id(lot_id),
            expires_at=data.expires_at,
            reason=data.reason,
            actor=caller.actor,
            now=now,
        )
        view = await adjustments.get(session, program_id=caller.program.id, adjustment_id=done.resource_id)
        return await conclude(session, adjustment_out(view), done, dry_run=dry_run)


def _lot_id(text: str) -> UUID:
    lot_id = ids.parse("lot", text)
    if lot_id is None:
        raise LotNotFound
    return lot_id
