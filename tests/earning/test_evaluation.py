"""Every kind of rule against a plain model of counting, and what must hold whatever the rules."""

import json
from datetime import datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.earning import drawn, plain_judge
from tests.earning.drawn import MONDAY

from loyalty.earning.definitions import read_terms, write_terms
from loyalty.earning.evaluation import judge_activity, judge_order
from loyalty.earning.facts import Moment, Purchase, read_facts, write_facts
from loyalty.earning.rules import Allowance, RuleVersion
from loyalty.earning.terms import (
    Bonus,
    Combination,
    Conditions,
    Gives,
    Goods,
    Limits,
    Multiplier,
    PointsPerActivity,
    PointsPerAmount,
    PointsPerItem,
    Rounding,
    Terms,
    Window,
    kind_of,
)
from loyalty.earning.verdicts import Outcome
from loyalty.orders.rules import Line, LineKind
from loyalty.programs.policies import EarningBase

STACK, BEST, EXCLUSIVE = Combination.STACK, Combination.BEST, Combination.EXCLUSIVE
MON, FRI, SUN = (frozenset({day}) for day in (0, 4, 6))
A_POINT_A_EURO = PointsPerAmount(1, {"EUR": 100})
AT_NOON = Moment(MONDAY.replace(hour=12))


def rule(number: int, gives: Gives, combination: Combination = STACK, priority: int = 0, **more: object) -> RuleVersion:
    own = Terms("points", gives, combination=combination, priority=priority, **more)  # type: ignore[arg-type]
    return RuleVersion(UUID(int=number), 1, own, MONDAY, None)


def euros(*totals: int, **more: object) -> Purchase:
    return Purchase("EUR", [Line(f"sku-{n}", 1, 100 * total) for n, total in enumerate(totals)], **more)  # type: ignore[arg-type]


def says(rules: list[RuleVersion], purchase: Purchase, moment: Moment = AT_NOON) -> dict[int, tuple[str, int]]:
    """Return outcome and points by the number of the rule."""
    verdicts = judge_order(rules, purchase=purchase, moment=moment)
    return {own.rule.rule_id.int: (own.outcome, own.points) for own in verdicts}


@given(st.data(), drawn.rules(drawn.any_terms), drawn.purchases(drawn.lines()))
def test_every_rule_says_what_the_plain_model_says(
    data: st.DataObject, rules: list[RuleVersion], purchase: Purchase
) -> None:
    moment = data.draw(drawn.moments(rules))
    expected = plain_judge.judge(rules, purchase=purchase, moment=moment)
    verdicts = judge_order(rules, purchase=purchase, moment=moment)
    assert [own.rule for own in verdicts] == sorted(rules, key=plain_judge.in_turn)
    for own in verdicts:
        said = expected[own.rule.rule_id]
        assert own.counts == said.counts
        assert own.counts or own.outcome in said.reasons
        assert own.points == (said.points if said.counts else 0)
        if own.counts:
            assert (list(own.line_points), own.base_minor) == (said.shares, said.base_minor)


@given(st.data(), drawn.rules(drawn.any_terms), drawn.purchases(drawn.lines()))
def test_shares_sum_to_the_points_of_lines_chosen_and_no_cap_is_passed(
    data: st.DataObject, rules: list[RuleVersion], purchase: Purchase
) -> None:
    moment = data.draw(drawn.moments(rules))
    for own in judge_order(rules, purchase=purchase, moment=moment):
        asks, limits = own.rule.terms.conditions, own.rule.terms.limits
        allowed = moment.allowed.get(own.rule.rule_id, Allowance())
        caps = {"per_order": limits.per_order, "per_member": allowed.member, "budget": allowed.budget}
        assert all(cap is None or own.points <= cap for cap in caps.values())
        assert own.capped_by is None or (own.points < own.counted and own.points == caps[own.capped_by])
        assert own.counts == (own.points > 0)
        assert sum(own.line_points) == own.points
        for line, points in zip(purchase.lines, own.line_points, strict=False):
            named = asks.include.is_anything or asks.include.hold(line.sku, line.category, line.brand)
            excluded = asks.exclude.hold(line.sku, line.category, line.brand)
            assert points == 0 or (named and not excluded and (line.quantity or line.total_minor))


# What makes a larger order earn less is left out: an exclusive rule that comes in, and a multiplier which finds less to
# raise where another line takes a share, or where a bonus becomes the best.
everything = st.builds(
    Conditions, minimum_minor=drawn.seldom(drawn.by_currency, {}), channels=drawn.seldom(drawn.some("web"), frozenset())
)
growing = (
    drawn.terms(drawn.giving, st.sampled_from([STACK, BEST]))
    | drawn.terms(drawn.bonuses, st.just(STACK))
    | drawn.terms(drawn.multipliers, st.sampled_from([STACK, BEST]), everything)
)
unmultiplied = drawn.terms(drawn.giving | drawn.bonuses, st.sampled_from([STACK, BEST]))


