"""From draft to retirement, what orders keep of the rules and facts of their time, and what rules say and refuse."""

import asyncio
from typing import Any

import pytest
from tests.earning.till import advance, balances, buy, gave, give_back, line, make_rule, start_over
from tests.shop import Json, Shop

HUNDRED: Json = {"kind": "bonus", "points": 100}


def rule_body(terms: Json, **more: Any) -> Json:
    return {"name": "rule", "terms": terms, **more}


async def act(shop: Shop, rule: str, what: str, **body: Any) -> Json:
    """Activate or retire a rule; return its newest version."""
    return dict((await shop.post(f"/v1/earning-rules/{rule}/{what}", body, expect=200))["versions"][-1])


async def test_a_draft_counts_from_its_activation_on_and_a_retired_rule_no_more(shop: Shop) -> None:
    await start_over(shop)
    member = await shop.enrol()
    draft = await shop.post("/v1/earning-rules", rule_body(HUNDRED, draft=True))
    assert [(own["status"], own["active_from"]) for own in draft["versions"]] == [("draft", None)]
    before = await buy(shop, member, line("shirt", 1_000))
    assert (before["awards"], before["trace"]) == ([], [])

    assert (await act(shop, draft["id"], "activation", active_from="2026-01-06T00:00:00Z"))["status"] == "scheduled"
    await advance(shop, "2026-01-05T23:59:59Z")
    assert (await buy(shop, member, line("shirt", 1_000)))["points_earned"] == 0
    await advance(shop, "2026-01-06T00:00:00Z")
    assert gave(await buy(shop, member, line("shirt", 1_000)), draft["id"]) == [100]
    late = await buy(shop, member, line("shirt", 1_000), placed_at="2026-01-05T23:00:00Z")
    assert late["points_earned"] == 0

    assert (await act(shop, draft["id"], "retirement", at="2026-01-07T00:00:00Z"))["status"] == "active"
    await advance(shop, "2026-01-07T00:00:00Z")
    assert (await buy(shop, member, line("shirt", 1_000)))["points_earned"] == 0
    late = await buy(shop, member, line("shirt", 1_000), placed_at="2026-01-06T23:59:59Z")
    assert gave(late, draft["id"]) == [100]
    assert await balances(shop, member) == {"points": 200}
    await shop.books_hold()


async def test_a_draft_of_a_new_version_leaves_the_old_one_in_force_until_it_is_activated(shop: Shop) -> None:
    await start_over(shop)
    member, rule = await shop.enrol(), await make_rule(shop, "bonus", points=1)
    path = f"/v1/earning-rules/{rule}/versions"
    for points in (2, 3):
        await shop.post(path, {"terms": {"kind": "bonus", "points": points}, "draft": True})
    await advance(shop, "2026-01-06T00:00:00Z")
    assert gave(await buy(shop, member, line("shirt", 100)), rule) == [1]
    activated = await act(shop, rule, "activation", active_until="2026-01-08T00:00:00Z")
    assert (activated["version"], activated["status"]) == (3, "active")
    assert gave(await buy(shop, member, line("shirt", 100)), rule) == [3]
    await advance(shop, "2026-01-07T00:00:00Z")
    assert (await act(shop, rule, "activation"))["version"] == 4
    assert gave(await buy(shop, member, line("shirt", 100)), rule) == [2]
    await shop.refuses("POST", f"/v1/earning-rules/{rule}/activation", {}, status=409, code="earning_rule_has_no_draft")
    statuses = [(own["version"], own["status"]) for own in (await shop.get("/v1/earning-rules"))["data"][1]["versions"]]
    assert statuses == [(1, "ended"), (3, "ended"), (4, "active")]


