"""How long the largest order takes to count under many rules, without the database. `python -m benchmarks.judge`."""

import platform
import statistics
import time
from datetime import UTC, datetime
from uuid import UUID

from loyalty.earning.evaluation import judge_order
from loyalty.earning.facts import Moment, Purchase
from loyalty.earning.rules import RuleVersion
from loyalty.earning.terms import (
    Bonus,
    Combination,
    Conditions,
    Gives,
    Goods,
    Multiplier,
    PointsPerAmount,
    PointsPerItem,
    Terms,
)
from loyalty.orders.rules import Line

LINES = 500
RULES = 200
RUNS = 15
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
KINDS: tuple[Gives, ...] = (PointsPerAmount(3, {"EUR": 100}), PointsPerItem(2), Bonus(10), Multiplier(150))
# Every line; a category of ten; one brand in four left out.
CHOICES = (
    Conditions(),
    Conditions(Goods(categories=frozenset({"c-1"}))),
    Conditions(exclude=Goods(brands=frozenset({"b-1"}))),
)
COMBINATIONS = (Combination.STACK, Combination.STACK, Combination.STACK, Combination.BEST)


def main() -> None:
    lines = [Line(f"sku-{n}", 1 + n % 3, 999 + 7 * n, f"c-{n % 10}", f"b-{n % 4}") for n in range(LINES)]
    rules = [RuleVersion(UUID(int=n), 1, _terms(n), NOW, None) for n in range(RULES)]
    purchase, moment, taken = Purchase("EUR", lines), Moment(NOW), []
    for _ in range(RUNS):
        begun = time.perf_counter()
        verdicts = judge_order(rules, purchase=purchase, moment=moment)
        taken.append(1_000 * (time.perf_counter() - begun))
    counted = sum(own.counts for own in verdicts)
    interpreter = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"{LINES} lines, {RULES} rules, {counted} count: median {statistics.median(taken):.1f} ms", end=" ")
    print(f"(least {min(taken):.1f}, most {max(taken):.1f}, {RUNS} runs, {interpreter})")


def _terms(n: int) -> Terms:
    combination = COMBINATIONS[n // len(KINDS) % len(COMBINATIONS)]
    return Terms("points", KINDS[n % len(KINDS)], CHOICES[n % len(CHOICES)], combination=combination, priority=n % 5)


if __name__ == "__main__":
    main()
