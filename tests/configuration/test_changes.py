"""What a configuration changes, thing by thing, and what it leaves as it is."""

import asyncio

from tests.configuration.cafe import (
    CAFE,
    EMPTY,
    UNCHANGED,
    advance,
    exported,
    fields,
    named,
    put,
    put_yaml,
    start_empty,
    told,
)
from tests.earning.till import balances, buy, gave, line
from tests.shop import Json, Shop

LATER = "2026-01-03T12:00:00Z"
BONUS: Json = {"kind": "bonus", "points": 10}
COFFEE: Json = {"name": "Coffee", "kind": "free_product", "value": {"sku": "flat-white"}, "cost_points": 100}


def rules(*found: Json) -> Json:
    return {"version": 1, "earning_rules": list(found)}


def rewards(*found: Json) -> Json:
    return {"version": 1, "rewards": list(found)}


async def rule(shop: Shop, name: str) -> Json:
    """Return a rule as its own room shows it."""
    return named((await shop.get("/v1/earning-rules"))["data"], name)


async def test_the_diff_says_what_becomes_of_each_thing(shop: Shop) -> None:
    await put_yaml(await start_empty(shop), CAFE)
    await advance(shop, LATER)
    document = await exported(shop)
    document["settings"]["expiry"]["months"] = 6
    named(document["earning_rules"], "Happy hour")["terms"]["percent"] = 150
    document["earning_rules"] = [own for own in document["earning_rules"] if own["name"] != "Review"]
    named(document["rewards"], "Coffee")["cost_points"] = 120
    named(document["rewards"], "Birthday cake")["value"]["amount"]["amount"] = 700
    document["rewards"] = [own for own in document["rewards"] if own["name"] != "Tote bag"]
    document["rewards"].append({**COFFEE, "name": "Tea"})
    document["referral_campaign"]["referee_points"] = 30

    before = await shop.digest()
    tried = await put(shop, document, dry_run=True)
    assert tried["dry_run"] is True
    assert [{**own, "fields": [list(field.values()) for field in own["fields"]]} for own in tried["changes"]] == [
        {"part": "settings", "name": None, "action": "change", "fields": [["expiry.months", 12, 6]]},
        {"part": "earning_rule", "name": "Happy hour", "action": "change", "fields": [
            ["terms.percent", 200, 150],
            ["active_from", "2026-01-02T12:00:00Z", LATER],
        ]},
        {"part": "earning_rule", "name": "Review", "action": "retire", "fields": []},
        {"part": "reward", "name": "Coffee", "action": "change", "fields": [["cost_points", 100, 120]]},
        {"part": "reward", "name": "Birthday cake", "action": "replace", "fields": [["value.amount.amount", 500, 700]]},
        {"part": "reward", "name": "Tea", "action": "create", "fields": []},
        {"part": "reward", "name": "Tote bag", "action": "retire", "fields": []},
        {"part": "referral_campaign", "name": "Bring a friend", "action": "change", "fields": [
            ["referee_points", 25, 30],
        ]},
    ]  # fmt: skip
    assert await shop.digest() == before
    assert await put(shop, document) == {**tried, "dry_run": False}
    assert await put(shop, document) == UNCHANGED


async def test_a_part_that_is_not_named_stays(shop: Shop) -> None:
    await put_yaml(await start_empty(shop), CAFE)
    before = await exported(shop)
    assert await put(shop, {"version": 1}) == UNCHANGED
    assert fields(await put(shop, {"version": 1, "settings": {"late_order_days": 3}})) == {"late_order_days": (7, 3)}
    assert told(await put(shop, {"version": 1, "referral_campaign": None})) == [
        "retire referral_campaign Bring a friend"
    ]
    after = await exported(shop)
    assert (after["earning_rules"], after["rewards"]) == (before["earning_rules"], before["rewards"])
    assert after["referral_campaign"] is None
    await shop.refuses("GET", "/v1/referral-campaign", status=404, code="no_active_campaign")


async def test_a_changed_rule_is_a_version_from_now_on_and_orders_keep_theirs(shop: Shop) -> None:
    await put(await start_empty(shop), rules({"name": "Bonus", "terms": BONUS}))
    member = await shop.enrol()
    before = await buy(shop, member, line("tea", 100))
    await advance(shop, LATER)
    changed = {"name": "Bonus", "terms": {**BONUS, "points": 30}, "active_from": "2026-01-01T00:00:00Z"}
    assert fields(await put(shop, rules(changed)))["terms.points"] == (10, 30)
    assert await put(shop, rules(changed)) == UNCHANGED
    known = (await rule(shop, "Bonus"))["id"]
    assert (gave(before, known), gave(await buy(shop, member, line("tea", 100)), known)) == ([10], [30])
    await shop.post(f"/v1/orders/{before['id']}/returns", {})
    assert await balances(shop, member) == {"points": 30}
    await shop.books_hold()


