"""The short way of holds: those made, or captured, at the same time go together."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.access.express import Together, Wanted
from loyalty.access.rules import Scope
from loyalty.core import ids
from loyalty.core.express import Address, Reply
from loyalty.core.idempotency import Claim
from loyalty.holds import together
from loyalty.holds.schemas import CaptureIn, HoldIn, held_out, hold_out
from loyalty.holds.service import View
from loyalty.holds.together import Capture, NewHold
from loyalty.programs.rules import Program


class HoldExpress(Together[NewHold, tuple[Claim, View]]):
    operation = "create_hold"
    address = Address("POST", "/v1/holds")
    scope = Scope.HOLDS_WRITE

    def read(self, content: Any, *, named: str) -> NewHold:  # noqa: ARG002 -- the address names nothing
        body = HoldIn.model_validate(content)
        lifetime = timedelta(seconds=body.expires_in_seconds)
        return NewHold(body.member_id, body.points, body.unit, lifetime, body.metadata)

    async def do(
        self, session: AsyncSession, *, program: Program, wanted: Sequence[Wanted[NewHold]], now: datetime
    ) -> Sequence[tuple[Claim, View] | None]:
        holds = [(own.call, own.what) for own in wanted]
        return await together.create(session, program=program, wanted=holds, now=now)

    def reply(self, done: tuple[Claim, View]) -> Reply:
        claim, view = done
        return Reply(msgspec.json.encode(held_out(view)), claim.status, claim.replayed)


class CaptureExpress(Together[Capture, tuple[Claim, View]]):
    operation = "create_hold_capture"
    address = Address("POST", "/v1/holds/{}/capture")
    scope = Scope.HOLDS_WRITE

    def read(self, content: Any, *, named: str) -> Capture | None:
        hold_id = ids.parse("hld", named)
        return None if hold_id is None else Capture(hold_id, CaptureIn.model_validate(content).points)

    async def do(
        self, session: AsyncSession, *, program: Program, wanted: Sequence[Wanted[Capture]], now: datetime
    ) -> Sequence[tuple[Claim, View] | None]:
        captures = [(own.call, own.what) for own in wanted]
        return await together.capture(session, program=program, wanted=captures, now=now)

    def reply(self, done: tuple[Claim, View]) -> Reply:
        claim, view = done
        return Reply(msgspec.json.encode(hold_out(view)), claim.status, claim.replayed)
