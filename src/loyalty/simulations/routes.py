from uuid import UUID

from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody

from loyalty.access.guards import Caller, Now
from loyalty.access.rules import Scope
from loyalty.core import ids
from loyalty.core.paging import DEFAULT_LIMIT, Cursor, Limit
from loyalty.core.problems import problems
from loyalty.core.web import Session
from loyalty.simulations import service as simulations
from loyalty.simulations.errors import SimulationNotFound
from loyalty.simulations.replies import SimulationOut, SimulationPage, simulation_out, simulation_page
from loyalty.simulations.schemas import SimulationIn


class SimulationRoutes(Controller):
    path = "/v1/simulations"
    tags = ("Earning",)

    @get("/", operation_id="list_simulations", scope=Scope.PROGRAM_READ, responses=problems(403))
    async def listing(
        self, caller: Caller, session: Session, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> SimulationPage:
        """List simulations, the newest first; each alone tells what it found. They are kept for ninety days."""
        page = await simulations.page(session, program_id=caller.program.id, cursor=cursor, limit=limit)
        return simulation_page(page)

    @post("/", operation_id="create_simulation", scope=Scope.PROGRAM_WRITE, responses=problems(403, 404, 409))
    async def create(self, data: JSONBody[SimulationIn], caller: Caller, session: Session, now: Now) -> SimulationOut:
        """Try rules on past orders, in the background: what they would have given, beside what was given.

        Nothing is paid. Orders count as they were placed, whatever went back since, and those that could not earn or
        were cancelled are left out on both sides. Each rule counts for the whole time, whatever its dates; its limits
        begin unused. Members' attributes are those of today where a rule has not counted the order itself.
        """
        report = await simulations.create(
            session,
            program=caller.program,
            placed_from=data.from_,
            placed_until=data.until,
            wanted=data.wanted,
            without=data.without,
            actor=caller.actor,
            now=now,
        )
        return simulation_out(report)

    @get("/{simulation_id:str}", operation_id="get_simulation", scope=Scope.PROGRAM_READ, responses=problems(403, 404))
    async def read(self, simulation_id: FromPath[str], caller: Caller, session: Session) -> SimulationOut:
        """Read how far a simulation is, and what it has found so far.

        Cost is what points of the program's own unit pay for at `rates`, those of when this was asked for: one figure
        for each currency in which they pay, alternatives that do not add up. Each is rounded down by itself, so months
        need not add up to the whole.
        """
        parsed = _simulation_id(simulation_id)
        return simulation_out(await simulations.get(session, program_id=caller.program.id, simulation_id=parsed))


def _simulation_id(text: str) -> UUID:
    parsed = ids.parse("sim", text)
    if parsed is None:
        raise SimulationNotFound
    return parsed