async def test_a_rule_may_begin_later_take_over_later_and_end(shop: Shop) -> None:
    await start_empty(shop)
    season = {"active_from": "2026-06-01T00:00:00Z", "active_until": "2026-09-01T00:00:00Z"}
    later: list[Json] = [
        {"terms": {**BONUS, "points": 20}, **season},
        {"terms": {**BONUS, "points": 99}, "draft": True},
    ]
    summer = {"name": "Summer", "terms": BONUS, "later": later}
    assert told(await put(shop, rules(summer))) == ["create earning_rule Summer"]
    assert await put(shop, rules(summer)) == UNCHANGED
    assert [(own["status"], own["terms"]["points"]) for own in (await rule(shop, "Summer"))["versions"]] == [
        ("active", 10),
        ("scheduled", 20),
        ("draft", 99),
    ]
    (found,) = (await exported(shop))["earning_rules"]
    assert found == {
        **summer,
        "terms": found["terms"],
        "active_from": "2026-01-02T12:00:00Z",
        "later": [{**own, "terms": known["terms"]} for own, known in zip(later, found["later"], strict=True)],
    }
    await advance(shop, "2026-06-02T00:00:00Z")
    assert await put(shop, rules(summer)) == UNCHANGED
    await advance(shop, "2026-09-02T00:00:00Z")
    assert (await put(shop, rules(summer)))["changes"] == []


async def test_what_has_a_date_is_not_taken_back(shop: Shop) -> None:
    later = [{"terms": {**BONUS, "points": 20}, "active_from": "2026-06-01T00:00:00Z"}]
    await put(await start_empty(shop), rules({"name": "Bonus", "terms": BONUS, "later": later}))
    for document in (rules(), rules({"name": "Bonus", "terms": BONUS})):
        problem = await shop.refuses("PUT", "/v1/configuration", document, status=400, code="validation_failed")
        assert problem["errors"][0]["code"] in {"rule_version_in_the_way", "rule_version_exists"}
    await advance(shop, LATER)
    problem = await shop.refuses("PUT", "/v1/configuration", rules(), status=400, code="validation_failed")
    assert [(own["pointer"], own["code"]) for own in problem["errors"]] == [
        ("/earning_rules", "rule_version_in_the_way")
    ]
    assert problem["errors"][0]["detail"].startswith("Bonus: ")


async def test_a_rule_that_comes_back_is_the_rule_it_was(shop: Shop) -> None:
    bonus = {"name": "Bonus", "terms": {**BONUS, "limits": {"budget": 15}}, "active_from": "2025-12-01T00:00:00Z"}
    await put(await start_empty(shop), rules(bonus))
    member = await shop.enrol()
    known = (await rule(shop, "Bonus"))["id"]
    assert gave(await buy(shop, member, line("tea", 100)), known) == [10]
    await advance(shop, LATER)
    assert told(await put(shop, rules())) == ["retire earning_rule Bonus"]
    await advance(shop, "2026-01-04T12:00:00Z")
    assert told(await put(shop, rules(bonus))) == ["create earning_rule Bonus"]
    assert gave(await buy(shop, member, line("tea", 100)), known) == [5]
    assert await put(shop, rules(bonus)) == UNCHANGED


async def test_a_draft_begins_when_the_file_says_so_and_others_stay(shop: Shop) -> None:
    await start_empty(shop)
    draft, active = {"name": "Bonus", "terms": BONUS, "draft": True}, {"name": "Bonus", "terms": BONUS}
    assert told(await put(shop, rules(draft))) == ["create earning_rule Bonus"]
    assert await put(shop, rules(draft)) == UNCHANGED
    assert told(await put(shop, rules(active))) == ["change earning_rule Bonus"]
    assert [own["status"] for own in (await rule(shop, "Bonus"))["versions"]] == ["active"]

    await advance(shop, LATER)
    assert told(await put(shop, rules({**draft, "terms": {**BONUS, "points": 7}}))) == ["change earning_rule Bonus"]
    left = [{"part": "earning_rule", "name": "Bonus", "why": "draft"}]
    await advance(shop, "2026-01-04T12:00:00Z")
    done = await put(shop, rules(active))
    assert (told(done), done["left_alone"]) == (["change earning_rule Bonus"], left)
    assert await put(shop, rules(active)) == {**UNCHANGED, "left_alone": left}


async def test_a_rule_that_had_ended_by_now_is_left_alone(shop: Shop) -> None:
    await start_empty(shop)
    over = {
        "name": "Old",
        "terms": BONUS,
        "active_from": "2025-01-01T00:00:00Z",
        "active_until": "2025-02-01T00:00:00Z",
    }
    left = [{"part": "earning_rule", "name": "Old", "why": "over"}]
    assert await put(shop, rules(over)) == {**UNCHANGED, "left_alone": left}
    assert (await exported(shop))["earning_rules"] == []


