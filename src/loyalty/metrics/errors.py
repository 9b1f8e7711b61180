from dataclasses import dataclass

from loyalty.core.errors import Invalid


class WindowRefused(Invalid):
    """A window runs from a local day to a later one, at most ten years on, between the years 1900 and 2200."""


class HalfAWindow(Invalid):
    """Give both `from` and `to`, or neither."""


class PeriodAndWindow(Invalid):
    """Give a period, or `from` and `to`, not both."""


class AsOfWithoutZone(Invalid):
    """`as_of` is an instant: RFC 3339 with a zone."""


@dataclass(eq=False, kw_only=True)
class AsOfNotAvailable(Invalid):
    """The report states what was known at an instant between the year 1970 and now."""

    now: str


@dataclass(eq=False, kw_only=True)
class HorizonRefused(Invalid):
    """The horizon is outside its bounds."""

    shortest_days: int
    longest_days: int
