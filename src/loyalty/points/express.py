"""The short way of reading balances: those asked for at the same time are read together."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.access.express import Together, Wanted
from loyalty.access.rules import Scope
from loyalty.core import ids
from loyalty.core.express import Address, Reply
from loyalty.core.rows import at_once
from loyalty.members import service as members
from loyalty.points import balances
from loyalty.points.balances import View
from loyalty.points.schemas import WalletList, wallet_out
from loyalty.programs.rules import Program


class WalletExpress(Together[UUID, list[View]]):
    operation = "list_member_wallets"
    address = Address("GET", "/v1/members/{}/wallets")
    scope = Scope.POINTS_READ
    has_key = False

    def read(self, content: Any, *, named: str) -> UUID | None:  # noqa: ARG002 -- it has no body
        return ids.parse("mem", named)

    async def do(
        self, session: AsyncSession, *, program: Program, wanted: Sequence[Wanted[UUID]], now: datetime
    ) -> Sequence[list[View] | None]:
        asked = {own.what for own in wanted}
        there, found = await at_once(
            session,
            members.standings(session, program_id=program.id, member_ids=asked),
            balances.wallets_of(session, program=program, member_ids=asked, now=now),
        )
        return [found[own.what] if own.what in there else None for own in wanted]

    def reply(self, done: list[View]) -> Reply:
        return Reply(msgspec.json.encode(WalletList([wallet_out(view) for view in done])), 200)
