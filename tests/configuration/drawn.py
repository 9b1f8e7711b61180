"""Configurations as Hypothesis draws them: few names, so that one meets the other's things, and starts a day apart."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from tests.earning import drawn
from tests.shop import Json

from loyalty.configuration.document import Offer, write_offer, write_rule
from loyalty.earning.outlook import Outlook, Step
from loyalty.earning.terms import Combination, Conditions, PointsPerActivity, Terms
from loyalty.programs.policies import LimitPeriod
from loyalty.rewards.rules import MemberLimit, RewardKind
from loyalty.rewards.rules import Terms as RewardTerms

FIRST = datetime(2026, 1, 1, tzinfo=UTC)

words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
days = st.integers(0, 6).map(lambda number: FIRST + timedelta(days=number))
metadata = st.dictionaries(words, words, max_size=2)


def _is_written(terms: Terms) -> bool:
    """Whether the API takes terms so: windows last some time, and named attributes have values."""
    asked = terms.conditions
    return all(window.from_minute != window.until_minute for window in asked.windows) and all(asked.attributes.values())


def _of_activity(terms: Terms) -> Terms:
    asked = Conditions(windows=terms.conditions.windows, attributes=terms.conditions.attributes)
    return Terms(terms.unit, terms.gives, asked, terms.limits, terms.combination, terms.priority)


any_terms = (
    drawn.terms(drawn.giving | drawn.bonuses | drawn.multipliers | drawn.activities, st.sampled_from(Combination))
    .map(lambda terms: _of_activity(terms) if isinstance(terms.gives, PointsPerActivity) else terms)
    .filter(_is_written)
)


@st.composite
def rules(draw: st.DrawFn) -> Json:
    """Draw a rule of one to three versions, that begin on days of their own, and drafts."""
    starts = sorted(draw(st.lists(days, max_size=2, unique=True)))
    ends = [draw(st.sampled_from([None, None, timedelta(hours=12), timedelta(days=3)])) for _ in starts]
    steps = [
        Step(draw(any_terms), start, start + end if end else None) for start, end in zip(starts, ends, strict=True)
    ]
    drafts = draw(st.lists(any_terms, min_size=0 if steps else 1, max_size=1 + (not steps)))
    return write_rule(Outlook(tuple(steps), tuple(drafts)))


worths: st.SearchStrategy[tuple[RewardKind, Json]] = st.sampled_from(
    [
        (RewardKind.AMOUNT_OFF, {"amount": {"amount": 500, "currency": "EUR"}}),
        (RewardKind.PERCENT_OFF, {"percent": 10, "minimum": {"amount": 1, "currency": "JPY"}}),
        (RewardKind.FREE_SHIPPING, {}),
        (RewardKind.PERK, {"description": "no: 'quotes' — & more"}),
    ]
)


@st.composite
def rewards(draw: st.DrawFn) -> Json:
    kind, value = draw(worths)
    pooled = draw(st.booleans())
    begins = draw(st.none() | days)
    ends = draw(st.none() | st.just((begins or FIRST) + timedelta(days=9)))
    limit = draw(st.none() | st.builds(MemberLimit, st.integers(1, 3), st.sampled_from(LimitPeriod)))
    attributes = draw(st.dictionaries(words, st.frozensets(words, min_size=1, max_size=2), max_size=2))
    return write_offer(
        Offer(
            kind=kind,
            value=value,
            unit=draw(st.sampled_from(drawn.UNITS)),
            cost_points=draw(st.integers(0, 3)),
            stock=None if pooled else draw(st.none() | st.integers(0, 3)),
            pooled=pooled,
            coupon_days=draw(st.none() | st.integers(1, 3)),
            metadata=draw(metadata),
            terms=RewardTerms(begins, ends, limit, attributes),
        )
    )


settings = st.fixed_dictionaries(
    {},
    optional={
        "late_order_days": st.integers(0, 9),
        "currencies": st.sampled_from([["EUR"], ["JPY", "EUR"]]),
        "unit": st.sampled_from(drawn.UNITS),
        "expiry": st.sampled_from(
            [{"kind": "never"}, {"kind": "after", "days": 9}, {"kind": "dates", "dates": ["12-31", "02-29"]}]
        ),
        "activation": st.sampled_from([{"kind": "at_once"}, {"kind": "delay", "days": 2}]),
        "burn": st.sampled_from([{"rates": {}}, {"rates": {"EUR": {"points": 1, "amount_minor": 1}}}]),
    },
)
campaigns = st.fixed_dictionaries(
    {
        "name": words,
        "landing_url": st.just("https://shop.test/hi"),
        "advocate_points": st.integers(0, 2),
        "referee_points": st.integers(0, 2),
    },
    optional={"minimum": st.just({"amount": 5, "currency": "EUR"}), "window_days": st.integers(1, 2)},
)


def things(drawn_thing: st.SearchStrategy[Json], names: st.SearchStrategy[str]) -> st.SearchStrategy[list[Json]]:
    found = st.dictionaries(names, drawn_thing, max_size=3)
    return found.map(lambda chosen: [{"name": name, **thing} for name, thing in chosen.items()])


def documents(names: st.SearchStrategy[str] = words) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a configuration that names every part."""
    return st.fixed_dictionaries(
        {
            "version": st.just(1),
            "settings": settings,
            "earning_rules": things(rules(), names),
            "rewards": things(rewards(), names),
            "referral_campaign": st.none() | campaigns,
        }
    )
