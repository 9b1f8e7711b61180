"""Whether a member can have a reward now, and if not why: the same for a list of offers and for what refuses."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from loyalty.core.clock import rfc3339
from loyalty.core.errors import LoyaltyError
from loyalty.members.errors import MemberMayNotBurn
from loyalty.points.errors import NotEnoughPoints
from loyalty.programs.policies import next_period, start_of_day
from loyalty.rewards.errors import (
    OutOfStock,
    RewardEnded,
    RewardForOtherMembers,
    RewardLimitReached,
    RewardNotYetAvailable,
    RewardOnlyGiven,
    RewardRetired,
)
from loyalty.rewards.rules import Terms


@dataclass(frozen=True)
class Offered:
    """A reward as it stands."""

    cost_points: int
    unit: str
    terms: Terms
    is_retired: bool
    in_stock: bool


@dataclass(frozen=True)
class Asking:
    """A member as they stand: `had` is how many of the reward they got within its period that were not taken back."""

    may_burn: bool
    spendable: int
    had: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Barrier:
    """One reason why not: the refusal that it is, and its sentence."""

    refusal: LoyaltyError
    text: str

    @property
    def code(self) -> str:
        return self.refusal.code

    @property
    def params(self) -> dict[str, Any]:
        return asdict(self.refusal)


def barriers(offered: Offered, asking: Asking, *, now: datetime, zone: ZoneInfo) -> Iterator[Barrier]:
    """Yield every reason why a member cannot redeem a reward now, the one to refuse with first."""
    if not asking.may_burn:
        yield Barrier(MemberMayNotBurn(), "The membership is suspended from spending points.")
    if offered.cost_points == 0:
        yield Barrier(RewardOnlyGiven(), "It is given, and not redeemed for points.")
    yield from withheld(offered, asking, now=now, zone=zone)
    if asking.spendable < offered.cost_points:
        yield Barrier(
            NotEnoughPoints(spendable=asking.spendable, requested=offered.cost_points),
            f"It needs {offered.cost_points - asking.spendable} more {offered.unit}.",
        )
    if not offered.in_stock:
        yield Barrier(OutOfStock(), "The last of it is gone.")


def withheld(offered: Offered, asking: Asking, *, now: datetime, zone: ZoneInfo) -> Iterator[Barrier]:
    """Yield why a reward's own terms keep it from a member, whatever it costs: a gift is held to them too."""
    terms = offered.terms
    if offered.is_retired:
        yield Barrier(RewardRetired(), "It is no longer offered.")
    if terms.available_from is not None and now < terms.available_from:
        begins = rfc3339(terms.available_from)
        yield Barrier(RewardNotYetAvailable(available_from=begins), f"It is offered from {begins} on.")
    if terms.available_until is not None and terms.available_until <= now:
        ended = rfc3339(terms.available_until)
        yield Barrier(RewardEnded(available_until=ended), f"It was offered until {ended}.")
    for name in sorted(terms.member_attributes):
        if asking.attributes.get(name) not in terms.member_attributes[name]:
            yield Barrier(RewardForOtherMembers(attribute=name), f"It is for members with another {name}.")
    limit = terms.per_member
    if limit is not None and asking.had >= limit.count:
        after = next_period(limit.period, now.astimezone(zone).date())
        until = None if after is None else rfc3339(start_of_day(after, zone))
        again = "" if until is None else f", and there is another from {until} on"
        yield Barrier(
            RewardLimitReached(count=limit.count, period=limit.period, until=until),
            f"The member had {limit.count} of {limit.count}{again}.",
        )