def totals(rules: list[RuleVersion], purchase: Purchase, moment: Moment) -> dict[str, int]:
    verdicts = judge_order(rules, purchase=purchase, moment=moment)
    return {unit: sum(own.points for own in verdicts if own.rule.terms.unit == unit) for unit in drawn.UNITS}


@given(
    st.data(),
    drawn.rules(growing) | drawn.rules(unmultiplied),
    drawn.purchases(drawn.basic_lines),
    st.lists(drawn.basic_lines, max_size=3),
)
def test_buying_more_never_earns_less(
    data: st.DataObject, rules: list[RuleVersion], purchase: Purchase, added: list[Line]
) -> None:
    moment = data.draw(drawn.moments(rules))
    grown = [
        Line(own.sku, own.quantity + more, own.total_minor + dearer, own.category, own.brand)
        for own in purchase.lines
        for more, dearer in [data.draw(st.tuples(st.integers(0, 2), st.just(0) | drawn.amounts))]
    ]
    larger = Purchase(purchase.currency, [*grown, *added], purchase.channel, purchase.store, purchase.payment_method)
    before, after = totals(rules, purchase, moment), totals(rules, larger, moment)
    assert all(before[unit] <= after[unit] for unit in drawn.UNITS)


by_facts = drawn.terms(
    drawn.bonuses,
    st.just(STACK),
    st.builds(Conditions, order_numbers=st.just(frozenset({2, 3})), every_nth_order=st.none() | st.just(4))
    | st.builds(Conditions, attributes=st.just({"tier": frozenset({"gold"})}))
    | drawn.conditions,
)


@given(st.data(), drawn.rules(by_facts), drawn.purchases(drawn.lines()))
def test_an_order_counts_the_same_by_the_facts_written_down(
    data: st.DataObject, rules: list[RuleVersion], purchase: Purchase
) -> None:
    moment = data.draw(drawn.moments(rules))
    kept = read_facts(json.loads(json.dumps(write_facts(rules, moment))), local=moment.local)
    assert judge_order(rules, purchase=purchase, moment=kept) == judge_order(rules, purchase=purchase, moment=moment)


@given(drawn.any_terms | drawn.terms(drawn.activities, st.sampled_from(Combination)))
def test_terms_are_read_as_they_were_written(terms: Terms) -> None:
    written = json.loads(json.dumps(write_terms(terms)))
    assert read_terms(kind_of(terms.gives), written) == terms


@given(drawn.windows, st.integers(0, 14 * 24 * 60))
def test_a_window_covers_the_minutes_that_lie_on_its_days(window: Window, minute: int) -> None:
    local = MONDAY + timedelta(minutes=minute)
    assert window.covers(local) == plain_judge.covers(window, local)


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        (Window(), ["Mon 00:00:00", "Sun 23:59:59"], []),
        (Window(frozenset({5, 6})), ["Sat 00:00:00", "Sun 23:59:59"], ["Fri 23:59:59", "Mon 00:00:00"]),
        (Window(MON, 960, 1080), ["Mon 16:00:00", "Mon 17:59:59"], ["Mon 15:59:59", "Mon 18:00:00", "Tue 17:00:00"]),
        (Window(FRI, 1320, 120), ["Fri 22:00:00", "Sat 01:59:59"], ["Fri 01:00:00", "Sat 02:00:00", "Sat 22:00:00"]),
        (Window(SUN, 1380, 60), ["Sun 23:00:00", "Mon 00:59:59"], ["Sun 00:30:00", "Mon 01:00:00", "Mon 23:00:00"]),
        (Window(MON, 1320, 0), ["Mon 22:00:00", "Mon 23:59:59"], ["Tue 00:00:00", "Mon 21:59:59"]),
        (Window(frozenset(), 1320, 1440), ["Wed 22:00:00"], ["Thu 00:00:00", "Wed 21:59:00"]),
    ],
)  # fmt: skip
def test_windows_begin_and_end_on_the_minute(window: Window, inside: list[str], outside: list[str]) -> None:
    assert [at for at in inside if not window.covers(on_the_week_of_monday(at))] == []
    assert [at for at in outside if window.covers(on_the_week_of_monday(at))] == []


def on_the_week_of_monday(written: str) -> datetime:
    day, _, clock = written.partition(" ")
    date = next(day_ for n in range(7) if f"{(day_ := MONDAY + timedelta(days=n)):%a}" == day)
    return datetime.combine(date, time.fromisoformat(clock), MONDAY.tzinfo)


