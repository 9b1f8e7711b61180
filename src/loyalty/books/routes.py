from typing import Annotated

from litestar import Controller, get
from litestar.params import QueryParameter

from loyalty.access.guards import Caller, Report
from loyalty.access.rules import Scope
from loyalty.books import service as books
from loyalty.books.schemas import (
    CohortsOut,
    RollForwardOut,
    SealPage,
    SealProofOut,
    cohorts_out,
    proof_out,
    roll_forward_out,
    seal_page,
)
from loyalty.core.paging import DEFAULT_LIMIT, Cursor, Limit
from loyalty.core.problems import problems
from loyalty.core.web import Session
from loyalty.points.routes import UnitParameter

FirstMonth = Annotated[
    str | None, QueryParameter(name="from", max_length=7, description="First month, YYYY-MM; eleven before the last.")
]
LastMonth = Annotated[
    str | None,
    QueryParameter(name="to", max_length=7, description="Last month, YYYY-MM; the present one unless given."),
]


class BookRoutes(Controller):
    path = "/v1/ledger"
    tags = ("Books",)

    @get("/roll-forward", operation_id="get_roll_forward", scope=Scope.METRICS_READ, responses=problems(403, 503))
    async def roll_forward(
        self,
        caller: Caller,
        report: Report,
        unit: UnitParameter = None,
        first: FirstMonth = None,
        last: LastMonth = None,
    ) -> RollForwardOut:
        """Tell month by month what is owed to members: what was issued, redeemed, expired, taken back."""
        own = unit or caller.program.rules.unit
        months, found = await books.roll_forward(
            report.session, program=caller.program, unit=own, first=first, last=last, now=report.now
        )
        present = report.now.astimezone(caller.program.rules.zone).date().replace(day=1)
        return roll_forward_out(months, found, is_present=months[-1].first >= present, as_of=report.now)

    @get("/cohorts", operation_id="get_cohorts", scope=Scope.METRICS_READ, responses=problems(403, 503))
    async def cohorts(self, caller: Caller, report: Report, unit: UnitParameter = None) -> CohortsOut:
        """Tell what has become of the points of each month, breakage among it."""
        found, own = await books.cohorts(report.session, program=caller.program, unit=unit or caller.program.rules.unit)
        return cohorts_out(found, own, as_of=report.now)

    @get("/seals", operation_id="list_ledger_seals", scope=Scope.POINTS_READ, responses=problems(403))
    async def seals(
        self, caller: Caller, session: Session, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> SealPage:
        """List the sealed days, the oldest first; keep the digests elsewhere, and no past entry can change unseen."""
        return seal_page(await books.seals(session, program_id=caller.program.id, cursor=cursor, limit=limit))

    @get("/seals/verification", operation_id="get_seal_verification", scope=Scope.POINTS_READ, responses=problems(403))
    async def prove(self, caller: Caller, session: Session) -> SealProofOut:
        """Digest every sealed day again, naming those in which a row was changed, removed or added."""
        return proof_out(await books.prove(session, program_id=caller.program.id))