async def test_a_new_rule_may_have_begun_in_the_past(shop: Shop) -> None:
    await start_empty(shop)
    await put(shop, rules({"name": "Bonus", "terms": BONUS, "active_from": "2025-12-01T00:00:00Z"}))
    member = await shop.enrol()
    known = (await rule(shop, "Bonus"))["id"]
    assert gave(await buy(shop, member, line("tea", 100)), known) == [10]
    (found,) = (await exported(shop))["earning_rules"]
    assert found["active_from"] == "2025-12-01T00:00:00Z"


async def test_what_is_left_of_a_reward_is_not_configured(shop: Shop) -> None:
    counted = {**COFFEE, "cost_points": 0, "stock": 5}
    await put(await start_empty(shop), rewards(counted))
    member = await shop.enrol()
    (coffee,) = [own for own in (await shop.get("/v1/rewards"))["data"] if own["name"] == "Coffee"]
    grant = {"member_id": member["id"], "reward_id": coffee["id"], "reason": "gift"}
    await shop.post("/v1/reward-grants", grant)

    left = [{"part": "reward", "name": "Coffee", "why": "stock"}]
    assert await put(shop, rewards(counted)) == {**UNCHANGED, "left_alone": left}
    assert named((await exported(shop))["rewards"], "Coffee")["stock"] == 4
    assert fields(await put(shop, rewards({**counted, "cost_points": 3}))) == {"cost_points": (0, 3)}
    assert named((await exported(shop))["rewards"], "Coffee")["stock"] == 4

    unlimited = {name: value for name, value in counted.items() if name != "stock"}
    assert fields(await put(shop, rewards({**unlimited, "cost_points": 3}))) == {"stock": (4, None)}
    assert fields(await put(shop, rewards({**counted, "cost_points": 3}))) == {"stock": (None, 5)}


async def test_a_reward_of_the_shops_own_codes_stays_one(shop: Shop) -> None:
    await put(await start_empty(shop), rewards({**COFFEE, "cost_points": 0, "pooled": True}))
    (coffee,) = (await shop.get("/v1/rewards"))["data"]
    member = await shop.enrol()
    grant = {"member_id": member["id"], "reward_id": coffee["id"], "reason": "gift"}
    await shop.refuses("POST", "/v1/reward-grants", grant, status=409, code="out_of_stock")
    await shop.post(f"/v1/rewards/{coffee['id']}/coupon-codes", {"csv": "code\nAAAA\nBBBB\n"}, expect=200)
    assert (await shop.post("/v1/reward-grants", grant))["coupon"]["code"] == "AAAA"

    assert await put(shop, rewards({**COFFEE, "cost_points": 0})) == UNCHANGED
    assert fields(await put(shop, rewards({**COFFEE, "cost_points": 9}))) == {"cost_points": (0, 9)}
    (coffee,) = (await shop.get("/v1/rewards"))["data"]
    assert (coffee["pooled"], coffee["stock_left"]) == (True, 1)


async def test_a_reward_of_other_worth_is_made_anew_and_coupons_keep_theirs(shop: Shop) -> None:
    off = {
        "name": "Off",
        "kind": "amount_off",
        "value": {"amount": {"amount": 500, "currency": "EUR"}},
        "cost_points": 0,
    }
    await put(await start_empty(shop), rewards(off))
    member = await shop.enrol()
    (old,) = (await shop.get("/v1/rewards"))["data"]
    grant = {"member_id": member["id"], "reward_id": old["id"], "reason": "gift"}
    code = (await shop.post("/v1/reward-grants", grant))["coupon"]["code"]
    done = await put(shop, rewards({**off, "value": {"amount": {"amount": 700, "currency": "EUR"}}}))
    assert told(done) == ["replace reward Off"]
    assert fields(done) == {"value.amount.amount": (500, 700)}
    first, second = (await shop.get("/v1/rewards"))["data"]
    assert (first["retired_at"] is None, second["retired_at"]) == (False, None)
    order = await shop.order(10, customer_id=member["customer_id"], coupons=[code])
    assert order["total"]["amount"] == 500


async def test_two_at_a_time_come_one_after_the_other(shop: Shop) -> None:
    await start_empty(shop)
    document = {**EMPTY, **rules({"name": "Bonus", "terms": BONUS}), **rewards(COFFEE)}
    done = await asyncio.gather(*(put(shop, document) for _ in range(4)))
    assert sorted(len(result["changes"]) for result in done) == [0, 0, 0, 2]
    found = await exported(shop)
    assert ([own["name"] for own in found["earning_rules"]], len(found["rewards"])) == (["Bonus"], 1)
