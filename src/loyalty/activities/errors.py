from dataclasses import dataclass

from loyalty.core.errors import Conflict, NotFound


class ActivityNotFound(NotFound):
    """There is no such activity in this program."""


@dataclass(eq=False, kw_only=True)
class ActivityDiffers(Conflict):
    """An activity of this type and external id was recorded with other content."""

    activity_id: str


@dataclass(eq=False, kw_only=True)
class OccurredOutOfTime(Conflict):
    """The activity lies in the future, or longer ago than this program accepts."""

    earliest: str
    latest: str
