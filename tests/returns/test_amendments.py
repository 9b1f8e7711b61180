"""Orders that are changed after they were placed, and points that follow, through the doors."""

import asyncio
from typing import Any

import pytest
from tests.earning.till import advance, balances, buy, give_back, line, make_rule, start_over
from tests.shop import Json, Shop

A_POINT_A_EURO: Json = {"points": 1, "step_minor": {"EUR": 100}}


async def amend(shop: Shop, order: Json, *, expect: int = 201, key: str | None = None, **body: Any) -> Json:
    path = f"/v1/orders/{order['id']}/amendments"
    reply = await shop.send("POST", path, {"currency": "EUR", **body}, expect=expect, key=key)
    found: Json = reply.json()
    return found


async def spend(shop: Shop, member: Json, points: int) -> None:
    reward = await shop.reward(cost=points)
    await shop.post("/v1/redemptions", {"member_id": member["id"], "reward_id": reward["id"]})


async def test_an_exchange_settles_the_difference(shop: Shop) -> None:
    member = await shop.enrol()
    order = await buy(shop, member, line("hat", 5_000), line("tea", 1_000))
    body: Json = {"removed": [{"line": 1, "quantity": 1}], "added": [line("coat", 8_000)], "reason": "other size"}
    tried = await shop.send("POST", f"/v1/orders/{order['id']}/amendments?dry_run=true", {"currency": "EUR", **body})
    assert (tried.status_code, tried.json()["points_added"], await balances(shop, member)) == (200, 30, {"points": 60})
    done = await amend(shop, order, **body)
    assert (done["refund"]["money"]["amount"], done["to_pay"]["amount"]) == (5_000, 8_000)
    assert (done["points_reversed"], done["points_added"]) == (0, 30)
    assert done["added"] == [{"line": 3, "sku": "coat", "quantity": 1, "total": {"amount": 8_000, "currency": "EUR"}}]
    assert [(entry["kind"], entry["points"], entry["balance_after"]) for entry in done["entries"]] == [("earn", 30, 90)]
    down = await amend(shop, order, removed=[{"line": 3, "quantity": 1}], added=[line("cap", 2_000)])
    assert (down["points_reversed"], down["points_added"], await balances(shop, member)) == (60, 0, {"points": 30})
    assert (await shop.get(f"/v1/orders/{order['id']}/amendments"))["data"] == [done, down]
    assert (await shop.get(f"/v1/orders/{order['id']}/returns"))["data"] == []
    assert [own["sku"] for own in (await shop.get(f"/v1/orders/{order['id']}"))["lines"]] == [
        "hat", "tea", "coat", "cap",
    ]  # fmt: skip
    back = await give_back(shop, order)
    assert (back["total"]["amount"], back["points_reversed"]) == (3_000, 30)
    assert await balances(shop, member) == {"points": 0}
    await shop.books_hold()


async def test_repeats_are_one_amendment_and_the_order_is_told_as_it_was_placed(shop: Shop) -> None:
    member = await shop.enrol()
    body = shop.order_body(customer_id=member["customer_id"])
    placed = await shop.send("POST", "/v1/orders", body, key="placing")
    order = placed.json()
    change: Json = {"external_id": "change-1", "added": [line("coat", 8_000)]}
    first = await amend(shop, order, key="one", **change)
    assert await amend(shop, order, key="one", **change) == first
    assert await amend(shop, order, expect=200, **change) == first
    other = {"currency": "EUR", "external_id": "change-1", "added": [line("coat", 8_100)]}
    await shop.refuses("POST", f"/v1/orders/{order['id']}/amendments", other, status=409, code="return_differs")
    repeated = await shop.send("POST", "/v1/orders", body, key="placing")
    assert (repeated.headers["Idempotency-Replayed"], repeated.json()) == ("true", order)
    again = await asyncio.gather(
        *(amend(shop, order, expect=200, external_id="change-1", added=[line("coat", 8_000)]) for _ in range(16))
    )
    assert again == [first] * 16
    assert await balances(shop, member) == {"points": order["points_earned"] + 80}


