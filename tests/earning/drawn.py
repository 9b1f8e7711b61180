"""Rules, baskets and moments as Hypothesis draws them: small names, so that conditions meet lines often."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from loyalty.earning.facts import Moment, Purchase
from loyalty.earning.rules import Allowance, RuleVersion
from loyalty.earning.terms import (
    Bonus,
    Combination,
    Conditions,
    Gives,
    Goods,
    Limits,
    MemberLimit,
    Multiplier,
    PointsPerActivity,
    PointsPerAmount,
    PointsPerItem,
    Rounding,
    Terms,
    Window,
)
from loyalty.orders.rules import Line, LineKind
from loyalty.programs.policies import EarningBase, LimitPeriod

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DECIMALS = {"JPY": 0, "EUR": 2, "KWD": 3}
UNITS = ("points", "stars")


def seldom(drawn: st.SearchStrategy[Any], otherwise: Any) -> st.SearchStrategy[Any]:
    """Draw one time in four, so that a rule with many conditions still counts now and then."""
    return st.integers(0, 3).flatmap(lambda die: drawn if die == 3 else st.just(otherwise))


def some(*names: str) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(names), max_size=2)


rounding = st.sampled_from(Rounding)
amounts = st.integers(0, 300) | st.integers(0, 10**6) | st.integers(0, 40).map(lambda whole: whole * 50)
small = st.integers(1, 12) | st.integers(1, 500)
by_currency = st.dictionaries(st.sampled_from(sorted(DECIMALS)), st.integers(1, 3_000), min_size=1)
steps = st.fixed_dictionaries({name: st.sampled_from([1, 7, 10**places]) for name, places in DECIMALS.items()})
goods = st.builds(Goods, some("a", "b", "c"), some("tea", "hats"), some("acme", "zest"))
windows = st.builds(
    Window, st.frozensets(st.integers(0, 6), max_size=4), st.integers(0, 24 * 60 - 1), st.integers(1, 24 * 60)
)
conditions = st.builds(
    Conditions,
    include=seldom(goods, Goods()),
    exclude=seldom(goods, Goods()),
    minimum_minor=seldom(by_currency, {}),
    windows=seldom(st.lists(windows, max_size=2).map(tuple), ()),
    channels=seldom(some("web", "till"), frozenset()),
    stores=seldom(some("north", "south"), frozenset()),
    payment_methods=seldom(some("card", "cash"), frozenset()),
    attributes=seldom(st.dictionaries(st.sampled_from(["tier", "city"]), some("gold", "oslo"), max_size=2), {}),
    order_numbers=seldom(st.frozensets(st.integers(1, 4), max_size=2), frozenset()),
    every_nth_order=seldom(st.integers(2, 4), None),
)
limits = st.builds(
    Limits,
    per_order=seldom(small, None),
    per_member=seldom(st.builds(MemberLimit, small, st.sampled_from(LimitPeriod)), None),
    budget=seldom(small, None),
)
giving: st.SearchStrategy[Gives] = st.one_of(
    st.builds(PointsPerAmount, small, steps | by_currency, rounding), st.builds(PointsPerItem, small)
)
bonuses: st.SearchStrategy[Gives] = st.builds(Bonus, small)
multipliers: st.SearchStrategy[Gives] = st.builds(
    Multiplier, st.integers(101, 350) | st.sampled_from([150, 200, 300]), rounding
)
activities: st.SearchStrategy[Gives] = st.builds(PointsPerActivity, st.sampled_from(["reviewed", "signed_up"]), small)


def terms(
    gives: st.SearchStrategy[Gives],
    combination: st.SearchStrategy[Combination],
    asks: st.SearchStrategy[Conditions] = conditions,
) -> st.SearchStrategy[Terms]:
    return st.builds(Terms, st.sampled_from(UNITS), gives, asks, limits, combination, st.integers(-1, 2))


def rules(drawn: st.SearchStrategy[Terms], *, most: int = 6) -> st.SearchStrategy[list[RuleVersion]]:
    """Draw rules in no order; their ids tell which is older."""
    numbered = st.lists(drawn, min_size=1, max_size=most).map(
        lambda found: [RuleVersion(UUID(int=n), 1, own, MONDAY, None) for n, own in enumerate(found, start=1)]
    )
    return numbered.flatmap(st.permutations)


any_terms = terms(giving | bonuses | multipliers, st.sampled_from(Combination))
basic_lines = st.builds(
    Line,
    st.sampled_from(["a", "b", "c"]),
    st.integers(1, 4),
    amounts,
    st.sampled_from(["tea", "hats", None]),
    st.sampled_from(["acme", "zest", None]),
)


@st.composite
def lines(draw: st.DrawFn) -> Line:
    """Draw a line of any kind, with tax and points within its total."""
    line = draw(basic_lines)
    tax = draw(st.integers(0, line.total_minor))
    return Line(
        line.sku,
        draw(st.integers(0, 4)),
        line.total_minor,
        line.category,
        line.brand,
        draw(st.sampled_from([LineKind.PRODUCT, LineKind.PRODUCT, LineKind.GIFT_CARD, LineKind.SHIPPING])),
        draw(st.just(0) | amounts),
        tax,
        draw(st.just(0) | st.integers(0, line.total_minor)),
    )


def purchases(drawn: st.SearchStrategy[Line]) -> st.SearchStrategy[Purchase]:
    return st.builds(
        Purchase,
        st.sampled_from(sorted(DECIMALS)),
        st.lists(drawn, min_size=1, max_size=6),
        st.sampled_from(["web", "till", None]),
        st.sampled_from(["north", "south", None]),
        st.sampled_from(["card", "cash", None]),
    )


bases = st.builds(EarningBase, *[st.booleans()] * 5)


@st.composite
def moments(draw: st.DrawFn, known: list[RuleVersion], base: st.SearchStrategy[EarningBase] = bases) -> Moment:
    """Draw a moment in which rules with limits may have little left, or nothing."""
    left = st.integers(0, 3) | st.integers(0, 600)
    allowed = {}
    for rule in known:
        own = rule.terms.limits
        of_member = draw(left) if own.per_member else None
        of_budget = draw(left) if own.budget is not None else None
        if of_member is not None or of_budget is not None:
            allowed[rule.rule_id] = Allowance(of_member, of_budget)
    return Moment(
        MONDAY + timedelta(minutes=draw(st.integers(0, 14 * 24 * 60))),
        draw(base),
        draw(st.dictionaries(st.sampled_from(["tier", "city"]), st.sampled_from(["gold", "oslo", "lima"]))),
        draw(st.none() | st.integers(1, 8)),
        allowed,
    )