async def test_what_cannot_begin_or_end_is_refused(shop: Shop) -> None:
    await start_over(shop)
    rule = (await shop.post("/v1/earning-rules", rule_body(HUNDRED, draft=True)))["id"]
    path, past = f"/v1/earning-rules/{rule}", "2026-01-05T07:59:59Z"
    await shop.refuses("POST", f"{path}/retirement", {}, status=409, code="earning_rule_not_in_force")
    await shop.refuses("POST", f"{path}/activation", {"active_from": past}, status=409, code="rule_begins_in_the_past")
    await shop.refuses(
        "POST", f"{path}/activation", {"active_until": past}, status=409, code="rule_ends_before_it_begins"
    )
    await act(shop, rule, "activation")
    await shop.refuses("POST", f"{path}/retirement", {}, status=409, code="rule_version_exists")
    await shop.refuses("POST", f"{path}/retirement", {"at": past}, status=409, code="rule_begins_in_the_past")
    await shop.post(f"{path}/versions", {"terms": HUNDRED, "draft": True})
    await shop.refuses("POST", f"{path}/activation", {}, status=409, code="rule_version_exists")
    for action in ("activation", "retirement"):
        unknown = path.replace("rul_", "ord_")
        await shop.refuses("POST", f"{unknown}/{action}", {}, status=404, code="earning_rule_not_found")


async def test_a_return_counts_by_rules_and_facts_as_they_were_when_it_was_bought(shop: Shop) -> None:
    await start_over(shop)
    base = await make_rule(shop, "points_per_amount", points=1, step_minor={"EUR": 100})
    double = await make_rule(shop, "multiplier", percent=200, conditions={"attributes": {"level": ["gold"]}})
    second = await make_rule(
        shop, "bonus", points=30, conditions={"order_numbers": [2], "minimum_minor": {"EUR": 5_000}}
    )
    noon = await make_rule(
        shop, "points_per_item", points=4, conditions={"windows": [{"from": "12:00", "until": "13:00"}]}
    )
    member = await shop.enrol(attributes={"level": "gold"})
    first = await buy(shop, member, line("sock", 500))
    await advance(shop, "2026-01-06T11:30:00Z")
    order = await buy(shop, member, line("coat", 6_000), line("post", 1_000, kind="shipping"), line("cap", 2_000, 2))
    assert gave(order, base, double, second, noon) == [80, 80 + 3 * 4, 30, 12]

    await advance(shop, "2026-01-07T20:00:00Z")
    for rule in (base, second):
        path = f"/v1/earning-rules/{rule}/versions"
        await shop.post(path, {"terms": {"kind": "points_per_amount", "points": 50, "step_minor": {"EUR": 1}}})
    for rule in (double, noon):
        await act(shop, rule, "retirement")
    await make_rule(shop, "bonus", points=9_999, combination="exclusive", priority=1_000)
    await shop.post(
        "/v1/earning-rules",
        rule_body({"kind": "bonus", "points": 77}, active_from="2026-01-01T00:00:00Z"),
    )
    await shop.send("PATCH", f"/v1/members/{member['id']}", {"attributes": {"level": "none"}}, expect=200)
    settings = {"earning_base": {"shipping": True}}
    await shop.send("PATCH", "/v1/program", settings, expect=200)
    await shop.post(f"/v1/orders/{first['id']}/cancellation", {})

    returned = await give_back(shop, order, lines=[{"line": 3, "quantity": 1}])
    taken = {own["rule_id"]: own["points"] for own in returned["reversals"]}
    assert taken == {base: 10, double: 10 + 4, noon: 4}
    returned = await give_back(shop, order, lines=[{"line": 1, "total": {"amount": 2_001, "currency": "EUR"}}])
    taken = {own["rule_id"]: own["points"] for own in returned["reversals"]}
    assert taken == {base: 21, double: 21, second: 30}
    assert await balances(shop, member) == {"points": 49 + 49 + 8 + 8}
    shown = await shop.get(f"/v1/orders/{order['id']}")
    assert shown["trace"] == order["trace"]
    await give_back(shop, order)
    assert await balances(shop, member) == {"points": 0}
    await shop.books_hold()


async def test_a_rule_that_begins_or_ends_at_the_instant_of_an_order_changes_nothing_of_it(shop: Shop) -> None:
    await start_over(shop)
    base = await make_rule(shop, "points_per_amount", points=1, step_minor={"EUR": 100})
    draft = await shop.post("/v1/earning-rules", rule_body(HUNDRED, draft=True))
    await advance(shop, "2026-01-06T00:00:00Z")
    member = await shop.enrol()
    order = await buy(shop, member, line("coat", 10_000))
    await act(shop, base, "retirement")
    await act(shop, draft["id"], "activation")
    returned = await give_back(shop, order, total={"amount": 1_000, "currency": "EUR"})
    assert [(own["rule_id"], own["points"]) for own in returned["reversals"]] == [(base, 10)]
    assert (await shop.get(f"/v1/orders/{order['id']}"))["trace"] == order["trace"]
    assert gave(await buy(shop, member, line("coat", 10_000)), base, draft["id"]) == [0, 100]
    assert await balances(shop, member) == {"points": 190}
    await shop.books_hold()