async def test_it_counts_by_the_rules_that_the_order_was_counted_by(shop: Shop) -> None:
    await start_over(shop)
    base = await make_rule(shop, "points_per_amount", name="base", unit="points", **A_POINT_A_EURO)
    big = await make_rule(
        shop, "bonus", name="big", unit="points", points=500, conditions={"minimum_minor": {"EUR": 10_000}}
    )
    member = await shop.enrol()
    order = await buy(shop, member, line("hat", 9_000))
    assert [award["points"] for award in order["awards"]] == [90]
    await advance(shop, "2026-01-06T08:00:00Z")
    for rule in (base, big):
        await shop.post(f"/v1/earning-rules/{rule}/retirement", {}, expect=200)
    await make_rule(shop, "points_per_amount", name="new", unit="points", points=50, step_minor={"EUR": 100})
    done = await amend(shop, order, added=[line("scarf", 1_000)])
    given = {own["rule_id"]: (own["points"], own["paid"]) for own in done["additions"]}
    assert given == {base: (10, 10), big: (500, 500)}
    back = await give_back(shop, order, lines=[{"line": 2, "quantity": 1}])
    assert (back["points_reversed"], await balances(shop, member)) == (510, {"points": 90})
    await shop.books_hold()


async def test_what_is_added_to_an_unpaid_order_waits_with_it(shop: Shop) -> None:
    member = await shop.enrol()
    order = await shop.order(50, customer_id=member["customer_id"], status="placed")
    await amend(shop, order, added=[line("coat", 3_000)])
    wallet = await shop.wallet(member["id"])
    assert (wallet["pending"], wallet["available"]) == (80, 0)
    await shop.post(f"/v1/orders/{order['id']}/payments", {})
    wallet = await shop.wallet(member["id"])
    assert (wallet["pending"], wallet["available"]) == (0, 80)
    assert (await shop.post(f"/v1/orders/{order['id']}/cancellation", {}))["points_reversed"] == 80
    await shop.refuses(
        "POST",
        f"/v1/orders/{order['id']}/amendments",
        {"currency": "EUR", "added": [line("tea", 100)]},
        status=409,
        code="order_cancelled",
    )
    await shop.books_hold()


async def test_what_was_let_go_is_made_up_for_first(shop: Shop) -> None:
    """Of 100 points 70 are spent; a return of 60 takes 30 and lets 30 go, so adding as much again gives 30 only."""
    await shop.send("PATCH", "/v1/program", {"clawback": "clamp_to_zero"}, expect=200)
    member = await shop.enrol()
    order = await buy(shop, member, line("hat", 6_000), line("tea", 4_000))
    await spend(shop, member, 70)
    await give_back(shop, order, lines=[{"line": 1, "quantity": 1}])
    assert await balances(shop, member) == {"points": 0}
    done = await amend(shop, order, added=[line("hat", 6_000)])
    assert [(own["points"], own["paid"]) for own in done["additions"]] == [(60, 30)]
    assert await balances(shop, member) == {"points": 30}
    await shop.books_hold()


async def test_debt_of_a_return_is_paid_by_what_an_amendment_gives(shop: Shop) -> None:
    await shop.send("PATCH", "/v1/program", {"clawback": "allow_debt"}, expect=200)
    member = await shop.enrol()
    order = await buy(shop, member, line("hat", 6_000), line("tea", 4_000))
    await spend(shop, member, 70)
    await give_back(shop, order, lines=[{"line": 1, "quantity": 1}])
    assert (await shop.wallet(member["id"]))["debt"] == 30
    await amend(shop, order, added=[line("hat", 6_000)])
    wallet = await shop.wallet(member["id"])
    assert (wallet["debt"], wallet["available"]) == (0, 30)
    await shop.books_hold()


