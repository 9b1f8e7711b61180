from litestar import post
from litestar.params import JSONBody

from loyalty.access.guards import Caller, Now
from loyalty.access.rules import Scope
from loyalty.core.problems import problems
from loyalty.core.web import Session
from loyalty.imports import service as imports
from loyalty.imports.schemas import ImportIn, ImportOut, import_out


@post(
    "/v1/imports",
    operation_id="create_import",
    scope=Scope.IMPORTS_WRITE,
    tags=["Imports"],
    responses=problems(403, 409),
)
async def bring_in(data: JSONBody[ImportIn], caller: Caller, session: Session, now: Now) -> ImportOut:
    """Import up to 1,000 facts of history in one transaction.

    Needs no idempotency key: orders are known by their external id and enrolments by their customer, so a repetition
    skips them.
    """
    records = [record.record() for record in data.records]
    return import_out(await imports.apply(session, program=caller.program, records=records, now=now))
