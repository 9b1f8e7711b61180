"""Why a member cannot have a reward: every reason, no other, and the same for the list and for the refusal."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from loyalty.programs.policies import LimitPeriod
from loyalty.rewards.eligibility import Asking, Offered, barriers, withheld
from loyalty.rewards.rules import MemberLimit, Terms

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

moments = st.none() | st.integers(-3, 3).map(lambda hours: NOON + timedelta(hours=hours))
named = st.sampled_from(["tea", "milk"])
values = st.frozensets(st.sampled_from("ab"), min_size=1)
offers = st.builds(
    Offered,
    st.integers(0, 5),
    st.just("points"),
    st.builds(
        Terms,
        moments,
        moments,
        st.none() | st.builds(MemberLimit, st.integers(1, 3), st.sampled_from(LimitPeriod)),
        st.dictionaries(named, values),
    ),
    st.booleans(),
    st.booleans(),
)
askers = st.builds(
    Asking, st.booleans(), st.integers(0, 5), st.integers(0, 3), st.dictionaries(named, st.sampled_from("abc"))
)


def codes(offered: Offered, asking: Asking) -> list[str]:
    return [barrier.code for barrier in barriers(offered, asking, now=NOON, zone=BERLIN)]


@given(offered=offers, asking=askers)
def test_each_reason_is_told_exactly_when_it_is_one(offered: Offered, asking: Asking) -> None:
    terms, cost = offered.terms, offered.cost_points
    other = [name for name, wanted in terms.member_attributes.items() if asking.attributes.get(name) not in wanted]
    expected = {
        "member_may_not_burn": not asking.may_burn,
        "reward_only_given": cost == 0,
        "reward_retired": offered.is_retired,
        "reward_not_yet_available": terms.available_from is not None and terms.available_from > NOON,
        "reward_ended": terms.available_until is not None and terms.available_until <= NOON,
        "reward_for_other_members": bool(other),
        "reward_limit_reached": terms.per_member is not None and terms.per_member.count <= asking.had,
        "not_enough_points": asking.spendable < cost,
        "out_of_stock": not offered.in_stock,
    }
    found = codes(offered, asking)
    assert list(dict.fromkeys(found)) == [code for code, is_so in expected.items() if is_so]
    assert found.count("reward_for_other_members") == len(other)
    own = {barrier.code for barrier in withheld(offered, asking, now=NOON, zone=BERLIN)}
    assert own == set(found) - {"member_may_not_burn", "reward_only_given", "not_enough_points", "out_of_stock"}


@given(offered=offers, asking=askers)
def test_what_a_member_has_more_never_takes_a_reward_away(offered: Offered, asking: Asking) -> None:
    better = replace(asking, may_burn=True, spendable=asking.spendable + 1, had=max(0, asking.had - 1))
    assert set(codes(offered, better)) <= set(codes(offered, asking))


def test_reasons_are_told_in_words_and_in_parameters() -> None:
    begins = NOON + timedelta(days=1)
    terms = Terms(begins, None, MemberLimit(2, LimitPeriod.MONTH), {"tier": frozenset({"gold"})})
    offered = Offered(150, "stars", terms, is_retired=False, in_stock=True)
    found = list(barriers(offered, Asking(may_burn=True, spendable=30, had=2), now=NOON, zone=BERLIN))
    assert [(barrier.params, barrier.text) for barrier in found] == [
        ({"available_from": "2026-01-02T12:00:00Z"}, "It is offered from 2026-01-02T12:00:00Z on."),
        ({"attribute": "tier"}, "It is for members with another tier."),
        (
            {"count": 2, "period": "month", "until": "2026-01-31T23:00:00Z"},
            "The member had 2 of 2, and there is another from 2026-01-31T23:00:00Z on.",
        ),
        ({"spendable": 30, "requested": 150}, "It needs 120 more stars."),
    ]
