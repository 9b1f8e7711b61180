from litestar import Controller, get

from loyalty.access.guards import Caller
from loyalty.access.rules import Scope
from loyalty.core.paging import DEFAULT_LIMIT, Cursor, Limit
from loyalty.core.problems import problems
from loyalty.core.web import Session
from loyalty.outbox import service as outbox
from loyalty.outbox.schemas import EventPage, event_page


class EventRoutes(Controller):
    path = "/v1/events"
    tags = ("Events",)

    @get("/", operation_id="list_events", scope=Scope.EVENTS_READ, responses=problems(403))
    async def listing(
        self, caller: Caller, session: Session, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> EventPage:
        """List what happened, in the order of its numbers. The last cursor stays good for asking again later."""
        page = await outbox.page(session, program_id=caller.program.id, cursor=cursor, limit=limit)
        return event_page(page)