def test_a_window_is_of_wall_time_on_the_days_that_clocks_change() -> None:
    berlin, hour = ZoneInfo("Europe/Berlin"), Window(from_minute=150, until_minute=180)
    first, second = (datetime(2026, 10, 25, 2, 45, fold=fold, tzinfo=berlin) for fold in (0, 1))
    assert (hour.covers(first), hour.covers(second)) == (True, True)
    skipped = datetime.fromisoformat("2026-03-29T01:15:00+00:00").astimezone(berlin)
    assert (f"{skipped:%H:%M}", hour.covers(skipped)) == ("03:15", False)


def test_of_the_best_only_the_one_that_gives_most_counts_and_the_older_of_equals() -> None:
    rules = [rule(1, Bonus(9), BEST), rule(2, A_POINT_A_EURO, BEST), rule(3, Bonus(10), BEST), rule(4, Bonus(1))]
    assert says(rules, euros(10)) == {
        1: (Outcome.NOT_THE_BEST, 0),
        2: (Outcome.COUNTED, 10),
        3: (Outcome.NOT_THE_BEST, 0),
        4: (Outcome.COUNTED, 1),
    }
    assert says(rules, euros(9))[3] == (Outcome.COUNTED, 10)


def test_the_best_is_found_after_limits() -> None:
    rules = [rule(1, Bonus(50), BEST, limits=Limits(per_order=5)), rule(2, Bonus(6), BEST)]
    assert says(rules, euros(1)) == {1: (Outcome.NOT_THE_BEST, 0), 2: (Outcome.COUNTED, 6)}
    spent = Moment(AT_NOON.local, allowed={UUID(int=2): Allowance(budget=0)})
    assert says(rules, euros(1), spent) == {1: (Outcome.COUNTED, 5), 2: (Outcome.LIMIT_REACHED, 0)}


@pytest.mark.parametrize(
    ("priorities", "expected"),
    [
        # (exclusive, stacking, best): what each gives
        ((1, 0, 0), (7, 0, 0)),
        ((1, 1, 2), (7, 0, 3)),
        ((1, 2, 0), (7, 5, 0)),
        ((0, 1, 1), (7, 5, 3)),
        ((-1, -2, -1000), (7, 0, 0)),
    ],
)
def test_an_exclusive_rule_holds_back_what_ranks_below(
    priorities: tuple[int, int, int], expected: tuple[int, int, int]
) -> None:
    gives = [(Bonus(7), EXCLUSIVE), (Bonus(5), STACK), (Bonus(3), BEST)]
    rules = [rule(n, *own, priority) for n, (own, priority) in enumerate(zip(gives, priorities, strict=True), start=1)]
    said = says(rules, euros(1))
    assert tuple(said[n][1] for n in (1, 2, 3)) == expected
    assert {said[n][0] for n in (1, 2, 3) if not said[n][1]} <= {Outcome.OUTRANKED}


def test_of_two_exclusive_rules_the_higher_one_counts_and_then_the_older() -> None:
    assert says([rule(1, Bonus(1), EXCLUSIVE, 1), rule(2, Bonus(2), EXCLUSIVE, 2)], euros(1))[2] == ("counted", 2)
    assert says([rule(2, Bonus(2), EXCLUSIVE), rule(1, Bonus(1), EXCLUSIVE)], euros(1)) == {
        1: (Outcome.COUNTED, 1),
        2: (Outcome.OUTRANKED, 0),
    }


def test_an_exclusive_rule_that_gives_nothing_holds_nobody_back() -> None:
    shut = rule(1, Bonus(7), EXCLUSIVE, 9, conditions=Conditions(channels=frozenset({"till"})))
    spent = rule(2, Bonus(7), EXCLUSIVE, 8)
    moment = Moment(AT_NOON.local, allowed={UUID(int=2): Allowance(member=0)})
    said = says([shut, spent, rule(3, A_POINT_A_EURO)], euros(4), moment)
    assert said == {1: (Outcome.OTHER_CHANNEL, 0), 2: (Outcome.LIMIT_REACHED, 0), 3: (Outcome.COUNTED, 4)}


def test_an_exclusive_rule_leaves_other_units_alone() -> None:
    stars = RuleVersion(UUID(int=2), 1, Terms("stars", Bonus(5), priority=-5), MONDAY, None)
    assert says([rule(1, Bonus(7), EXCLUSIVE), stars], euros(1))[2] == (Outcome.COUNTED, 5)