async def test_the_trace_names_every_reason_in_order_of_priority(shop: Shop) -> None:
    await start_over(shop)
    member = await shop.enrol(attributes={"level": "silver"})
    base: Json = {"kind": "points_per_amount", "points": 1, "step_minor": {"EUR": 100}}
    bonus: Json = {"kind": "bonus", "points": 5}
    on_hats = {"include": {"skus": ["hat"]}}
    expected: dict[str, Json] = {
        "counted": base,
        "other_currency": {**base, "step_minor": {"JPY": 100}},
        "outside_window": {**bonus, "conditions": {"windows": [{"weekdays": ["sun"]}]}},
        "other_channel": {**bonus, "conditions": {"channels": ["till"]}},
        "other_store": {**bonus, "conditions": {"stores": ["north"]}},
        "other_payment_method": {**bonus, "conditions": {"payment_methods": ["cash"]}},
        "other_attribute": {**bonus, "conditions": {"attributes": {"level": ["gold"]}}},
        "other_order_number": {**bonus, "conditions": {"every_nth_order": 3}},
        "no_eligible_line": {**bonus, "conditions": {"include": {"brands": ["acme"]}}},
        "below_minimum": {**bonus, "conditions": {"minimum_minor": {"EUR": 2_000}, **on_hats}},
        "nothing_to_multiply": {"kind": "multiplier", "percent": 200, "unit": "stars"},
        "less_than_a_point": {**base, "step_minor": {"EUR": 100_000}},
        "limit_reached": {**bonus, "limits": {"budget": 5}},
        "not_the_best": {**bonus, "combination": "best"},
        "outranked": {**bonus, "priority": -100},
    }
    rules = {}
    for place, (outcome, terms) in enumerate(expected.items()):
        made = await shop.post("/v1/earning-rules", rule_body({"priority": -place, **terms}))
        rules[made["id"]] = outcome
    best = await make_rule(shop, "bonus", points=6, combination="best", priority=-50)
    alone = await make_rule(shop, "bonus", points=1, combination="exclusive", priority=-60)
    await buy(shop, member, line("sock", 100), channel="web", store="south", payment_method="card")
    order = await buy(
        shop, member, line("hat", 1_500, 3), line("sock", 900), channel="web", store="south", payment_method="card"
    )
    trace = order["trace"]
    assert {own["rule_id"]: own["outcome"] for own in trace} == {**rules, best: "counted", alone: "counted"}
    assert [own["rule_id"] for own in trace] == [*list(rules)[:-1], best, alone, list(rules)[-1]]
    told = {rules.get(own["rule_id"]): own for own in trace}
    assert {name: value for name, value in told["below_minimum"].items() if name not in ("rule_id", "unit")} == {
        "rule_version": 1, "kind": "bonus", "outcome": "below_minimum", "base": {"amount": 1_500, "currency": "EUR"},
        "pieces": 3, "counted": 0, "points": 0, "capped_by": None,
    }  # fmt: skip
    limited, outranked = told["limit_reached"], told["outranked"]
    assert (limited["counted"], limited["points"], limited["capped_by"]) == (5, 0, "budget")
    assert (outranked["counted"], outranked["points"], outranked["capped_by"]) == (5, 0, None)
    assert [own["points"] for own in trace if own["points"]] == [24, 6, 1]
    assert await shop.get(f"/v1/orders/{order['id']}") == order


async def test_the_same_order_again_hears_the_same_trace_after_rules_have_changed(shop: Shop) -> None:
    rule = (await shop.get("/v1/earning-rules"))["data"][0]["id"]
    body = shop.order_body(10, customer_id=(await shop.enrol())["customer_id"])
    replies = [await shop.send("POST", "/v1/orders", body, key="one", expect=201)]
    await advance(shop, "2026-01-06T00:00:00Z")
    await act(shop, rule, "retirement")
    await make_rule(shop, "bonus", points=3)
    replies.append(await shop.send("POST", "/v1/orders", body, key="one", expect=201))
    replies.append(await shop.send("POST", "/v1/orders", body, key="two", expect=200))
    assert [own["rule_id"] for own in replies[0].json()["trace"]] == [rule]
    assert replies[1].json() == replies[2].json() == replies[0].json()


