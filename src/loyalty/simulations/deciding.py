"""What a batch of past orders got, and would have got, decided in memory from what was loaded for all of them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from loyalty.earning.evaluation import Judge
from loyalty.earning.facts import Moment, Purchase, read_facts
from loyalty.earning.limiting import Tally
from loyalty.earning.rules import PaidAward
from loyalty.earning.verdicts import Verdict
from loyalty.orders.rules import Placed
from loyalty.simulations.rules import Sides, Tried


@dataclass(frozen=True)
class Counted:
    """An order that could earn: by what it was counted, and what it was given."""

    order: Placed
    at: datetime
    rule_set: int
    facts: Mapping[str, Any]
    given: Sequence[PaidAward]


@dataclass(frozen=True)
class Known:
    """What the decisions need, loaded once for a batch; `numbers` are those of orders that did not keep theirs."""

    zone: ZoneInfo
    tried: Sequence[Tried]
    tally: Tally
    attributes: Mapping[UUID, Mapping[str, str]]
    numbers: Mapping[UUID, int]

    @cached_property
    def judge(self) -> Judge:
        return Judge(own.rule for own in self.tried)


@dataclass
class Sums:
    """What a batch comes to: orders by month; orders and points by month, rule and unit; points by member and unit."""

    months: Counter[date] = field(default_factory=Counter)
    orders: defaultdict[tuple[date, UUID, str], Sides] = field(default_factory=lambda: defaultdict(Sides))
    points: defaultdict[tuple[date, UUID, str], Sides] = field(default_factory=lambda: defaultdict(Sides))
    members: defaultdict[tuple[UUID, str], Sides] = field(default_factory=lambda: defaultdict(Sides))

    def add(self, month: date, *, member_id: UUID, rule_id: UUID, unit: str, points: Sides) -> None:
        self.orders[month, rule_id, unit] += Sides(int(points.today > 0), int(points.tried > 0))
        self.points[month, rule_id, unit] += points
        self.members[member_id, unit] += points


def compare(known: Known, orders: Sequence[Counted]) -> Sums:
    """Set what orders were given beside what they would have been; what that uses up of limits is in the tally."""
    sums = Sums()
    for own in orders:
        month, member_id = own.order.placed_at.astimezone(known.zone).date().replace(day=1), own.order.customer_id
        sums.months[month] += 1
        for was in own.given:
            today = Sides(today=was.points)
            sums.add(month, member_id=member_id, rule_id=was.rule_id, unit=was.unit, points=today)
        for said in _judge(known, own):
            if said.counts:
                rule, tried = said.rule, Sides(tried=said.points)
                sums.add(month, member_id=member_id, rule_id=rule.rule_id, unit=rule.terms.unit, points=tried)
    return sums


def _judge(known: Known, own: Counted) -> list[Verdict]:
    limited, member_id = known.judge.limited, own.order.customer_id
    then = read_facts(own.facts, local=own.at.astimezone(known.zone))
    day = then.local.date()
    moment = replace(
        then,
        order_number=then.order_number or known.numbers.get(own.order.id),
        barred=_barred(known, own, then),
        allowed=known.tally.allowances(limited, member_id=member_id, day=day),
    )
    verdicts = known.judge.judge(purchase=Purchase.of(own.order, own.order.lines), moment=moment)
    given = {said.rule.rule_id: said.points for said in verdicts if said.counts}
    known.tally.count(limited, member_id=member_id, day=day, points=given)
    return verdicts


def _barred(known: Known, own: Counted, then: Moment) -> frozenset[UUID]:
    """Return the rules that ask for attributes which the member had not.

    For a rule that counted the order this is known; for another one the attributes of today stand in.
    """
    now = Moment(then.local, attributes=known.attributes.get(own.order.customer_id, {}))
    return frozenset(
        tried.rule.rule_id
        for tried in known.tried
        if (then if tried.has_counted(at=own.at, rule_set=own.rule_set) else now).bars(tried.rule)
    )