async def test_a_budget_that_others_have_used_since_is_not_overshot(shop: Shop) -> None:
    await start_over(shop)
    await make_rule(shop, "points_per_amount", unit="points", **A_POINT_A_EURO, limits={"budget": 200})
    members = [await shop.enrol() for _ in range(8)]
    orders = [await buy(shop, member, line("hat", 1_000)) for member in members]
    await asyncio.gather(*(amend(shop, order, added=[line("coat", 5_000)]) for order in orders))
    assert sum([(await balances(shop, member))["points"] for member in members]) == 200
    await give_back(shop, orders[0])
    await shop.books_hold()


async def test_points_that_had_paid_go_back_for_what_they_had_paid_only(shop: Shop) -> None:
    await shop.send("PATCH", "/v1/program", {"burn": {"rates": {"EUR": {"points": 1, "amount_minor": 1}}}}, expect=200)
    member = await shop.enrol()
    await buy(shop, member, line("hat", 200_000))
    order = await buy(shop, member, line("hat", 3_000), line("tea", 1_000), pay_points=1_000)
    done = await amend(shop, order, removed=[{"line": 1, "quantity": 1}], added=[line("coat", 3_000)])
    assert (done["refund"]["points"], done["refund"]["money"]["amount"], done["to_pay"]["amount"]) == (
        750,
        2_250,
        3_000,
    )
    back = await give_back(shop, order)
    assert (back["refund"]["points"], back["refund"]["money"]["amount"]) == (250, 750 + 3_000)
    assert await balances(shop, member) == {"points": 2_000}
    await shop.books_hold()


async def test_a_guests_order_earns_as_amended_once_it_is_claimed(shop: Shop) -> None:
    member = await shop.enrol()
    order = await shop.order(50)
    assert (await amend(shop, order, added=[line("coat", 3_000)]))["points_added"] == 0
    await shop.post(f"/v1/orders/{order['id']}/claim", {"member_id": member["id"]})
    assert await balances(shop, member) == {"points": 80}


async def test_who_may_not_earn_gains_nothing_and_still_loses(shop: Shop) -> None:
    member = await shop.enrol()
    order = await buy(shop, member, line("hat", 5_000))
    barred = {"status": "suspended", "suspends": "earn", "reason": "checked"}
    await shop.post(f"/v1/members/{member['id']}/status-changes", barred)
    assert (await amend(shop, order, added=[line("coat", 8_000)]))["points_added"] == 0
    assert await balances(shop, member) == {"points": 50}
    assert (await amend(shop, order, removed=[{"line": 2, "quantity": 1}]))["points_reversed"] == 0
    assert (await give_back(shop, order))["points_reversed"] == 50


async def test_where_rules_displace_each_other_parts_take_what_the_whole_takes(shop: Shop) -> None:
    """A hundred for baskets from 50 euros displaces five a euro; without the hat these give more than the hundred."""
    await start_over(shop)
    await make_rule(
        shop, "bonus", unit="points", points=100, priority=1, combination="exclusive",
        conditions={"minimum_minor": {"EUR": 5_000}},
    )  # fmt: skip
    await make_rule(shop, "points_per_amount", unit="points", points=5, step_minor={"EUR": 100}, combination="best")
    one, two = await shop.enrol(), await shop.enrol()
    parts = await buy(shop, one, line("tea", 1_800), line("hat", 1_700), line("cup", 1_500))
    whole = await buy(shop, two, line("tea", 1_800), line("hat", 1_700), line("cup", 1_500))
    assert (await give_back(shop, parts, lines=[{"line": 1, "quantity": 1}]))["points_reversed"] == 0
    assert (await give_back(shop, parts, lines=[{"line": 2, "quantity": 1}]))["points_reversed"] == 25
    lines = [{"line": 1, "quantity": 1}, {"line": 2, "quantity": 1}]
    assert (await give_back(shop, whole, lines=lines))["points_reversed"] == 25
    assert await balances(shop, one) == await balances(shop, two) == {"points": 75}
    await shop.books_hold()


