from litestar import Controller, get, patch
from litestar.params import JSONBody

from loyalty.access.guards import Caller, Now
from loyalty.access.rules import Scope
from loyalty.core.problems import problems
from loyalty.core.web import Session
from loyalty.programs import service as programs
from loyalty.programs.schemas import ProgramOut, ProgramPatch, program_out


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
        changed = await programs.change_settings(
            session, program_id=caller.program.id, name=data.name, changes=data.changes, actor=caller.actor, now=now
        )
        return program_out(changed)
