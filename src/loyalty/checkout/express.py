"""The short way of placing an order: those that wait at the same time are placed together."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.access.express import Together, Wanted
from loyalty.access.rules import Scope
from loyalty.checkout import placing
from loyalty.checkout.placed_replies import placed_order_out
from loyalty.checkout.placing import OPERATION, Known, Placed
from loyalty.checkout.replies import placed_out
from loyalty.checkout.rules import Basket
from loyalty.checkout.schemas import OrderIn
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