async def test_what_a_return_took_comes_back_when_the_next_lets_another_rule_give_more(shop: Shop) -> None:
    """The hat back, ten for tea displace a point a euro; the tea back as well, a point a euro of the rest is more."""
    await start_over(shop)
    await make_rule(shop, "points_per_amount", unit="points", **A_POINT_A_EURO)
    tea = {"include": {"skus": ["tea"]}}
    await make_rule(
        shop, "points_per_item", unit="points", points=10, priority=1, combination="exclusive", conditions=tea
    )
    await make_rule(
        shop, "points_per_item", unit="points", points=99, priority=2, combination="exclusive",
        conditions={"include": {"skus": ["hat"]}},
    )  # fmt: skip
    one, two = await shop.enrol(), await shop.enrol()
    basket = (line("hat", 100), line("tea", 100), line("coat", 5_000))
    parts, whole = await buy(shop, one, *basket), await buy(shop, two, *basket)
    assert (await give_back(shop, parts, lines=[{"line": 1, "quantity": 1}]))["points_reversed"] == 89
    second = await give_back(shop, parts, lines=[{"line": 2, "quantity": 1}])
    assert (second["points_reversed"], second["points_added"]) == (0, 40)
    lines = [{"line": 1, "quantity": 1}, {"line": 2, "quantity": 1}]
    assert (await give_back(shop, whole, lines=lines))["points_reversed"] == 49
    assert await balances(shop, one) == await balances(shop, two) == {"points": 50}
    assert (await give_back(shop, parts))["points_reversed"] == (await give_back(shop, whole))["points_reversed"] == 50
    await shop.books_hold()


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/currency", "/added"]),
        ({"currency": "EUR", "removed": [], "added": []}, ["/added"]),
        (
            {"currency": "EUR", "removed": [{"line": 1}, {"line": 1, "quantity": 1}], "added": [line("x", 5, 0)]},
            ["/added/0/quantity", "/removed/0", "/removed/1/line"],
        ),
        ({"currency": "EUR", "added": [line("x", 5, currency="USD")]}, ["/added/0/total/currency"]),
    ],
)
async def test_every_fault_is_listed(shop: Shop, body: Json, pointers: list[str]) -> None:
    order = await buy(shop, await shop.enrol(), line("hat", 5_000))
    path = f"/v1/orders/{order['id']}/amendments"
    refused = await shop.refuses("POST", path, body, status=400, code="validation_failed")
    assert sorted(fault["pointer"] for fault in refused["errors"]) == sorted(pointers)


async def test_what_does_not_fit_the_order_is_refused_and_changes_nothing(shop: Shop, other_shop: Shop) -> None:
    member = await shop.enrol()
    order = await buy(shop, member, line("hat", 5_000))
    path = f"/v1/orders/{order['id']}/amendments"
    added = [line("tea", 100)]
    for body, code in [
        ({"currency": "EUR", "removed": [{"line": 1, "quantity": 2}], "added": added}, "return_exceeds_order"),
        ({"currency": "EUR", "removed": [{"line": 2, "quantity": 1}]}, "return_exceeds_order"),
        ({"currency": "USD", "added": [line("tea", 100, currency="USD")]}, "currency_not_accepted"),
        ({"currency": "EUR", "added": added * 500}, "order_too_large"),
        ({"currency": "EUR", "added": [line("gold", 2**53 - 1)]}, "order_too_large"),
    ]:
        await shop.refuses("POST", path, body, status=409, code=code)
    await other_shop.refuses("POST", path, {"currency": "EUR", "added": added}, status=404, code="order_not_found")
    assert (await shop.get(f"/v1/orders/{order['id']}/amendments"))["data"] == []
    assert await balances(shop, member) == {"points": 50}


def euros(amount: int) -> Json:
    return {"amount": amount, "currency": "EUR"}
