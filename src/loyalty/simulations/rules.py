from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Self, TypeVar
from uuid import UUID

from loyalty.core.clock import rfc3339
from loyalty.earning.rules import RuleVersion
from loyalty.programs.policies import BurnRate
from loyalty.simulations.errors import SimulationWindowRefused

LONGEST_DAYS: Final = 3_660
MOST_UNFINISHED: Final = 5
MOST_AFFECTED: Final = 20
MOST_ATTEMPTS: Final = 3

K = TypeVar("K", str, tuple[date, str], tuple[UUID, str])


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True)
class Tried:
    """A rule as it is tried, whenever it was to begin and to end.

    `number` is its version's among those of all rules. `since` is when it began, if it is in force: the orders from
    then on may have been counted by it.
    """

    rule: RuleVersion
    number: int
    since: datetime | None

    def has_counted(self, *, at: datetime, rule_set: int) -> bool:
        """Tell whether an order counted then, under the rule set of this number, was counted by this very version."""
        return self.since is not None and self.since <= at and self.number <= rule_set


@dataclass(frozen=True)
class Sides:
    """What was, and what would have been under the rules that are tried."""

    today: int = 0
    tried: int = 0

    def __add__(self, other: "Sides") -> "Sides":
        return Sides(self.today + other.today, self.tried + other.tried)

    @property
    def difference(self) -> int:
        return self.tried - self.today


@dataclass(frozen=True)
class Cell:
    """The points of one rule in one month (its first day), and the orders that got any."""

    month: date
    rule_id: UUID
    unit: str
    orders: Sides
    points: Sides


@dataclass(frozen=True)
class Affected:
    """A member, and how many points of a unit they got and would have got."""

    member_id: UUID
    unit: str
    points: Sides

    def written(self) -> dict[str, Any]:
        return {"member_id": str(self.member_id), "unit": self.unit, **asdict(self.points)}

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Self:
        return cls(UUID(written["member_id"]), written["unit"], Sides(written["today"], written["tried"]))


def check_window(placed_from: datetime, placed_until: datetime, *, now: datetime) -> None:
    """Accept a stretch of time that is over, not empty and at most ten years long."""
    if not placed_from < placed_until <= min(now, placed_from + timedelta(days=LONGEST_DAYS)):
        raise SimulationWindowRefused(longest_days=LONGEST_DAYS, now=rfc3339(now))


def state_of(*, orders_total: int | None, ended_at: datetime | None, problem: str | None) -> State:
    """Name how a simulation stands; it counts the orders before it looks at the first."""
    if ended_at is None:
        return State.QUEUED if orders_total is None else State.RUNNING
    return State.FINISHED if problem is None else State.FAILED


def sum_by(cells: Iterable[Cell], key: Callable[[Cell], K]) -> dict[K, tuple[Sides, Sides]]:
    """Add up the orders and the points of cells with the same key, in order of key."""
    sums: dict[K, tuple[Sides, Sides]] = {}
    for cell in sorted(cells, key=key):
        orders, points = sums.get(key(cell), (Sides(), Sides()))
        sums[key(cell)] = (orders + cell.orders, points + cell.points)
    return sums


def cost_of(points: Sides, *, rates: Mapping[str, BurnRate]) -> dict[str, Sides]:
    """Return what points would pay for, by currency, in minor units; each side is rounded down by itself."""
    return {
        currency: Sides(rates[currency].value_of(points.today), rates[currency].value_of(points.tried))
        for currency in sorted(rates)
    }
