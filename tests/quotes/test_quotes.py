"""Quotes: what an order would come to, and orders that rely on one."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.shop import Json, Shop, open_shop

from loyalty import worker

BURN = {"rates": {"EUR": {"points": 10, "amount_minor": 100}}, "least_points": 50, "most_percent": 50}


def euros(amount: int) -> Json:
    return {"amount": amount, "currency": "EUR"}


def basket(member: Json | None, *totals: int, **more: Any) -> Json:
    buyer = {"customer_id": member["customer_id"]} if member else {}
    lines = [{"sku": f"sku-{number}", "total": euros(total)} for number, total in enumerate(totals)]
    return {"currency": "EUR", "lines": lines, **buyer, **more}


async def rich(shop: Shop, points: int = 1_000, **changes: Any) -> Json:
    await shop.send("PATCH", "/v1/program", {"burn": BURN, **changes}, expect=200)
    member = await shop.enrol()
    await shop.post("/v1/adjustments", {"member_id": member["id"], "points": points, "reason": "start"})
    return member


async def test_a_quote_tells_what_an_order_would_come_to_and_nothing_happens(shop: Shop) -> None:
    member = await rich(shop, expiry={"kind": "after", "days": 10}, activation={"kind": "delay", "days": 2})
    before = await shop.wallet(member["id"])
    quote = await shop.post("/v1/quotes", basket(member, 3_000, 7_000, pay_points=300))
    assert (quote["total"], quote["left_to_pay"], quote["points_earned"]) == (euros(10_000), euros(7_000), 70)
    assert quote["paid_with_points"]["line_values"] == [euros(900), euros(2_100)]
    assert quote["offer"] == {"least": 50, "most": 500, "most_value": euros(5_000)}
    assert quote["spendable"] == 1_000
    assert quote["valid_until"] == "2026-01-01T12:15:00Z"
    assert (quote["points_begin_at"], quote["points_end_at"]) == ("2026-01-02T23:00:00Z", "2026-01-13T23:00:00Z")
    assert [(own["outcome"], own["points"]) for own in quote["trace"]] == [("counted", 70)]
    assert await shop.wallet(member["id"]) == before
    assert (await shop.get(f"/v1/orders?customer_id={member['customer_id']}"))["data"] == []


async def test_an_order_that_names_its_quote_gets_just_that(shop: Shop) -> None:
    member = await rich(shop)
    asked = basket(member, 3_000, 7_000, pay_points=300)
    quote = await shop.post("/v1/quotes", asked)
    order = await shop.post("/v1/orders", {**asked, "external_id": "o-1", "quote_id": quote["id"]})
    assert (order["points_earned"], order["paid_with_points"]) == (quote["points_earned"], quote["paid_with_points"])
    await shop.books_hold()


async def test_an_order_that_would_come_to_other_figures_is_refused_with_the_difference(shop: Shop) -> None:
    member = await rich(shop)
    asked = basket(member, 10_000, pay_points=300)
    quote = await shop.post("/v1/quotes", asked)
    rule = (await shop.get("/v1/earning-rules"))["data"][0]["id"]
    terms = {"kind": "points_per_amount", "points": 2, "step_minor": {"EUR": 100}}
    await shop.post("/v1/test-clock/advance", {"to": "2026-01-01T12:05:00Z"}, expect=200)
    await shop.post(f"/v1/earning-rules/{rule}/versions", {"terms": terms})
    body = {**asked, "external_id": "o-1", "quote_id": quote["id"]}
    refused = await shop.refuses("POST", "/v1/orders", body, status=409, code="quote_differs")
    assert refused["data"]["differences"] == [{"figure": f"points_of_{rule}", "quoted": 70, "now": 140}]
    await shop.post("/v1/orders", {**asked, "external_id": "o-1"})


async def test_points_that_would_end_sooner_than_quoted_are_a_difference(shop: Shop) -> None:
    member = await rich(shop)
    quote = await shop.post("/v1/quotes", basket(member, 10_000))
    await shop.send("PATCH", "/v1/program", {"expiry": {"kind": "after", "days": 1}}, expect=200)
    body = {**basket(member, 10_000), "external_id": "o-1", "quote_id": quote["id"]}
    refused = await shop.refuses("POST", "/v1/orders", body, status=409, code="quote_differs")
    ends = {"figure": "points_end_at", "quoted": None, "now": "2026-01-02T23:00:00Z"}
    assert refused["data"]["differences"] == [ends]


async def test_a_buyer_or_a_hold_that_is_not_there_is_not_quoted(shop: Shop, other_shop: Shop) -> None:
    member, stranger = await rich(shop), await other_shop.enrol()
    reply = await shop.send("POST", "/v1/quotes", basket(stranger, 10_000), expect=404)
    assert reply.json()["code"] == "customer_not_found"
    hold = await shop.post("/v1/holds", {"member_id": member["id"], "points": 100})
    await shop.post(f"/v1/holds/{hold['id']}/release")
    reply = await shop.send("POST", "/v1/quotes", basket(member, 10_000, hold_id=hold["id"]), expect=409)
    assert reply.json()["code"] == "hold_ended"


@pytest.mark.parametrize(
    ("minutes", "changes", "code"),
    [
        (15, {}, "quote_expired"),
        (0, {"lines": [{"sku": "other", "total": euros(10_000)}]}, "quote_is_for_other"),
        (0, {"pay_points": 299}, "quote_is_for_other"),
        (0, {"customer_id": None}, "quote_is_for_other"),
        (15, {"customer_id": None}, "quote_is_for_other"),
    ],
)
async def test_a_quote_is_for_one_basket_and_for_a_while(shop: Shop, minutes: int, changes: Json, code: str) -> None:
    member, other = await rich(shop), await shop.enrol()
    await shop.post("/v1/adjustments", {"member_id": other["id"], "points": 1_000, "reason": "start"})
    asked = basket(member, 10_000, pay_points=300)
    quote = await shop.post("/v1/quotes", asked)
    await shop.post("/v1/test-clock/advance", {"to": f"2026-01-01T12:{minutes:02}:00Z"}, expect=200)
    body = {**asked, "external_id": "o-1", "quote_id": quote["id"], **changes}
    if changes.get("customer_id", "") is None:
        body["customer_id"] = other["customer_id"]
    await shop.refuses("POST", "/v1/orders", body, status=409, code=code)


async def test_another_programs_quote_is_not_found(shop: Shop, other_shop: Shop) -> None:
    quote = await other_shop.post("/v1/quotes", basket(None, 10_000))
    body = {**basket(None, 10_000), "external_id": "o-1", "quote_id": quote["id"]}
    await shop.refuses("POST", "/v1/orders", body, status=404, code="quote_not_found")


async def test_a_guest_is_quoted_nothing_to_earn_and_nothing_to_pay_with(shop: Shop) -> None:
    await rich(shop)
    quote = await shop.post("/v1/quotes", basket(None, 10_000))
    assert (quote["points_earned"], quote["spendable"], quote["offer"], quote["trace"]) == (0, None, None, [])
    later = await shop.post("/v1/quotes", {**basket(None, 10_000), "external_customer_id": "nobody-yet"})
    body = {**basket(None, 10_000), "external_customer_id": "nobody-yet", "external_id": "o", "quote_id": later["id"]}
    await shop.post("/v1/orders", body)


async def test_more_points_than_there_are_are_refused_in_the_quote(shop: Shop) -> None:
    member = await rich(shop, points=100)
    refused = await shop.send("POST", "/v1/quotes", basket(member, 10_000, pay_points=101), expect=409)
    assert refused.json()["code"] == "not_enough_points"


async def test_old_quotes_are_forgotten(shop: Shop) -> None:
    quote = await shop.post("/v1/quotes", basket(None, 100))
    await shop.post("/v1/test-clock/advance", {"to": "2026-01-03T12:00:00Z"}, expect=200)
    await worker.run_due_jobs(shop.sessions)
    body = {**basket(None, 100), "external_id": "o", "quote_id": quote["id"]}
    await shop.refuses("POST", "/v1/orders", body, status=404, code="quote_not_found")


conditions = st.fixed_dictionaries(
    {},
    optional={
        "minimum_minor": st.builds(lambda minor: {"EUR": minor}, st.integers(1, 20_000)),
        "order_numbers": st.just([1]),
        "every_nth_order": st.just(2),
        "include": st.just({"skus": ["sku-0"]}),
        "windows": st.just([{"weekdays": ["thu"], "from": "12:00", "until": "14:00"}]),
    },
)
limits = st.fixed_dictionaries({}, optional={"per_order": st.integers(1, 100), "budget": st.integers(1, 300)})
rules = st.one_of(
    st.builds(lambda points: {"kind": "bonus", "points": points}, st.integers(1, 50)),
    st.builds(lambda points: {"kind": "points_per_item", "points": points}, st.integers(1, 50)),
    st.builds(lambda percent: {"kind": "multiplier", "percent": percent}, st.integers(101, 400)),
)
combinations = st.sampled_from(["stack", "best", "exclusive"])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    drawn=st.lists(st.tuples(rules, conditions, limits, combinations, st.integers(0, 2)), max_size=4),
    baskets=st.lists(
        st.tuples(st.lists(st.integers(0, 9_000), min_size=1, max_size=3), st.none() | st.integers(50, 400)),
        min_size=1,
        max_size=4,
    ),
)
async def test_what_is_committed_is_what_was_quoted_where_nothing_changed(
    client: Any, app: Any, drawn: list[Any], baskets: list[Any]
) -> None:
    shop = await open_shop(client, app)
    member = await rich(shop)
    for number, (kind, asks, bounds, combination, priority) in enumerate(drawn):
        terms = {**kind, "conditions": asks, "limits": bounds, "combination": combination, "priority": priority}
        await shop.post("/v1/earning-rules", {"name": f"rule {number}", "terms": terms})
    for number, (totals, points) in enumerate(baskets):
        asked = basket(member, *totals, **({} if points is None else {"pay_points": points}))
        quoted = await shop.send("POST", "/v1/quotes", asked)
        named = {"external_id": f"o-{number}", **({"quote_id": quoted.json()["id"]} if quoted.is_success else {})}
        placed = await shop.send("POST", "/v1/orders", {**asked, **named})
        assert placed.is_success is quoted.is_success
        if quoted.is_success:
            told, came = quoted.json(), placed.json()
            same = ("points_earned", "paid_with_points", "trace", "total", "lines")
            assert {name: came[name] for name in same} == {name: told[name] for name in same}
        else:
            assert placed.json()["code"] == quoted.json()["code"]
    await shop.books_hold()
