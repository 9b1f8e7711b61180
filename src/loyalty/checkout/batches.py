"""Many orders in one request: each is placed or refused by itself, as if it had come alone."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy.exc import DBAPIError

from loyalty.access.express import Wanted
from loyalty.access.rules import Caller, Credential
from loyalty.checkout import placing, showing
from loyalty.checkout import service as checkout
from loyalty.checkout.express import OrderExpress
from loyalty.checkout.placed_replies import placed_order_out
from loyalty.checkout.placing import Known
from loyalty.checkout.replies import OrderOut, placed_out
from loyalty.checkout.rules import Basket
from loyalty.core import clock
from loyalty.core.db import Sessions, transaction
from loyalty.core.errors import LoyaltyError
from loyalty.core.idempotency import Call
from loyalty.core.problems import Busy, Problem, problem_of
from loyalty.core.signing import Keyring


class BatchedOrderOut(msgspec.Struct):
    """What became of one order: the status that it would have heard alone, and the order, or why it was refused."""

    status: int
    order: OrderOut | None
    problem: Problem | None


class OrderBatchOut(msgspec.Struct):
    """What became of each order, in the order in which they were sent."""

    results: list[BatchedOrderOut]


@dataclass(frozen=True)
class Batch:
    """Places orders: those that can be go together, the others one after the other."""

    express: OrderExpress
    sessions: Sessions
    keyring: Keyring
    caller: Caller
    credential: Credential | None
    request_id: str

    async def place(self, orders: Sequence[tuple[Call, Basket]]) -> OrderBatchOut:
        together = await asyncio.gather(*(self._with_others(call, basket) for call, basket in orders))
        results = []
        for (call, basket), placed in zip(orders, together, strict=True):
            results.append(placed or await self._alone(call, basket))
        return OrderBatchOut(results)

    async def _with_others(self, call: Call, basket: Basket) -> BatchedOrderOut | None:
        if self.credential is None or not placing.is_ordinary(basket):
            return None
        done = await self.express.submit(Wanted(self.credential, call, basket))
        if done is None:
            return None
        if isinstance(done, Known):
            return BatchedOrderOut(done.status, placed_out(done.view), None)
        return BatchedOrderOut(201, placed_order_out(done), None)

    async def _alone(self, call: Call, basket: Basket) -> BatchedOrderOut:
        program, now = self.caller.program, self.caller.program.now(clock.now())
        try:
            async with transaction(self.sessions) as session:
                done = await checkout.place(
                    session, program=program, call=call, basket=basket, keyring=self.keyring, now=now
                )
                view = await showing.view(session, program=program, order_id=done.resource_id)
            return BatchedOrderOut(done.status, placed_out(view), None)
        except LoyaltyError as error:
            return self._refused(error)
        except (DBAPIError, OSError):
            return self._refused(Busy())

    def _refused(self, error: LoyaltyError) -> BatchedOrderOut:
        problem = problem_of(error, request_id=self.request_id)
        return BatchedOrderOut(problem.status, None, problem)
