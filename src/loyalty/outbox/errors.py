from dataclasses import dataclass

from loyalty.core.errors import Conflict


@dataclass(eq=False)
class EventsNotNumbered(Conflict):
    """Some of these events have no number yet; let the worker run first."""

    code = "events_not_numbered"
    partition: str
