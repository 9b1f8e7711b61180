"""The short way of redeeming: what is wanted at the same time is redeemed together."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.access.express import Together, Wanted
from loyalty.access.rules import Scope
from loyalty.core.express import Address, Reply
from loyalty.core.idempotency import Claim
from loyalty.programs.rules import Program
from loyalty.redemptions import together
from loyalty.redemptions.schemas import RedemptionIn, redeemed_out
from loyalty.redemptions.showing import View
from loyalty.redemptions.together import Wish


class RedemptionExpress(Together[Wish, tuple[Claim, View]]):
    operation = "create_redemption"
    address = Address("POST", "/v1/redemptions")
    scope = Scope.REDEMPTIONS_WRITE

    def read(self, content: Any, *, named: str) -> Wish:  # noqa: ARG002 -- the address names nothing
        body = RedemptionIn.model_validate(content)
        return Wish(body.member_id, body.reward_id, body.metadata)

    async def do(
        self, session: AsyncSession, *, program: Program, wanted: Sequence[Wanted[Wish]], now: datetime
    ) -> Sequence[tuple[Claim, View] | None]:
        wishes = [(own.call, own.what) for own in wanted]
        return await together.redeem(session, program=program, wanted=wishes, now=now)

    def reply(self, done: tuple[Claim, View]) -> Reply:
        claim, view = done
        return Reply(msgspec.json.encode(redeemed_out(view)), claim.status, claim.replayed)
