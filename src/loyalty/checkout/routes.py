from dataclasses import replace
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter

from loyalty.access.guards import Call, Caller, Now, fingerprints, key_of
from loyalty.access.rules import Scope
from loyalty.checkout import claims, couponing, quoting, showing
from loyalty.checkout import service as checkout
from loyalty.checkout.batches import Batch, OrderBatchOut
from loyalty.checkout.placing import OPERATION
from loyalty.checkout.quote_replies import QuoteOut, quote_out
from loyalty.checkout.replies import (
    OrderOut,
    OrderPage,
    delivered_out,
    order_out,
    order_page,
    paid_out,
    placed_out,
)
from loyalty.checkout.schemas import (
    CouponCheckIn,
    CouponCheckOut,
    DeliveryIn,
    OrderBatchIn,
    OrderClaimIn,
    OrderIn,
    PaymentIn,
    QuoteIn,
    coupon_check_out,
)
from loyalty.core import ids
from loyalty.core.db import release
from loyalty.core.paging import DEFAULT_LIMIT, Cursor, Limit
from loyalty.core.problems import problems, request_id_of
from loyalty.core.web import EXPAND, DryRun, Session, conclude
from loyalty.members.errors import CustomerNotFound
from loyalty.members.routes import expand_members
from loyalty.orders import service as orders
from loyalty.orders.errors import OrderNotFound

Expand = Annotated[list[Literal["member"]] | None, EXPAND]
Buyer = Annotated[str | None, QueryParameter(max_length=40, description="Only this customer's, `cus_…`.")]