async def test_of_two_activations_at_once_each_finds_its_own_draft_or_none(shop: Shop) -> None:
    await start_over(shop)
    rule = (await shop.post("/v1/earning-rules", rule_body(HUNDRED, draft=True)))["id"]
    path = f"/v1/earning-rules/{rule}/activation"
    replies = await asyncio.gather(*(shop.send("POST", path, {}) for _ in range(4)))
    assert sorted(reply.status_code for reply in replies) == [200, 409, 409, 409]


WINDOW = {"from": "09:00", "until": "17:00"}


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        (
            {"name": "", "terms": {"kind": "raffle", "points": 0}, "colour": "red"},
            {"/name", "/terms", "/colour"},
        ),
        ({"name": "rule", "terms": {"points": 1}}, {"/terms"}),
        ({"name": "rule", "terms": {"kind": ["bonus"], "points": 1}}, {"/terms"}),
        ({"name": "rule", "terms": {"kind": {"of": "bonus"}}, "draft": "no"}, {"/terms", "/draft"}),
        ({"name": "rule", "terms": "bonus"}, {"/terms"}),
        (
            rule_body(
                {
                    "kind": "points_per_amount",
                    "points": 0,
                    "step_minor": {"EUR": 0, "XXX": 1, "eur": 1},
                    "rounding": "sideways",
                    "combination": "shuffle",
                    "priority": 1_001,
                    "percent": 200,
                    "unit": "Points",
                }
            ),
            {
                "/terms/points", "/terms/step_minor/EUR", "/terms/step_minor/XXX", "/terms/step_minor/eur",
                "/terms/rounding", "/terms/combination", "/terms/priority", "/terms/percent", "/terms/unit",
            },
        ),
        (
            rule_body(
                {
                    "kind": "bonus",
                    "points": 5,
                    "conditions": {
                        "windows": [
                            {"from": "9:00"},
                            {"until": "24:01"},
                            {"from": "10:00", "until": "10:00"},
                            {"weekdays": ["mon", "monday"], **WINDOW},
                            {**WINDOW, "to": "18:00"},
                            {"from": "24:00", "until": "08:00"},
                        ],
                        "include": {"sku": ["a"], "brands": [""]},
                        "minimum_minor": {},
                        "attributes": {"level": []},
                        "order_numbers": [0],
                        "every_nth_order": 1,
                    },
                    "limits": {"per_order": 0, "per_member": {"points": 5, "period": "fortnight"}, "budget": "9"},
                },
                draft=True,
                active_from="2026-02-01T00:00:00Z",
            ),
            {
                "/terms/conditions/windows/0/from", "/terms/conditions/windows/1/until",
                "/terms/conditions/windows/2/until", "/terms/conditions/windows/3/weekdays/1",
                "/terms/conditions/windows/4/to", "/terms/conditions/windows/5/from",
                "/terms/conditions/include/sku",
                "/terms/conditions/include/brands/0", "/terms/conditions/minimum_minor",
                "/terms/conditions/attributes/level", "/terms/conditions/order_numbers/0",
                "/terms/conditions/every_nth_order", "/terms/limits/per_order", "/terms/limits/per_member/period",
                "/terms/limits/budget", "/draft",
            },
        ),
        (
            rule_body(
                {"kind": "points_per_activity", "activity": "Sign up", "points": 5, "conditions": {"stores": ["a"]}},
                active_from="2026-02-01",
            ),
            {"/terms/activity", "/terms/conditions/stores", "/active_from"},
        ),
        (rule_body({"kind": "multiplier", "percent": 100, "points": 1}), {"/terms/percent", "/terms/points"}),
    ],
)  # fmt: skip
async def test_every_fault_of_a_rule_is_listed_at_once_and_nothing_changes(
    shop: Shop, body: Json, faults: set[str]
) -> None:
    problem = await shop.refuses("POST", "/v1/earning-rules", body, status=400, code="validation_failed")
    assert {fault["pointer"] for fault in problem["errors"]} == faults
    assert len(problem["errors"]) == len(faults)
