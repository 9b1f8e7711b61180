"""Attribution: which claim wins, which are refused, and why."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.members.rules import Standing, Status, Suspends
from loyalty.points.rules import WalletKey
from loyalty.referrals.rules import Campaign, Claim, Method, Touch, Waiting, attribute, qualifies, winner, with_advocate

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
JOINED = datetime(2026, 1, 1, tzinfo=UTC)
REFEREE, ADVOCATE, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)
CAMPAIGN = Campaign(UUID(int=9), 30, "points", 50, 25, 0, "EUR")
WAITING = Waiting(UUID(int=8), REFEREE, ADVOCATE, NOW, CAMPAIGN)
CODE = Claim(Method.CODE, "ANNA", ADVOCATE, JOINED, advocate_active=True)
CLICK = Claim(Method.CLICK, "B0BB", OTHER, JOINED, advocate_active=True, clicked_at=NOW - timedelta(hours=1))


def decide(*claims: Claim, campaign: Campaign | None = CAMPAIGN, has_bought: bool = False) -> list[tuple[str, str]]:
    touches = attribute(claims, campaign=campaign, referee_id=REFEREE, has_bought=has_bought, now=NOW)
    return [(touch.outcome, touch.reason) for touch in touches]


def test_a_single_valid_claim_wins() -> None:
    assert decide(CODE) == [("won", "code_accepted")]
    assert decide(CLICK) == [("won", "click_accepted")]
    assert decide(replace(CODE, method=Method.IMPORT)) == [("won", "import_accepted")]


def test_a_typed_code_beats_a_click_whichever_came_first() -> None:
    expected = [Touch(CODE, "won", "code_accepted"), Touch(CLICK, "lost", "a_stronger_claim_won")]
    for claims in ([CODE, CLICK], [CLICK, CODE]):
        touches = attribute(claims, campaign=CAMPAIGN, referee_id=REFEREE, has_bought=False, now=NOW)
        assert touches == expected
        assert winner(touches) is CODE


def test_a_refused_stronger_claim_leaves_the_win_to_the_weaker() -> None:
    inactive = replace(CODE, advocate_active=False)
    assert decide(inactive, CLICK) == [("refused", "advocate_not_active"), ("won", "click_accepted")]


def test_nobody_wins_without_claims() -> None:
    assert winner(attribute([], campaign=CAMPAIGN, referee_id=REFEREE, has_bought=False, now=NOW)) is None


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(0), ("won", "click_accepted")),
        (timedelta(days=30), ("won", "click_accepted")),
        (timedelta(days=30, microseconds=1), ("refused", "click_outside_window")),
        (timedelta(microseconds=-1), ("refused", "click_in_the_future")),
    ],
)
def test_a_click_counts_within_the_window_edges_included(age: timedelta, expected: tuple[str, str]) -> None:
    assert decide(replace(CLICK, clicked_at=NOW - age)) == [expected]


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        (Claim(Method.CLICK, None, refused="click_not_genuine"), "click_not_genuine"),
        (Claim(Method.CODE, "N0B0DY"), "code_unknown"),
        (replace(CODE, advocate_id=REFEREE), "own_code"),
        (replace(CODE, advocate_active=False), "advocate_not_active"),
        (replace(CODE, advocate_joined_at=NOW + timedelta(microseconds=1)), "advocate_joined_later"),
    ],
)
def test_a_claim_is_refused_with_the_reason(claim: Claim, reason: str) -> None:
    assert decide(claim) == [("refused", reason)]


def test_an_advocate_who_joined_at_the_same_instant_counts() -> None:
    assert decide(replace(CODE, advocate_joined_at=NOW)) == [("won", "code_accepted")]


def test_who_bought_before_is_not_a_new_customer() -> None:
    assert decide(CODE, CLICK, has_bought=True) == [("refused", "not_a_new_customer")] * 2


def test_without_a_campaign_no_claim_wins() -> None:
    assert decide(CODE, CLICK, campaign=None) == [("refused", "no_active_campaign")] * 2


@pytest.mark.parametrize(
    ("status", "suspends", "active"),
    [
        (Status.ACTIVE, None, True),
        (Status.SUSPENDED, Suspends.BURN, False),
        (Status.SUSPENDED, Suspends.EARN, False),
        (Status.CLOSED, None, False),
    ],
)
def test_only_an_active_member_is_an_advocate(status: Status, suspends: Suspends | None, active: bool) -> None:
    claim = with_advocate(Claim(Method.CODE, "ANNA"), Standing(ADVOCATE, JOINED, status, suspends))
    assert claim == Claim(Method.CODE, "ANNA", ADVOCATE, JOINED, advocate_active=active)


@pytest.mark.parametrize(
    ("minimum", "currency", "total", "enough"),
    [
        (0, "JPY", 0, True),
        (2_000, "EUR", 2_000, True),
        (2_000, "EUR", 1_999, False),
        (2_000, "JPY", 9_999, False),
    ],
)
def test_the_first_order_must_reach_the_minimum_in_its_currency(
    minimum: int, currency: str, total: int, enough: bool
) -> None:
    waiting = replace(WAITING, campaign=replace(CAMPAIGN, minimum_minor=minimum))
    assert qualifies(waiting, placed_at=NOW, currency=currency, total_minor=total) is enough


@pytest.mark.parametrize(("age", "enough"), [(timedelta(0), True), (timedelta(microseconds=1), False)])
def test_an_order_from_before_the_attribution_is_not_enough(age: timedelta, enough: bool) -> None:
    assert qualifies(WAITING, placed_at=NOW - age, currency="EUR", total_minor=0) is enough


def test_a_referral_pays_into_both_sides_wallets_of_its_unit() -> None:
    waiting = replace(WAITING, campaign=replace(CAMPAIGN, unit="stars"))
    program = UUID(int=7)
    assert waiting.wallets(program) == [WalletKey(program, ADVOCATE, "stars"), WalletKey(program, REFEREE, "stars")]


claims = st.builds(
    Claim,
    st.sampled_from(Method),
    st.none() | st.just("ANNA"),
    st.sampled_from([None, REFEREE, ADVOCATE, OTHER]),
    st.sampled_from([None, JOINED, NOW, NOW + timedelta(days=1)]),
    st.booleans(),
    st.sampled_from([None, NOW, NOW - timedelta(days=31), NOW + timedelta(days=1)]),
    refused=st.sampled_from([None, None, None, "click_not_genuine"]),
)


@given(drawn=st.lists(claims, max_size=4), bought=st.booleans(), campaign=st.sampled_from([CAMPAIGN, None]))
def test_at_most_one_claim_wins_and_it_is_a_valid_one(
    drawn: list[Claim], bought: bool, campaign: Campaign | None
) -> None:
    touches = attribute(drawn, campaign=campaign, referee_id=REFEREE, has_bought=bought, now=NOW)
    assert sorted(id(touch.claim) for touch in touches) == sorted(id(claim) for claim in drawn)
    outcomes = [touch.outcome for touch in touches]
    assert outcomes.count("won") <= 1
    assert "lost" not in outcomes[: outcomes.index("won")] if "won" in outcomes else "lost" not in outcomes
    chosen = winner(touches)
    if chosen is not None:
        assert not bought
        assert campaign is not None
        assert chosen.refused is None
        assert chosen.advocate_id not in {None, REFEREE}
        assert chosen.advocate_active
