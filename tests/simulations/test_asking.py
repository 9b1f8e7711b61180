"""Asking for a simulation: which rules it tries, what is refused, how far it is."""

from typing import Any

import pytest
from tests.earning.till import advance, buy, line, make_rule, start_over
from tests.shop import Json, Shop
from tests.simulations.trying import (
    A_POINT_A_EURO,
    AFTER,
    BURN,
    TWO_A_EURO,
    ask,
    draft,
    draft_rule,
    found,
    sides,
    tried,
    work,
)


async def test_what_is_tried_can_be_chosen(shop: Shop) -> None:
    await start_over(shop)
    base = await make_rule(shop, "points_per_amount", **A_POINT_A_EURO)
    extra = await make_rule(shop, "bonus", points=3)
    ended = await make_rule(shop, "bonus", points=1_000)
    await advance(shop, "2026-01-05T08:00:01Z")
    await shop.post(f"/v1/earning-rules/{ended}/retirement", {}, expect=200)
    await make_rule(shop, "points_per_activity", activity="reviewed", points=9)
    member = await shop.enrol()
    await buy(shop, member, line("tea", 1_000))
    first = await draft(shop, base, "points_per_amount", **TWO_A_EURO)
    await draft(shop, base, "points_per_amount", points=5, step_minor={"EUR": 100})
    fresh = await draft_rule(shop, "bonus", points=100)
    await advance(shop, AFTER)

    async def points(**body: Any) -> tuple[int, dict[str, int]]:
        report = await tried(shop, **body)
        (both,) = report["points"]
        assert both["points"]["today"] == 13
        return both["points"]["tried"], {own["rule_id"]: own["version"] for own in report["rules"]}

    assert await points() == (50 + 3 + 100, {base: 3, extra: 1, fresh: 1})
    assert await points(rules=[]) == (10 + 3, {base: 1, extra: 1})
    assert await points(rules=[{"rule_id": base, "version": first}]) == (20 + 3, {base: 2, extra: 1})
    assert await points(rules=[{"rule_id": fresh}], without=[extra]) == (10 + 100, {base: 1, fresh: 1})
    assert await points(without=[base, fresh]) == (3, {extra: 1})
    assert await points(rules=[{"rule_id": ended, "version": 1}]) == (1_013, {base: 1, extra: 1, ended: 1})


async def test_what_becomes_of_a_draft_later_changes_nothing(shop: Shop) -> None:
    (base,) = [rule["id"] for rule in (await shop.get("/v1/earning-rules"))["data"]]
    member = await shop.enrol()
    await buy(shop, member, line("tea", 1_000))
    await draft(shop, base, "points_per_amount", **TWO_A_EURO)
    await advance(shop, AFTER)
    simulation = await ask(shop)
    await shop.post(f"/v1/earning-rules/{base}/activation", {}, expect=200)
    await draft(shop, base, "points_per_amount", points=50, step_minor={"EUR": 100})
    await shop.send("PATCH", "/v1/program", {"burn": BURN}, expect=200)
    await work(shop)
    report = await found(shop, simulation)
    assert [own["points"] for own in report["points"]] == [sides(10, 20)]
    assert (report["rates"], report["points"][0]["cost"]) == ({}, [])


async def test_a_simulation_waits_then_runs_then_ends(shop: Shop) -> None:
    member = await shop.enrol()
    await buy(shop, member, line("tea", 1_000))
    await advance(shop, AFTER)
    simulation = await ask(shop)
    waiting = await found(shop, simulation)
    assert (waiting["state"], waiting["orders_done"], waiting["orders_total"]) == ("queued", 0, None)
    assert (waiting["problem"], waiting["ended_at"], waiting["created_at"]) == (None, None, AFTER)
    assert waiting["created_by"].startswith("key_")
    await work(shop, limit=1)
    done = await found(shop, simulation)
    assert (done["state"], done["orders_done"], done["ended_at"]) == ("finished", 1, AFTER)
    assert await found(shop, simulation) == done


async def test_simulations_are_listed_newest_first(shop: Shop) -> None:
    await advance(shop, AFTER)
    asked = [await ask(shop) for _ in range(3)]
    page = await shop.get("/v1/simulations?limit=2")
    rest = await shop.get(f"/v1/simulations?limit=2&cursor={page['next_cursor']}")
    assert [row["id"] for row in (*page["data"], *rest["data"])] == asked[::-1]
    assert (page["has_more"], rest["has_more"]) == (True, False)
    assert "by_month" not in page["data"][0]


@pytest.mark.parametrize(
    ("window", "code"),
    [
        ({"from": AFTER, "until": AFTER}, "simulation_window_refused"),
        ({"from": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "simulation_window_refused"),
        ({"until": "2027-01-01T00:00:01Z"}, "simulation_window_refused"),
        ({"from": "2016-01-01T00:00:00Z"}, "simulation_window_refused"),
        ({"from": "yesterday"}, "validation_failed"),
        ({"until": "2026-01-01"}, "validation_failed"),
    ],
)
async def test_a_window_of_nonsense_is_refused(shop: Shop, window: Json, code: str) -> None:
    await advance(shop, AFTER)
    body = {"from": "2026-01-01T00:00:00Z", "until": AFTER, **window}
    await shop.refuses("POST", "/v1/simulations", body, status=400, code=code)


async def test_rules_that_cannot_be_tried_are_refused(shop: Shop, other_shop: Shop) -> None:
    (base,) = [rule["id"] for rule in (await shop.get("/v1/earning-rules"))["data"]]
    (theirs,) = [rule["id"] for rule in (await other_shop.get("/v1/earning-rules"))["data"]]
    review = await make_rule(shop, "points_per_activity", activity="reviewed", points=9)
    retired = await make_rule(shop, "bonus", points=9)
    await advance(shop, AFTER)
    await shop.post(f"/v1/earning-rules/{retired}/retirement", {}, expect=200)

    async def refused(status: int, code: str, **body: object) -> Json:
        return await shop.refuses("POST", "/v1/simulations", {**window, **body}, status=status, code=code)

    window = {"from": "2026-01-01T00:00:00Z", "until": AFTER}
    await refused(404, "earning_rule_not_found", rules=[{"rule_id": theirs}])
    await refused(404, "earning_rule_not_found", without=[theirs])
    await refused(409, "earning_rule_has_no_draft", rules=[{"rule_id": base}])
    await refused(404, "earning_rule_version_not_found", rules=[{"rule_id": base, "version": 7}])
    await refused(404, "earning_rule_version_not_found", rules=[{"rule_id": retired, "version": 2}])
    await refused(409, "earning_rule_counts_activities", rules=[{"rule_id": review, "version": 1}])
    twice = await refused(400, "validation_failed", rules=[{"rule_id": base}, {"rule_id": base, "version": 1}])
    both = await refused(400, "validation_failed", rules=[{"rule_id": base}], without=[base])
    assert [(own["pointer"], own["code"]) for own in (*twice["errors"], *both["errors"])] == [
        ("/rules/1/rule_id", "named_twice"),
        ("/rules/0/rule_id", "named_twice"),
    ]
    await refused(400, "validation_failed", rules=[{"rule_id": base, "version": 0}], more=1)


async def test_only_so_many_wait_at_once(shop: Shop) -> None:
    await advance(shop, AFTER)
    for _ in range(5):
        await ask(shop)
    body = {"from": "2026-01-01T00:00:00Z", "until": AFTER}
    problem = await shop.refuses("POST", "/v1/simulations", body, status=409, code="too_many_simulations")
    assert problem["data"] == {"most": 5}
    await work(shop)
    await ask(shop)
