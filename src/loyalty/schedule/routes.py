from litestar import Controller, get, post
from litestar.params import JSONBody

from loyalty.access.guards import Caller
from loyalty.access.rules import Scope
from loyalty.core import clock
from loyalty.core.problems import problems
from loyalty.core.web import Session
from loyalty.jobs import service as jobs
from loyalty.programs.schemas import ClockAdvance, ProgramOut, program_out
from loyalty.schedule import service as schedule
from loyalty.schedule.schemas import JobList, job_list


class ScheduleRoutes(Controller):
    path = "/v1"
    tags = ("Program",)

    @post(
        "/test-clock/advance",
        operation_id="advance_test_clock",
        scope=Scope.CLOCK_WRITE,
        status_code=200,
        responses=problems(403, 409),
    )
    async def advance(self, data: JSONBody[ClockAdvance], caller: Caller, session: Session) -> ProgramOut:
        """Move a test program's clock forward; what would have happened on the way happens, in order."""
        moved = await schedule.advance_clock(session, program=caller.program, to=data.to, real_now=clock.now())
        return program_out(moved)

    @get("/jobs", operation_id="list_jobs", scope=Scope.PROGRAM_READ, responses=problems(403))
    async def jobs(self, caller: Caller, session: Session) -> JobList:
        """List the program's jobs: when each ran last, when it runs next, and why it failed if it did."""
        found = await jobs.listing(session, program_id=caller.program.id)
        return job_list(found, real_now=clock.now())