def test_a_multiplier_raises_what_rules_per_amount_and_per_item_give_and_no_bonus() -> None:
    stars = RuleVersion(UUID(int=9), 1, Terms("stars", PointsPerItem(50)), MONDAY, None)
    rules = [rule(1, A_POINT_A_EURO), rule(2, PointsPerItem(3)), rule(3, Bonus(100)), rule(4, Multiplier(200)), stars]
    assert says(rules, euros(10, 20))[4] == (Outcome.COUNTED, 36)
    assert says(rules[2:], euros(10, 20))[4] == (Outcome.NOTHING_TO_MULTIPLY, 0)


def test_multipliers_that_stack_each_add_their_own_extra_and_of_the_best_one_counts() -> None:
    tripling, doubling = Multiplier(300), Multiplier(200)
    stacked = says([rule(1, A_POINT_A_EURO), rule(2, tripling), rule(3, doubling)], euros(10))
    assert [stacked[n][1] for n in (1, 2, 3)] == [10, 20, 10]
    best = says([rule(1, A_POINT_A_EURO), rule(2, tripling, BEST), rule(3, doubling, BEST)], euros(10))
    assert [best[n][1] for n in (1, 2, 3)] == [10, 20, 0]


def test_a_multiplier_raises_only_the_lines_that_it_chooses() -> None:
    on_first = Conditions(include=Goods(skus=frozenset({"sku-0"})))
    rules = [rule(1, A_POINT_A_EURO), rule(2, Multiplier(150, Rounding.UP), conditions=on_first)]
    (_, extra) = judge_order(rules, purchase=euros(5, 20), moment=AT_NOON)
    assert (extra.base_minor, extra.counted, extra.points, extra.line_points) == (500, 3, 3, (3, 0))


def test_a_multiplier_below_an_exclusive_rule_is_held_back_and_above_it_raises_it() -> None:
    base = rule(1, A_POINT_A_EURO, EXCLUSIVE, 5)
    assert says([base, rule(2, Multiplier(200), STACK, 4)], euros(10))[2] == (Outcome.OUTRANKED, 0)
    assert says([base, rule(2, Multiplier(200), STACK, 6)], euros(10))[2] == (Outcome.COUNTED, 10)


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        (EarningBase(), [900, 0, 0]),
        (EarningBase(before_discounts=True), [1_000, 0, 0]),
        (EarningBase(without_tax=True), [740, 0, 0]),
        (EarningBase(shipping=True), [900, 500, 0]),
        (EarningBase(gift_cards=True), [900, 0, 5_000]),
        (EarningBase(paid_with_points=True), [1_200, 0, 0]),
        (EarningBase(True, True, True, True, True), [1_140, 480, 5_000]),
    ],
)
def test_the_program_says_what_of_a_line_counts(base: EarningBase, expected: list[int]) -> None:
    lines = [
        Line("shirt", 2, 1_200, discount_minor=100, tax_minor=160, points_minor=300),
        Line("post", 1, 500, kind=LineKind.SHIPPING, tax_minor=20),
        Line("card", 1, 5_000, kind=LineKind.GIFT_CARD),
    ]
    a_point_a_cent = rule(1, PointsPerAmount(1, {"EUR": 1}))
    (own,) = judge_order([a_point_a_cent], purchase=Purchase("EUR", lines), moment=Moment(MONDAY, base))
    assert (own.base_minor, list(own.line_points)) == (sum(expected), expected)


def test_an_activity_counts_under_the_rules_for_it_alone() -> None:
    rules = [
        rule(1, PointsPerActivity("reviewed", 20), BEST),
        rule(2, PointsPerActivity("reviewed", 30), BEST, limits=Limits(per_order=25)),
        rule(3, PointsPerActivity("signed_up", 99)),
        rule(4, Bonus(5)),
        rule(5, PointsPerActivity("reviewed", 7), conditions=Conditions(windows=(Window(frozenset({1})),))),
    ]
    said = judge_activity(rules, activity="reviewed", moment=AT_NOON)
    assert [(own.rule.rule_id.int, own.outcome, own.points) for own in said] == [
        (1, Outcome.NOT_THE_BEST, 0),
        (2, Outcome.COUNTED, 25),
        (5, Outcome.OUTSIDE_WINDOW, 0),
    ]
    assert says(rules, euros(1)) == {4: (Outcome.COUNTED, 5)}


def test_the_highest_exclusive_rule_holds_back_whatever_gives_before_it() -> None:
    lower = rule(1, A_POINT_A_EURO, EXCLUSIVE, priority=-1)
    higher, stacked = rule(2, Multiplier(150), EXCLUSIVE), rule(3, Multiplier(200))
    assert says([lower, higher, stacked], euros(10)) == {
        1: ("counted", 10),
        2: ("counted", 5),
        3: ("outranked", 0),
    }
