from dataclasses import dataclass

from loyalty.core.errors import Conflict, NotFound


class ProgramNotFound(NotFound):
    """There is no such program."""


@dataclass(eq=False, kw_only=True)
class SlugTaken(Conflict):
    """Another program has this slug."""

    slug: str


class LiveProgramHasNoTestClock(Conflict):
    """Only test programs carry a test clock."""


@dataclass(eq=False, kw_only=True)
class ClockWouldRunBackwards(Conflict):
    """The test clock only moves forward."""

    clock_at: str
