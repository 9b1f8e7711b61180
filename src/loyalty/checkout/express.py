"""The short way of quotes and orders: those that wait at the same time are given, or placed, together."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.access.express import Together, Wanted
from loyalty.access.rules import Scope
from loyalty.checkout import placing, quoting_together
from loyalty.checkout.placed_replies import placed_order_out
from loyalty.checkout.placing import OPERATION, Known, Placed
from loyalty.checkout.quote_replies import quote_out
from loyalty.checkout.quoting import View
from loyalty.checkout.replies import placed_out
from loyalty.checkout.rules import Basket
from loyalty.checkout.schemas import OrderIn, QuoteIn
from loyalty.core.express import Address, Reply
from loyalty.programs.rules import Program


class OrderExpress(Together[Basket, Placed | Known]):
    operation = OPERATION
    address = Address("POST", "/v1/orders")
    scope = Scope.ORDERS_WRITE

    def read(self, content: Any, *, named: str) -> Basket | None:  # noqa: ARG002 -- the address names nothing
        basket = OrderIn.model_validate(content).basket()
        return basket if placing.is_ordinary(basket) else None

    async def do(
        self, session: AsyncSession, *, program: Program, wanted: Sequence[Wanted[Basket]], now: datetime
    ) -> Sequence[Placed | Known | None]:
        orders = [(own.call, own.what) for own in wanted]
        return await placing.place(session, program=program, wanted=orders, keyring=self._keyring, now=now)

    def reply(self, done: Placed | Known) -> Reply:
        if isinstance(done, Known):
            return Reply(msgspec.json.encode(placed_out(done.view)), done.status, replayed=True)
        return Reply(msgspec.json.encode(placed_order_out(done)), 201)


class QuoteExpress(Together[Basket, tuple[View, str]]):
    operation = "create_quote"
    address = Address("POST", "/v1/quotes")
    scope = Scope.ORDERS_WRITE
    has_key = False

    def read(self, content: Any, *, named: str) -> Basket | None:  # noqa: ARG002 -- the address names nothing
        basket = QuoteIn.model_validate(content).basket()
        return basket if placing.is_ordinary(basket) else None

    async def do(
        self, session: AsyncSession, *, program: Program, wanted: Sequence[Wanted[Basket]], now: datetime
    ) -> Sequence[tuple[View, str] | None]:
        baskets = [own.what for own in wanted]
        found = await quoting_together.quote(session, program=program, baskets=baskets, now=now)
        return [None if view is None else (view, program.rules.unit) for view in found]

    def reply(self, done: tuple[View, str]) -> Reply:
        view, unit = done
        return Reply(msgspec.json.encode(quote_out(view, unit=unit)), 201)
