from dataclasses import dataclass

from loyalty.core.errors import Conflict, Invalid, NotFound


class SimulationNotFound(NotFound):
    """There is no such simulation in this program."""


@dataclass(eq=False, kw_only=True)
class SimulationWindowRefused(Invalid):
    """A simulation looks at orders placed from one instant until a later one, which has come."""

    longest_days: int
    now: str


class EarningRuleVersionNotFound(NotFound):
    """This rule has no such version that says anything."""


class EarningRuleCountsActivities(Conflict):
    """This rule counts what members do beside buying; a simulation looks at orders."""


@dataclass(eq=False, kw_only=True)
class TooManySimulations(Conflict):
    """So many simulations of this program have not ended yet; wait until one has."""

    most: int
