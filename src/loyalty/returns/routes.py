from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.params import FromPath, JSONBody

from loyalty.access.guards import Call, Caller, Now
from loyalty.access.rules import Scope
from loyalty.core import ids
from loyalty.core.problems import problems
from loyalty.core.web import DryRun, Session, conclude
from loyalty.orders.errors import OrderNotFound
from loyalty.orders.returning import ReturnKind
from loyalty.returns import history
from loyalty.returns import service as returns
from loyalty.returns.amendment_schemas import AmendmentIn, AmendmentList, AmendmentOut, amendment_out
from loyalty.returns.schemas import OrderCancellationIn, ReturnIn, ReturnList, ReturnOut, return_out


class ReturnRoutes(Controller):
    path = "/v1/orders/{order_id:str}"
    tags = ("Returns",)

    @post(
        "/returns",
        operation_id="create_order_return",
        scope=Scope.ORDERS_WRITE,
        responses=problems(403, 404, 409, 422, 503),
    )
    async def take_back(
        self,
        order_id: FromPath[str],
        data: JSONBody[ReturnIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[ReturnOut]:
        """Record that goods went back, and take back the points that the order no longer earns.

        They are counted under the very rules that the order was counted under. 200 when the same return was recorded
        under another key.
        """
        named = _order_id(order_id)
        done = await returns.take_back(
            session,
            program=caller.program,
            call=call,
            order_id=named,
            asked=data.asked(),
            actor=caller.actor,
            now=now,
        )
        view = await history.view(session, program_id=caller.program.id, order_id=named, return_id=done.resource_id)
        return await conclude(session, return_out(view), done, dry_run=dry_run)

    @post(
        "/cancellation",
        operation_id="create_order_cancellation",
        scope=Scope.ORDERS_WRITE,
        responses=problems(403, 404, 409, 422, 503),
    )
    async def cancel(
        self,
        order_id: FromPath[str],
        data: JSONBody[OrderCancellationIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[ReturnOut]:
        """Cancel an order: everything that is left of it goes back, and it is no purchase in any metric."""
        named = _order_id(order_id)
        done = await returns.take_back(
            session,
            program=caller.program,
            call=call,
            order_id=named,
            asked=data.asked(),
            actor=caller.actor,
            now=now,
        )
        view = await history.view(session, program_id=caller.program.id, order_id=named, return_id=done.resource_id)
        return await conclude(session, return_out(view), done, dry_run=dry_run)

    @get("/returns", operation_id="list_order_returns", scope=Scope.ORDERS_READ, responses=problems(403, 404))
    async def listing(self, order_id: FromPath[str], caller: Caller, session: Session) -> ReturnList:
        """List what went back of an order, the oldest first; a cancellation is among it."""
        found = await history.listing(
            session,
            program_id=caller.program.id,
            order_id=_order_id(order_id),
            kinds=(ReturnKind.RETURN, ReturnKind.CANCELLATION),
        )
        return ReturnList([return_out(view) for view in found])

    @post(
        "/amendments",
        operation_id="create_order_amendment",
        scope=Scope.ORDERS_WRITE,
        responses=problems(403, 404, 409, 422, 503),
    )
    async def amend(
        self,
        order_id: FromPath[str],
        data: JSONBody[AmendmentIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[AmendmentOut]:
        """Add lines to an order, remove some, or exchange them, and settle the points that it earns now.

        They are counted under the very rules and limits that the order was counted under. What is added is paid with
        money, and no coupon takes anything off it. 200 when the same amendment was recorded under another key.
        """
        named = _order_id(order_id)
        done = await returns.take_back(
            session,
            program=caller.program,
            call=call,
            order_id=named,
            asked=data.asked(),
            actor=caller.actor,
            now=now,
        )
        view = await history.view(session, program_id=caller.program.id, order_id=named, return_id=done.resource_id)
        return await conclude(session, amendment_out(view), done, dry_run=dry_run)

    @get("/amendments", operation_id="list_order_amendments", scope=Scope.ORDERS_READ, responses=problems(403, 404))
    async def amendments(self, order_id: FromPath[str], caller: Caller, session: Session) -> AmendmentList:
        """List what was changed about an order, the oldest first."""
        found = await history.listing(
            session, program_id=caller.program.id, order_id=_order_id(order_id), kinds=(ReturnKind.AMENDMENT,)
        )
        return AmendmentList([amendment_out(view) for view in found])


def _order_id(text: str) -> UUID:
    order_id = ids.parse("ord", text)
    if order_id is None:
        raise OrderNotFound
    return order_id
