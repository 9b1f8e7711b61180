"""Earning rules through the doors: versions, and which of them an order is counted by."""

from typing import Any

from tests.shop import Json, Shop

TWO_A_EURO = {"kind": "points_per_amount", "points": 2, "step_minor": {"EUR": 100}}


async def base_rule(shop: Shop) -> str:
    return str((await shop.get("/v1/earning-rules"))["data"][0]["id"])


async def change(shop: Shop, **details: Any) -> Json:
    return await shop.post(f"/v1/earning-rules/{await base_rule(shop)}/versions", {"terms": TWO_A_EURO, **details})


async def advance(shop: Shop, to: str) -> None:
    await shop.post("/v1/test-clock/advance", {"to": to}, expect=200)


def counted(order: Json) -> list[tuple[int, int]]:
    return [(award["rule_version"], award["points"]) for award in order["awards"]]


async def test_orders_before_a_new_version_keep_the_old_one_and_later_ones_get_the_new(shop: Shop) -> None:
    member = await shop.enrol()
    before = await shop.order(10, customer_id=member["customer_id"])
    await advance(shop, "2026-01-02T12:00:00Z")
    assert [(own["version"], own["status"]) for own in (await change(shop))["versions"]] == [
        (1, "ended"),
        (2, "active"),
    ]
    late = await shop.order(10, customer_id=member["customer_id"], placed_at="2026-01-02T11:59:59.999999Z")
    after = await shop.order(10, customer_id=member["customer_id"])
    assert (counted(before), counted(late), counted(after)) == ([(1, 10)], [(1, 10)], [(2, 20)])
    assert counted(await shop.get(f"/v1/orders/{before['id']}")) == [(1, 10)]
    assert (await shop.wallet(member["id"]))["balance"] == 40
    await shop.books_hold()


async def test_a_version_for_the_future_waits_for_its_day(shop: Shop) -> None:
    member = await shop.enrol()
    await change(shop, active_from="2026-01-03T00:00:00Z")
    today = await shop.order(10, customer_id=member["customer_id"])
    await advance(shop, "2026-01-03T00:00:00Z")
    then = await shop.order(10, customer_id=member["customer_id"])
    assert (counted(today), counted(then)) == ([(1, 10)], [(2, 20)])


async def test_a_rule_that_has_ended_earns_nothing_more(shop: Shop) -> None:
    member = await shop.enrol()
    await advance(shop, "2026-01-02T00:00:00Z")
    await change(shop, active_until="2026-01-03T00:00:00Z")
    await advance(shop, "2026-01-03T00:00:00Z")
    order = await shop.order(10, customer_id=member["customer_id"])
    assert (order["awards"], order["points_earned"], order["entries"]) == ([], 0, [])
    assert (await shop.wallet(member["id"]))["version"] == 0


async def test_a_version_cannot_begin_in_the_past(shop: Shop) -> None:
    await shop.refuses(
        "POST",
        f"/v1/earning-rules/{await base_rule(shop)}/versions",
        {"terms": TWO_A_EURO, "active_from": "2026-01-01T11:59:59Z"},
        status=409,
        code="rule_begins_in_the_past",
    )


async def test_two_versions_cannot_begin_at_one_instant(shop: Shop) -> None:
    await change(shop, active_from="2026-01-05T00:00:00Z")
    await shop.refuses(
        "POST",
        f"/v1/earning-rules/{await base_rule(shop)}/versions",
        {"terms": TWO_A_EURO, "active_from": "2026-01-05T01:00:00+01:00"},
        status=409,
        code="rule_version_exists",
    )


async def test_a_version_cannot_end_before_it_begins(shop: Shop) -> None:
    await shop.refuses(
        "POST",
        f"/v1/earning-rules/{await base_rule(shop)}/versions",
        {"terms": TWO_A_EURO, "active_from": "2026-01-05T00:00:00Z", "active_until": "2026-01-05T00:00:00Z"},
        status=409,
        code="rule_ends_before_it_begins",
    )


async def test_a_rule_that_begins_now_cannot_have_ended_already(shop: Shop) -> None:
    body = {"name": "over", "terms": TWO_A_EURO, "active_until": "2026-01-01T12:00:00Z"}
    await shop.refuses("POST", "/v1/earning-rules", body, status=409, code="rule_ends_before_it_begins")