class OrderRoutes(Controller):
    path = "/v1/orders"
    tags = ("Orders",)

    @post("/", operation_id=OPERATION, scope=Scope.ORDERS_WRITE, responses=problems(403, 404, 409, 422, 503))
    async def place(
        self,
        data: JSONBody[OrderIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        state: State,
        dry_run: DryRun = False,
    ) -> Response[OrderOut]:
        """Record an order of anybody.

        A member's earns points. 200 when the same order was recorded under another key.
        """
        done = await checkout.place(
            session, program=caller.program, call=call, basket=data.basket(), keyring=state.keyring, now=now
        )
        view = await showing.view(session, program=caller.program, order_id=done.resource_id)
        return await conclude(session, placed_out(view), done, dry_run=dry_run)

    @post(
        "/batch",
        operation_id="create_orders",
        scope=Scope.ORDERS_WRITE,
        responses=problems(403, 503),
        status_code=200,
    )
    async def place_many(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[OrderBatchIn],
        caller: Caller,
        call: Call,
        session: Session,
        state: State,
    ) -> OrderBatchOut:
        """Record up to a hundred orders; each is placed or refused by itself, as if it had come alone.

        The key stands for one of each order. With the same key again those placed are told as they were, and those
        refused are decided afresh.
        """
        await release(session)
        contents = msgspec.json.decode(await request.body())["orders"]
        calls = [
            replace(
                call,
                operation=OPERATION,
                key=f"{call.key}/{number}",
                fingerprints=fingerprints(state.keyring, path=self.path, content=content),
            )
            for number, content in enumerate(contents)
        ]
        batch = Batch(
            express=state.order_express,
            sessions=state.sessions,
            keyring=state.keyring,
            caller=caller,
            credential=key_of(request),
            request_id=request_id_of(request),
        )
        return await batch.place([(own, order.basket()) for own, order in zip(calls, data.orders, strict=True)])

    @post(
        "/{order_id:str}/payments",
        operation_id="create_order_payment",
        scope=Scope.ORDERS_WRITE,
        responses=problems(403, 404, 409, 422, 503),
    )
    async def pay(
        self,
        order_id: FromPath[str],
        data: JSONBody[PaymentIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[OrderOut]:
        """Report that a placed order was paid: its pending points become spendable."""
        done = await checkout.pay(
            session, program=caller.program, call=call, order_id=_order_id(order_id), paid_at=data.paid_at, now=now
        )
        view = await showing.view(session, program=caller.program, order_id=done.resource_id)
        return await conclude(session, paid_out(view), done, dry_run=dry_run)

    @post(
        "/{order_id:str}/deliveries",
        operation_id="create_order_delivery",
        scope=Scope.ORDERS_WRITE,
        responses=problems(403, 404, 409, 422, 503),
    )
    async def deliver(
        self,
        order_id: FromPath[str],
        data: JSONBody[DeliveryIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        dry_run: DryRun = False,
    ) -> Response[OrderOut]:
        """Report that an order was delivered: points that waited for it become spendable."""
        done = await checkout.deliver(
            session,
            program=caller.program,
            call=call,
            order_id=_order_id(order_id),
            delivered_at=data.delivered_at,
            now=now,
        )
        view = await showing.view(session, program=caller.program, order_id=done.resource_id)
        return await conclude(session, delivered_out(view), done, dry_run=dry_run)

    @post(
        "/{order_id:str}/claim",
        operation_id="create_order_claim",
        scope=Scope.ORDERS_WRITE,
        responses=problems(403, 404, 409, 422, 503),
    )
    async def claim(
        self,
        order_id: FromPath[str],
        data: JSONBody[OrderClaimIn],
        caller: Caller,
        call: Call,
        session: Session,
        now: Now,
        state: State,
        dry_run: DryRun = False,
    ) -> Response[OrderOut]:
        """Make a guest's order a member's: it earns if it was placed at or after they joined."""
        done = await claims.claim(
            session,
            program=caller.program,
            call=call,
            order_id=_order_id(order_id),
            member_id=data.member_id,
            keyring=state.keyring,
            now=now,
        )
        view = await showing.view(session, program=caller.program, order_id=done.resource_id)
        return await conclude(session, placed_out(view), done, dry_run=dry_run)

    @get("/{order_id:str}", operation_id="get_order", scope=Scope.ORDERS_READ, responses=problems(403, 404))
    async def read(self, order_id: FromPath[str], caller: Caller, session: Session, expand: Expand = None) -> OrderOut:
        """Read an order and what it caused; `expand=member` needs `members:read`."""
        view = await showing.view(session, program=caller.program, order_id=_order_id(order_id))
        buyer = view.order.customer_id
        known = await expand_members(caller, session, wanted=bool(expand), customer_ids=[buyer])
        return msgspec.structs.replace(order_out(view), member=known.get(buyer) if buyer else None)

    @get("/", operation_id="list_orders", scope=Scope.ORDERS_READ, responses=problems(403, 404))
    async def listing(
        self,
        caller: Caller,
        session: Session,
        customer_id: Buyer = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
        expand: Expand = None,
    ) -> OrderPage:
        """List orders, the last recorded first; `expand=member` needs `members:read`."""
        buyer = ids.parse("cus", customer_id) if customer_id else None
        if customer_id and buyer is None:
            raise CustomerNotFound
        page = await orders.page(session, program_id=caller.program.id, customer_id=buyer, cursor=cursor, limit=limit)
        buyers = [order.customer_id for order in page.data]
        return order_page(page, await expand_members(caller, session, wanted=bool(expand), customer_ids=buyers))


@post(
    "/v1/quotes",
    operation_id="create_quote",
    scope=Scope.ORDERS_WRITE,
    tags=["Orders"],
    responses=problems(403, 404, 409),
)
async def quote(data: JSONBody[QuoteIn], caller: Caller, session: Session, now: Now) -> QuoteOut:
    """Tell what an order would earn and what points could pay for it; nothing of it happens."""
    view = await quoting.quote(session, program=caller.program, basket=data.basket(), now=now)
    return quote_out(view, unit=caller.program.rules.unit)


@post(
    "/v1/coupon-checks",
    operation_id="create_coupon_check",
    scope=Scope.REDEMPTIONS_READ,
    tags=["Redemptions"],
    status_code=200,
    responses=problems(403, 404),
)
async def check_coupon(data: JSONBody[CouponCheckIn], caller: Caller, session: Session, now: Now) -> CouponCheckOut:
    """Tell whether a coupon is good, for a member and for what is about to be bought where these are named.

    A read: nothing is used, and it needs no Idempotency-Key.
    """
    check = await couponing.check(
        session, program=caller.program, code=data.code, member_id=data.member_id, goods=data.goods(), now=now
    )
    return coupon_check_out(check, currency=data.currency)


def _order_id(text: str) -> UUID:
    order_id = ids.parse("ord", text)
    if order_id is None:
        raise OrderNotFound
    return order_id
