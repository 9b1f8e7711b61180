from typing import Annotated

from litestar import Controller, get
from litestar.params import FromPath, QueryParameter

from loyalty.access.guards import Caller, Now
from loyalty.access.rules import Scope
from loyalty.core.paging import DEFAULT_LIMIT, Cursor, Limit
from loyalty.core.problems import problems
from loyalty.core.web import Session
from loyalty.members import service as members
from loyalty.members.schemas import member_id_of
from loyalty.points import balances, openings
from loyalty.points import history as points_history
from loyalty.points import service as points
from loyalty.points.rules import WalletKey
from loyalty.points.schemas import (
    EntryPage,
    LotPage,
    VerificationOut,
    WalletList,
    entry_page,
    lot_page,
    verification_out,
    wallet_out,
)

UnitParameter = Annotated[
    str | None, QueryParameter(max_length=32, description="The point unit; the program's own unless given.")
]


class PointRoutes(Controller):
    path = "/v1"
    tags = ("Points",)

    @get(
        "/members/{member_id:str}/wallets",
        operation_id="list_member_wallets",
        scope=Scope.POINTS_READ,
        responses=problems(403, 404),
    )
    async def wallets(self, member_id: FromPath[str], caller: Caller, session: Session, now: Now) -> WalletList:
        """Read a member's balances."""
        parsed = member_id_of(member_id)
        await members.standing(session, program_id=caller.program.id, member_id=parsed)
        found = await balances.wallets(session, program=caller.program, member_id=parsed, now=now)
        return WalletList([wallet_out(view) for view in found])

    @get(
        "/members/{member_id:str}/entries",
        operation_id="list_member_entries",
        scope=Scope.POINTS_READ,
        responses=problems(403, 404),
    )
    async def entries(
        self,
        member_id: FromPath[str],
        caller: Caller,
        session: Session,
        unit: UnitParameter = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> EntryPage:
        """List a wallet's entries, the newest first."""
        parsed = member_id_of(member_id)
        await members.standing(session, program_id=caller.program.id, member_id=parsed)
        key = WalletKey(caller.program.id, parsed, unit or caller.program.rules.unit)
        found = await points_history.entries(session, key=key, cursor=cursor, limit=limit)
        return entry_page(found, await openings.of_wallet(session, key))

    @get(
        "/members/{member_id:str}/lots",
        operation_id="list_member_lots",
        scope=Scope.POINTS_READ,
        responses=problems(403, 404),
    )
    async def lots(
        self,
        member_id: FromPath[str],
        caller: Caller,
        session: Session,
        now: Now,
        unit: UnitParameter = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> LotPage:
        """List a wallet's lots with their dates, the newest first."""
        parsed = member_id_of(member_id)
        await members.standing(session, program_id=caller.program.id, member_id=parsed)
        key = WalletKey(caller.program.id, parsed, unit or caller.program.rules.unit)
        return lot_page(
            await balances.lots(session, program=caller.program, key=key, cursor=cursor, limit=limit, now=now)
        )

    @get(
        "/ledger/verification", operation_id="get_ledger_verification", scope=Scope.POINTS_READ, responses=problems(403)
    )
    async def verify(self, caller: Caller, session: Session) -> VerificationOut:
        """Prove the program's books, naming every wallet that differs."""
        return verification_out(await points.verify(session, program_id=caller.program.id))