async def test_an_unknown_rule_has_no_versions_to_add_to(shop: Shop, other_shop: Shop) -> None:
    foreign = await base_rule(other_shop)
    for rule_id in (foreign, "rul_00000000000000000000000000", "rul_x", foreign.replace("rul_", "ord_")):
        path = f"/v1/earning-rules/{rule_id}/versions"
        await shop.refuses("POST", path, {"terms": TWO_A_EURO}, status=404, code="earning_rule_not_found")


async def test_a_new_rule_may_have_begun_in_the_past_and_counts_late_orders(shop: Shop) -> None:
    member = await shop.enrol()
    await advance(shop, "2026-01-03T12:00:00Z")
    first = await shop.order(10, customer_id=member["customer_id"], placed_at="2026-01-02T00:00:00Z")
    await shop.post("/v1/earning-rules", {"name": "more", "terms": TWO_A_EURO, "active_from": "2026-01-02T00:00:00Z"})
    second = await shop.order(10, customer_id=member["customer_id"], placed_at="2026-01-02T00:00:00Z")
    assert (first["points_earned"], second["points_earned"]) == (10, 30)
    assert counted(second) == [(1, 10), (1, 20)]


async def test_what_two_rules_give_is_told_of_each_and_credited_together(shop: Shop) -> None:
    member = await shop.enrol()
    terms = {"kind": "points_per_amount", "points": 1, "step_minor": {"EUR": 300, "JPY": 100}, "rounding": "half_up"}
    await shop.post("/v1/earning-rules", {"name": "bonus", "terms": terms})
    order = await shop.order(50, customer_id=member["customer_id"])
    assert sorted(award["points"] for award in order["awards"]) == [17, 50]
    assert [(entry["points"], entry["balance_after"]) for entry in order["entries"]] == [(67, 67)]
    lots = (await shop.get(f"/v1/members/{member['id']}/lots"))["data"]
    assert [(lot["granted"], lot["source_id"]) for lot in lots] == [(67, order["id"])]
    await shop.books_hold()


async def test_points_of_another_unit_go_to_a_wallet_of_their_own(shop: Shop) -> None:
    member = await shop.enrol()
    await shop.post("/v1/earning-rules", {"name": "stars", "terms": {**TWO_A_EURO, "unit": "stars"}})
    await shop.order(10, customer_id=member["customer_id"])
    wallets = (await shop.get(f"/v1/members/{member['id']}/wallets"))["data"]
    assert [(wallet["unit"], wallet["balance"]) for wallet in wallets] == [("points", 10), ("stars", 20)]
    await shop.books_hold()


async def test_what_was_counted_at_the_instant_of_a_change_stays_as_it_was_counted(shop: Shop) -> None:
    """The clock stands still: orders, a draft that begins and a rule that ends share one instant."""
    member = await shop.enrol()
    terms = {"kind": "bonus", "points": 7}
    draft = await shop.post("/v1/earning-rules", {"name": "later", "terms": terms, "draft": True})
    assert [version["status"] for version in draft["versions"]] == ["draft"]
    order = await shop.order(100, customer_id=member["customer_id"])
    begun = await shop.post(f"/v1/earning-rules/{draft['id']}/activation", {}, expect=200)
    assert [version["status"] for version in begun["versions"]] == ["active"]
    await advance(shop, "2026-01-01T13:00:00Z")
    last = await shop.order(100, customer_id=member["customer_id"])
    ended = await shop.post(f"/v1/earning-rules/{await base_rule(shop)}/retirement", {}, expect=200)
    assert [(own["status"], own["active_until"]) for own in ended["versions"]] == [("ended", "2026-01-01T13:00:00Z")]
    assert (await shop.get(f"/v1/orders/{order['id']}"))["trace"] == order["trace"]
    for bought, points in ((order, 10), (last, 10)):
        part = {"total": {"amount": 1_000, "currency": "EUR"}}
        made = await shop.post(f"/v1/orders/{bought['id']}/returns", part)
        assert made["points_reversed"] == points
    after = await shop.order(100, customer_id=member["customer_id"])
    assert after["points_earned"] == 7
    await shop.books_hold()
