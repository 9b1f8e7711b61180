"""The short way of enrolling: those who sign up at the same time are enrolled together."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.access.express import Together, Wanted
from loyalty.access.rules import Scope
from loyalty.core.errors import LoyaltyError
from loyalty.core.express import Address, Reply
from loyalty.core.idempotency import Claim
from loyalty.enrolment import together
from loyalty.enrolment.schemas import EnrolmentIn, enrolment_out
from loyalty.enrolment.service import View
from loyalty.enrolment.together import Wish
from loyalty.members.service import Newcomer
from loyalty.programs.rules import Program
from loyalty.referrals import service as referrals


class EnrolmentExpress(Together[Wish, tuple[Claim, View]]):
    operation = "create_member"
    address = Address("POST", "/v1/members")
    scope = Scope.MEMBERS_WRITE

    def read(self, content: Any, *, named: str) -> Wish | None:  # noqa: ARG002 -- the address names nothing
        body = EnrolmentIn.model_validate(content)
        if body.click_token is not None:
            return None
        try:
            code = None if body.referral_code is None else referrals.fold_code(body.referral_code)
        except LoyaltyError:
            return None
        return Wish(Newcomer(body.identifiers, body.person, body.external_order_id), code, body.channel)

    async def do(
        self, session: AsyncSession, *, program: Program, wanted: Sequence[Wanted[Wish]], now: datetime
    ) -> Sequence[tuple[Claim, View] | None]:
        wishes = [(own.call, own.what) for own in wanted]
        return await together.enrol(session, program=program, wanted=wishes, now=now)

    def reply(self, done: tuple[Claim, View]) -> Reply:
        claim, view = done
        return Reply(msgspec.json.encode(enrolment_out(view)), claim.status, claim.replayed)
