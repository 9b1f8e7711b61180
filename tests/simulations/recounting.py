"""A history that a test lives through, and the plainest recount of it: the model that simulations are compared with."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from tests.earning import plain_judge
from tests.earning.till import advance, buy, line, make_rule
from tests.shop import Json, Shop
from tests.simulations.trying import A_POINT_A_EURO, draft, draft_rule, uuid

from loyalty.core import clock
from loyalty.earning.facts import Moment, Purchase
from loyalty.earning.rules import Allowance, RuleVersion
from loyalty.orders.rules import Line
from loyalty.programs.policies import LimitPeriod, period_start

ZONE = ZoneInfo("Europe/Berlin")
SKUS = {"oolong": "tea", "sencha": "tea", "bowler": "hats", "fez": "hats"}


@dataclass
class Bought:
    """An order as the test placed it, and what came of it."""

    member: str
    at: datetime
    lines: list[Line]
    channel: str
    attributes: dict[str, str]
    given: list[tuple[str, str, int]]


@dataclass
class History:
    orders: list[Bought] = field(default_factory=list)
    members: list[Json] = field(default_factory=list)


async def live_through(shop: Shop, *, seed: int, orders: int = 40) -> History:
    """Let some members buy this and that over a few months, ever later."""
    chance, past = random.Random(seed), History()  # noqa: S311 -- the same each time
    for city in ("oslo", "lima", "oslo", "rome"):
        attributes = {"city": city, "tier": "gold" if city == "oslo" else "blue"}
        past.members.append({**await shop.enrol(attributes=attributes), "attributes": attributes})
    at = datetime.fromisoformat((await shop.get("/v1/program"))["clock_at"])
    for _ in range(orders):
        at += timedelta(minutes=chance.randrange(60, 6_000))
        await advance(shop, clock.rfc3339(at))
        member = chance.choice(past.members)
        skus = chance.sample(sorted(SKUS), chance.randrange(1, 4))
        lines = [Line(sku, chance.randrange(1, 4), chance.randrange(50, 9_000), SKUS[sku]) for sku in skus]
        channel = chance.choice(["web", "till"])
        sent = [line(own.sku, own.total_minor, own.quantity, category=own.category) for own in lines]
        order = await buy(shop, member, *sent, channel=channel)
        given = [(award["rule_id"], award["unit"], award["points"]) for award in order["awards"]]
        past.orders.append(Bought(member["id"], at, lines, channel, dict(member["attributes"]), given))
    return past


async def various_rules(shop: Shop) -> None:
    """Put rules of every kind in force."""
    await make_rule(shop, "points_per_amount", **A_POINT_A_EURO)
    await make_rule(shop, "points_per_item", points=3, conditions={"include": {"categories": ["tea"]}})
    await make_rule(shop, "bonus", points=20, conditions={"attributes": {"tier": ["gold"]}})
    await make_rule(shop, "bonus", points=50, conditions={"order_numbers": [1], "channels": ["web", "till"]})
    await make_rule(shop, "multiplier", percent=150, conditions={"windows": [{"weekdays": ["mon", "tue", "sat"]}]})
    await make_rule(shop, "bonus", points=30, limits={"per_member": {"points": 70, "period": "month"}})
    await make_rule(shop, "bonus", points=11, unit="stars", limits={"budget": 150})


async def various_drafts(shop: Shop) -> None:
    """Draft changes to some rules, and rules that there were not before."""
    rules = (await shop.get("/v1/earning-rules"))["data"]
    kinds = {rule["versions"][0]["terms"]["kind"]: rule["id"] for rule in reversed(rules) if len(rule["versions"]) == 1}
    await draft(shop, kinds["points_per_amount"], "points_per_amount", points=3, step_minor={"EUR": 200})
    limits = {"per_member": {"points": 60, "period": "week"}, "per_order": 25}
    await draft(shop, kinds["multiplier"], "multiplier", percent=300, limits=limits, conditions={"channels": ["web"]})
    await draft_rule(shop, "bonus", points=17, conditions={"attributes": {"city": ["oslo", "rome"]}})
    await draft_rule(shop, "bonus", points=90, conditions={"every_nth_order": 3}, limits={"budget": 800})
    await draft_rule(shop, "points_per_item", points=2, unit="stars", combination="best")
    await draft_rule(
        shop, "points_per_amount", points=1, step_minor={"EUR": 300}, unit="stars", combination="best", priority=1
    )


def recount(past: History, rules: Sequence[RuleVersion]) -> list[list[tuple[str, str, int]]]:
    """Count orders again, one after the other, in the plainest way: what each rule gives each of them."""
    used: Counter[tuple[UUID, str, date]] = Counter()
    spent: Counter[UUID] = Counter()
    numbers: Counter[str] = Counter()
    gave = []
    for order in past.orders:
        local = order.at.astimezone(ZONE)
        numbers[order.member] += 1
        allowed, keys = {}, {}
        for rule in rules:
            limits, member, budget = rule.terms.limits, None, None
            if limits.per_member is not None:
                first = period_start(LimitPeriod(limits.per_member.period), local.date())
                keys[rule.rule_id] = (rule.rule_id, order.member, first)
                member = limits.per_member.points - used[keys[rule.rule_id]]
            if limits.budget is not None:
                budget = limits.budget - spent[rule.rule_id]
            allowed[rule.rule_id] = Allowance(member, budget)
        moment = Moment(local, attributes=order.attributes, order_number=numbers[order.member], allowed=allowed)
        purchase = Purchase("EUR", order.lines, order.channel)
        said = [own for own in plain_judge.judge(rules, purchase=purchase, moment=moment).values() if own.counts]
        for own in said:
            spent[own.rule.rule_id] += own.points
            if own.rule.rule_id in keys:
                used[keys[own.rule.rule_id]] += own.points
        gave.append([(str(own.rule.rule_id), own.rule.terms.unit, own.points) for own in said])
    return gave


def table(past: History, gave: Sequence[Sequence[tuple[str, str, int]]]) -> dict[str, Counter[Any]]:
    """Add up what rules gave: by unit, by month and unit, by rule and unit, by member and unit, and orders by rule."""
    sums: defaultdict[str, Counter[Any]] = defaultdict(Counter)
    for order, given in zip(past.orders, gave, strict=True):
        month = f"{order.at.astimezone(ZONE):%Y-%m}"
        for rule_id, unit, points in given:
            for name, key in (("whole", unit), ("month", (month, unit)), ("rule", (rule_id, unit))):
                sums[name][key] += points
            sums["member"][order.member, unit] += points
            sums["orders"][rule_id, unit] += 1
    return dict(sums)


def shown(report: Json, side: str) -> dict[str, Counter[Any]]:
    """Return one side of a report as a table of the same sums; zeros are not there."""
    return {
        "whole": +Counter({own["unit"]: own["points"][side] for own in report["points"]}),
        "month": +Counter(
            {
                (month["month"], own["unit"]): own["points"][side]
                for month in report["by_month"]
                for own in month["points"]
            }
        ),
        "rule": +Counter(
            {(str(uuid("rul", own["rule_id"])), own["unit"]): own["points"][side] for own in report["by_rule"]}
        ),
        "orders": +Counter(
            {(str(uuid("rul", own["rule_id"])), own["unit"]): own["orders"][side] for own in report["by_rule"]}
        ),
    }
