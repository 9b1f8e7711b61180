from dataclasses import dataclass

from loyalty.core.errors import Conflict


@dataclass(eq=False, kw_only=True)
class NamesNotUnique(Conflict):
    """Things of this program that are configured by name have the same name; give each a name of its own."""

    earning_rules: list[str]
    rewards: list[str]


class TimeZoneIsForGood(Conflict):
    """A program keeps its time zone: its days of expiry and the months of its books are cut by it."""
