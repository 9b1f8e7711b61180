"""A simulation equals a plain recount, comes to nothing under the same rules, and to the same however it is worked."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from tests.earning.till import advance, buy, give_back, line, start_over
from tests.shop import Json, Shop
from tests.simulations.recounting import live_through, recount, shown, table, various_drafts, various_rules
from tests.simulations.trying import (
    A_POINT_A_EURO,
    AFTER,
    NOW,
    ask,
    batch,
    draft_rule,
    figures,
    found,
    sides,
    tried,
    uuid,
    work,
)
from tests.test_events import told

from loyalty import worker
from loyalty.core.db import transaction
from loyalty.earning.definitions import read_terms
from loyalty.earning.rules import RuleVersion
from loyalty.schedule import service as schedule
from loyalty.schedule.service import JOBS, Job
from loyalty.simulations import gathering, queries


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_simulation_is_a_plain_recount(shop: Shop, seed: int) -> None:
    await start_over(shop)
    await various_rules(shop)
    past = await live_through(shop, seed=seed)
    await various_drafts(shop)
    now = {"city": "rome", "tier": "red"}
    for member in past.members[:2]:
        # What a rule asked for that counted the order is known; what a draft asks for is not, so today's stands in.
        await shop.send("PATCH", f"/v1/members/{member['id']}", {"attributes": now}, expect=200)
        for order in past.orders:
            if order.member == member["id"]:
                order.attributes["city"] = "rome"
    await advance(shop, AFTER)
    report = await tried(shop, limit=7)

    rules = [
        RuleVersion(
            uuid("rul", own["rule_id"]),
            own["version"],
            read_terms(own["terms"]["kind"], own["terms"]),
            past.orders[0].at,
            None,
        )
        for own in report["rules"]
    ]
    today = [[(str(uuid("rul", rule)), unit, points) for rule, unit, points in order.given] for order in past.orders]
    expected = {"today": table(past, today), "tried": table(past, recount(past, rules))}
    for side, sums in expected.items():
        assert shown(report, side) == {name: sums[name] for name in ("whole", "month", "rule", "orders")}, side
    differences = Counter(expected["tried"]["member"])
    differences.subtract(expected["today"]["member"])
    told_of = {
        (own["member_id"], own["unit"]): own["points"]["difference"] for own in report["gained"] + report["lost"]
    }
    assert told_of == {key: more for key, more in differences.items() if more}
    assert report["orders"] == len(past.orders)
    assert len(report["by_month"]) > 2
    assert {own["rule_id"] for own in report["rules"] if own["is_draft"]} != set()


async def test_the_rules_that_were_in_force_make_no_difference(shop: Shop) -> None:
    await start_over(shop, burn={"rates": {"EUR": {"points": 1, "amount_minor": 1}}})
    await various_rules(shop)
    past = await live_through(shop, seed=4)
    ann, bob, _, lea = past.members
    await buy(shop, ann, line("oolong", 5_000, category="tea"), pay_points=100)
    last = await buy(shop, bob, line("fez", 2_000), line("tax", 500, kind="shipping"))
    await give_back(shop, last, total={"amount": 1_000, "currency": "EUR"})
    amendment = {"currency": "EUR", "added": [line("fez", 9_000)]}
    await shop.post(f"/v1/orders/{last['id']}/amendments", amendment)
    await shop.send("PATCH", "/v1/program", {"earning_base": {"shipping": True}}, expect=200)
    await shop.send("PATCH", f"/v1/members/{bob['id']}", {"attributes": {"tier": "gold"}}, expect=200)
    await shop.post(f"/v1/members/{lea['id']}/erasure", {"reason": "asked"}, expect=200)
    kim = await shop.enrol()
    await advance(shop, "2026-11-01T12:00:00Z")
    await buy(shop, kim, line("sencha", 3_000))
    merge = {"from_member_id": kim["id"], "into_member_id": ann["id"], "reason": "the same"}
    await shop.post("/v1/member-merges", merge)
    await advance(shop, AFTER)
    report = await tried(shop, limit=11)
    both = [own["points"] for own in report["points"]]
    both += [own["points"] for month in report["by_month"] for own in month["points"]]
    both += [own[name] for own in report["by_rule"] for name in ("points", "orders")]
    assert [own["difference"] for own in both] == [0] * len(both)
    assert min(own["today"] for own in both) > 0
    assert (report["gained"], report["lost"], report["orders"]) == ([], [], len(past.orders) + 3)


async def test_history_that_was_brought_in_is_tried_like_any_other(shop: Shop) -> None:
    terms = {"kind": "points_per_amount", **A_POINT_A_EURO}
    old = {"name": "old", "terms": terms, "active_from": "2024-01-01T00:00:00Z"}
    rule = (await shop.post("/v1/earning-rules", old))["id"]
    one = {"sku": "a", "total": {"amount": 10_000, "currency": "EUR"}}
    order = {"kind": "order", "external_customer_id": "ann", "currency": "EUR", "lines": [one]}
    records = [
        {"kind": "enrolment", "external_customer_id": "ann", "at": "2025-01-01T00:00:00Z"},
        *({**order, "external_id": f"old-{day}", "at": f"2025-01-{day:02}T00:00:00Z"} for day in range(2, 9)),
    ]
    await shop.post("/v1/imports", {"records": records})
    window: Json = {"from": "2025-01-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}
    await draft_rule(shop, "bonus", points=5, conditions={"every_nth_order": 3})
    same, other = await tried(shop, **window, rules=[]), await tried(shop, **window, limit=2)
    assert [own["points"] for own in same["points"]] == [sides(700, 1_400)]  # the shop's own rule began later
    assert [own["points"] for own in other["points"]] == [sides(700, 1_410)]
    assert {"rule_id": rule, "unit": "points", "orders": sides(7, 7), "points": sides(700, 700)} in other["by_rule"]


async def test_limits_begin_unused_and_are_used_up_in_order_of_time(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start_over(shop)
    member, other = await shop.enrol(), await shop.enrol()
    for at in ("2026-01-31T22:00:00Z", "2026-01-31T22:30:00Z", "2026-01-31T23:00:00Z", "2026-02-01T09:00:00Z"):
        await advance(shop, at)
        await buy(shop, member, line("tea", 1_000))
        await buy(shop, other, line("tea", 1_000))
    monthly = await draft_rule(shop, "bonus", points=40, limits={"per_member": {"points": 60, "period": "month"}})
    ever = await draft_rule(shop, "bonus", points=30, limits={"per_member": {"points": 50, "period": "lifetime"}})
    shared = await draft_rule(shop, "bonus", points=20, limits={"budget": 70})
    await advance(shop, AFTER)
    reports = [await tried(shop, limit=limit) for limit in (1, 500)]
    monkeypatch.setattr(queries, "_MOST_AT_ONCE", 1)
    reports.append(await tried(shop, limit=3))
    gave = {own["rule_id"]: own["points"]["tried"] for own in reports[0]["by_rule"]}
    assert gave == {monthly: 2 * 2 * 60, ever: 2 * 50, shared: 70}
    assert [month["points"][0]["points"]["tried"] for month in reports[0]["by_month"]] == [
        2 * 60 + 2 * 50 + 70,
        2 * 60,
    ]
    assert figures(reports[0]) == figures(reports[1]) == figures(reports[2])


async def test_batches_of_any_size_come_to_the_same(shop: Shop) -> None:
    await start_over(shop)
    await various_rules(shop)
    await live_through(shop, seed=5, orders=20)
    await various_drafts(shop)
    await advance(shop, AFTER)
    reports = [figures(await tried(shop, limit=limit)) for limit in (1, 4, 20, 21)]
    assert reports == reports[:1] * 4


async def test_what_broke_off_in_the_middle_goes_on_to_the_same(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await start_over(shop)
    await various_rules(shop)
    await live_through(shop, seed=6, orders=20)
    await various_drafts(shop)
    await advance(shop, AFTER)
    whole, again = figures(await tried(shop)), await ask(shop)
    really, calls = gathering.write, iter([False, False, True, False, True, True])

    async def write(*given: Any, **named: Any) -> None:
        await really(*given, **named)
        if next(calls, False):
            raise RuntimeError("the disk is full")

    async def die_before_the_commit() -> None:
        async with transaction(shop.sessions) as session:
            await JOBS["simulate"].work(session, shop.program, schedule.Moment(NOW, NOW), 5)
            raise asyncio.CancelledError

    monkeypatch.setattr(gathering, "write", write)
    assert [await batch(shop, limit=5) for _ in range(3)] == [5, 5, 0]
    stopped = await found(shop, again)
    assert (stopped["state"], stopped["orders_done"]) == ("running", 10)
    assert stopped["problem"] == "RuntimeError: the disk is full"
    assert [await batch(shop, limit=5) for _ in range(3)] == [5, 0, 0]
    with pytest.raises(asyncio.CancelledError):
        await die_before_the_commit()
    assert (await found(shop, again))["orders_done"] == 15
    await work(shop, limit=5)
    report = await found(shop, again)
    assert (report["state"], report["problem"], figures(report)) == ("finished", None, whole)


async def test_what_fails_again_and_again_has_failed_and_keeps_nobody_waiting(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = await shop.enrol()
    await buy(shop, member, line("tea", 1_000))
    await advance(shop, AFTER)
    broken, fine = await ask(shop), await ask(shop)

    async def write(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such luck")

    with monkeypatch.context() as patched:
        patched.setattr(gathering, "write", write)
        for _ in range(3):
            await batch(shop)
    report = await found(shop, broken)
    assert (report["state"], report["problem"], report["ended_at"]) == ("failed", "RuntimeError: no such luck", AFTER)
    await work(shop)
    assert (await found(shop, fine))["state"] == "finished"
    kinds = [event["type"] for event in await told(shop) if event["type"].startswith("simulation.")]
    assert kinds == ["simulation.created", "simulation.created", "simulation.failed", "simulation.finished"]


async def test_workers_beside_each_other_come_to_the_same(shop: Shop) -> None:
    await start_over(shop)
    await various_rules(shop)
    await live_through(shop, seed=7, orders=20)
    await various_drafts(shop)
    await advance(shop, AFTER)
    alone = figures(await tried(shop))
    asked = [await ask(shop) for _ in range(3)]

    async def look() -> None:
        for _ in range(40):
            await batch(shop, limit=2)

    await asyncio.gather(*(look() for _ in range(4)))
    assert [figures(await found(shop, simulation)) for simulation in asked] == [alone] * 3
    events = Counter(event["type"] for event in await told(shop))
    assert (events["simulation.created"], events["simulation.finished"]) == (4, 4)


async def test_the_worker_takes_turns(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    member = await shop.enrol()
    for _ in range(5):
        await buy(shop, member, line("tea", 1_000))
    await advance(shop, AFTER)
    simulation = await ask(shop)
    monkeypatch.setattr(worker, "_TURN", timedelta())
    monkeypatch.setitem(JOBS, "simulate", Job(timedelta(seconds=10), 2, schedule.simulate))
    states = []
    for _ in range(3):
        async with transaction(shop.sessions) as session:
            others = text("UPDATE jobs SET run_at = '2100-01-01Z' WHERE program_id = :id AND name <> 'simulate'")
            await session.execute(others, {"id": shop.program.id})
        await worker._run_jobs(shop.sessions, shop.program.id)
        report = await found(shop, simulation)
        states.append((report["state"], report["orders_done"]))
    assert states[-1] == ("finished", 5)
    job = {own["name"]: own for own in (await shop.get("/v1/jobs"))["data"]}["simulate"]
    assert (job["state"], job["last_done"], job["last_error"]) == ("waiting", 1, None)
