from litestar import Controller, get, patch, post
from litestar.params import JSONBody

from loyalty.access.guards import Caller, Now
from loyalty.access.rules import Scope
from loyalty.core import clock
from loyalty.core.problems import problems
from loyalty.core.web import Session
from loyalty.programs import service as programs
from loyalty.programs.schemas import ClockAdvance, ProgramOut, ProgramPatch, program_out


class ProgramRoutes(Controller):
    path = "/v1"
    tags = ("Program",)

    @get("/program", operation_id="get_program", scope=Scope.PROGRAM_READ, responses=problems(403))
    async def read(self, caller: Caller) -> ProgramOut:
        """Read the program and the settings in force."""
        return program_out(caller.program)

    @patch("/program", operation_id="update_program", scope=Scope.PROGRAM_WRITE, responses=problems(403))
    async def update(self, data: JSONBody[ProgramPatch], caller: Caller, session: Session, now: Now) -> ProgramOut:
        """Put a new version of the settings in force."""
        changes = data.model_dump(exclude_none=True, exclude={"name", "currencies"})
        if data.currencies:
            changes["currencies"] = tuple(data.currencies)
        changed = await programs.change_settings(
            session, program_id=caller.program.id, name=data.name, changes=changes, actor=caller.actor, now=now
        )
        return program_out(changed)

    @post(
        "/test-clock/advance",
        operation_id="advance_test_clock",
        scope=Scope.CLOCK_WRITE,
        status_code=200,
        responses=problems(403, 409),
    )
    async def advance(self, data: JSONBody[ClockAdvance], caller: Caller, session: Session) -> ProgramOut:
        """Move a test program's clock forward."""
        return program_out(
            await programs.advance_clock(session, program_id=caller.program.id, to=data.to, real_now=clock.now())
        )
