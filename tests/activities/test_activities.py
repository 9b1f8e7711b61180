"""What else a member did, through the doors: recorded once, judged by the rules of its time, paid exactly."""

import asyncio
from typing import Any

import pytest
from tests.shop import Json, Shop

from loyalty.core.db import transaction
from loyalty.earning import service as earning

REVIEW = {"kind": "points_per_activity", "activity": "reviewed", "points": 20}


async def rule(shop: Shop, terms: Json | None = None, **details: Any) -> str:
    body = {"name": "activity", "terms": {**REVIEW, **(terms or {})}, **details}
    return str((await shop.post("/v1/earning-rules", body))["id"])


def did(member: Json, type_: str = "reviewed", **details: Any) -> Json:
    return {"member_id": member["id"], "type": type_, **details}


async def do(shop: Shop, member: Json, type_: str = "reviewed", **details: Any) -> Json:
    return await shop.post("/v1/activities", did(member, type_, **details))


async def advance(shop: Shop, to: str) -> None:
    await shop.post("/v1/test-clock/advance", {"to": to}, expect=200)


async def balance(shop: Shop, member: Json) -> int:
    return int((await shop.wallet(member["id"]))["balance"])


def outcomes(activity: Json) -> list[tuple[str, int]]:
    return [(own["outcome"], own["points"]) for own in activity["trace"]]


async def test_an_activity_earns_what_its_rules_say_and_tells_all_of_it(shop: Shop) -> None:
    member, rule_id = await shop.enrol(), await rule(shop)
    await rule(shop, {"activity": "checked_in"})
    made = await do(shop, member, external_id="review-1", metadata={"product": "shirt"})
    entry = made["entries"][0]
    assert made == {
        "id": made["id"],
        "member_id": member["id"],
        "type": "reviewed",
        "external_id": "review-1",
        "occurred_at": "2026-01-01T12:00:00Z",
        "recorded_at": "2026-01-01T12:00:00Z",
        "late": False,
        "points_earned": 20,
        "awards": [{"rule_id": rule_id, "rule_version": 1, "points": 20, "unit": "points"}],
        "trace": [
            {
                "rule_id": rule_id,
                "rule_version": 1,
                "outcome": "counted",
                "unit": "points",
                "counted": 20,
                "points": 20,
                "capped_by": None,
            }
        ],
        "entries": made["entries"],
        "metadata": {"product": "shirt"},
    }
    assert (entry["kind"], entry["to_account"], entry["balance_after"]) == ("earn", "available", 20)
    assert entry["source_id"] == made["id"]
    assert await shop.get(f"/v1/activities/{made['id']}") == made
    assert await balance(shop, member) == 20
    explained = await shop.get(f"/v1/members/{member['id']}/explanation")
    assert explained["reasons"][-1]["text"] == f"20 points were earned by activity {made['id']}."
    await shop.books_hold()


async def test_what_no_rule_counts_is_recorded_and_earns_nothing(shop: Shop) -> None:
    member = await shop.enrol()
    made = await do(shop, member, "waved")
    assert (made["points_earned"], made["awards"], made["trace"], made["entries"]) == (0, [], [], [])
    assert (await shop.wallet(member["id"]))["version"] == 0


async def test_two_rules_pay_two_entries_into_their_own_wallets(shop: Shop) -> None:
    member = await shop.enrol()
    await rule(shop)
    await rule(shop, {"points": 3, "unit": "stars"})
    made = await do(shop, member)
    assert [(entry["points"], entry["unit"], entry["balance_after"]) for entry in made["entries"]] == [
        (20, "points", 20),
        (3, "stars", 3),
    ]
    assert made["points_earned"] == 23
    await shop.books_hold()


async def test_an_exclusive_rule_holds_back_those_below_it_and_the_trace_says_so(shop: Shop) -> None:
    member = await shop.enrol()
    await rule(shop, {"points": 50, "priority": 9, "combination": "exclusive"})
    await rule(shop)
    assert outcomes(await do(shop, member)) == [("counted", 50), ("outranked", 0)]


async def test_the_same_external_id_pays_once_under_any_key(shop: Shop) -> None:
    member = await shop.enrol()
    await rule(shop)
    body = did(member, external_id="review-1", occurred_at="2026-01-01T12:00:00Z")
    replies = await asyncio.gather(*(shop.send("POST", "/v1/activities", body) for _ in range(32)))
    assert sorted(reply.status_code for reply in replies) == [200] * 31 + [201]
    assert len({reply.content for reply in replies}) == 1
    assert await balance(shop, member) == 20
    await shop.books_hold()


async def test_the_same_external_id_of_another_type_is_another_activity(shop: Shop) -> None:
    member = await shop.enrol()
    first = await do(shop, member, external_id="one")
    second = await do(shop, member, "checked_in", external_id="one")
    assert first["id"] != second["id"]


@pytest.mark.parametrize(
    "changed",
    [{"metadata": {"stars": "5"}}, {"occurred_at": "2026-01-01T11:00:00Z"}, {"member_id": None}],
    ids=["metadata", "time", "member"],
)
async def test_the_same_external_id_with_other_content_is_refused(shop: Shop, changed: Json) -> None:
    member, other = await shop.enrol(), await shop.enrol()
    await rule(shop)
    made = await do(shop, member, external_id="review-1")
    body = did(member, external_id="review-1") | {name: value or other["id"] for name, value in changed.items()}
    problem = await shop.refuses("POST", "/v1/activities", body, status=409, code="activity_differs")
    assert problem["data"] == {"activity_id": made["id"]}


async def test_a_repeated_request_hears_its_first_reply_whatever_came_since(shop: Shop) -> None:
    await shop.send("PATCH", "/v1/program", {"expiry": {"kind": "after", "days": 5}}, expect=200)
    member, rule_id = await shop.enrol(), await rule(shop, {"limits": {"per_member": {"points": 30, "period": "year"}}})
    await do(shop, member)
    body = did(member, external_id="review-2")
    first = await shop.send("POST", "/v1/activities", body, key="once", expect=201)
    assert first.json()["trace"][0]["capped_by"] == "per_member"
    await advance(shop, "2026-01-20T12:00:00Z")
    await do(shop, member)
    await shop.post(f"/v1/earning-rules/{rule_id}/versions", {"terms": {**REVIEW, "points": 5}})
    before = await shop.digest()
    again = await shop.send("POST", "/v1/activities", body, key="once", expect=201)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert await shop.digest() == before
    assert (await shop.send("POST", "/v1/activities", body, key="another", expect=200)).content == first.content
    await shop.refuses("POST", "/v1/activities", did(member), status=422, code="idempotency_key_reused", key="once")


async def test_a_check_in_counts_once_a_day_of_the_program(shop: Shop) -> None:
    member = await shop.enrol()
    per_day = {"limits": {"per_member": {"points": 5, "period": "day"}}}
    await rule(shop, {"activity": "checked_in", "points": 5, **per_day})
    first, second = [await do(shop, member, "checked_in") for _ in range(2)]
    assert outcomes(first) + outcomes(second) == [("counted", 5), ("limit_reached", 0)]
    assert second["trace"][0]["capped_by"] == "per_member"
    await advance(shop, "2026-01-01T22:59:59Z")
    assert outcomes(await do(shop, member, "checked_in")) == [("limit_reached", 0)]
    await advance(shop, "2026-01-01T23:00:00Z")
    assert outcomes(await do(shop, member, "checked_in")) == [("counted", 5)]
    late = await do(shop, member, "checked_in", occurred_at="2026-01-01T22:59:59Z")
    assert (outcomes(late), late["late"]) == ([("limit_reached", 0)], True)
    assert await balance(shop, member) == 10


async def test_a_limit_holds_against_many_at_once(shop: Shop) -> None:
    members = [await shop.enrol() for _ in range(4)]
    await rule(shop, {"limits": {"per_member": {"points": 50, "period": "month"}, "budget": 130}})
    bodies = [did(member) for member in members for _ in range(4)]
    replies = await asyncio.gather(*(shop.send("POST", "/v1/activities", body, expect=201) for body in bodies))
    balances = [await balance(shop, member) for member in members]
    assert sum(balances) == 130 == sum(reply.json()["points_earned"] for reply in replies)
    assert max(balances) <= 50
    await shop.books_hold()


async def test_a_window_is_of_the_programs_zone(shop: Shop) -> None:
    member = await shop.enrol()
    await rule(shop, {"conditions": {"windows": [{"weekdays": ["fri"], "from": "00:00", "until": "01:00"}]}})
    await advance(shop, "2026-01-02T12:00:00Z")
    for at, expected in (
        ("2026-01-01T22:59:59Z", ("outside_window", 0)),
        ("2026-01-01T23:00:00Z", ("counted", 20)),
        ("2026-01-02T00:00:00Z", ("outside_window", 0)),
    ):
        made = await do(shop, member, occurred_at=at)
        assert outcomes(made) == [expected]
        assert await shop.get(f"/v1/activities/{made['id']}") == made


async def test_attributes_decide_as_they_were_then(shop: Shop) -> None:
    member = await shop.enrol(attributes={"club": "gold"})
    await rule(shop, {"conditions": {"attributes": {"club": ["gold"]}}})
    first = await do(shop, member)
    path = f"/v1/members/{member['id']}"
    await shop.send("PATCH", path, {"attributes": {"club": "none"}}, expect=200)
    assert outcomes(await do(shop, member)) == [("other_attribute", 0)]
    assert await shop.get(f"/v1/activities/{first['id']}") == first


async def test_it_is_judged_by_the_rules_in_force_when_it_occurred(shop: Shop) -> None:
    member, rule_id = await shop.enrol(), await rule(shop)
    await advance(shop, "2026-01-03T12:00:00Z")
    await shop.post(f"/v1/earning-rules/{rule_id}/versions", {"terms": {**REVIEW, "points": 7}})
    late = await do(shop, member, occurred_at="2026-01-03T11:59:59Z")
    assert [(own["rule_version"], own["points"]) for own in late["awards"]] == [(1, 20)]
    now = await do(shop, member)
    assert [(own["rule_version"], own["points"]) for own in now["awards"]] == [(2, 7)]


@pytest.mark.parametrize("at", ["2026-01-12T11:59:59Z", "2026-01-20T12:00:01Z"])
async def test_too_late_and_the_future_are_refused(shop: Shop, at: str) -> None:
    member = await shop.enrol()
    await rule(shop)
    await advance(shop, "2026-01-20T12:00:00Z")
    await shop.send("PATCH", "/v1/program", {"late_order_days": 8}, expect=200)
    problem = await shop.refuses(
        "POST", "/v1/activities", did(member, occurred_at=at), status=409, code="occurred_out_of_time"
    )
    assert problem["data"] == {"earliest": "2026-01-12T12:00:00Z", "latest": "2026-01-20T12:00:00Z"}
    assert (await do(shop, member, occurred_at="2026-01-12T12:00:00Z"))["points_earned"] == 20


async def test_a_retry_long_after_is_still_the_same_activity(shop: Shop) -> None:
    member = await shop.enrol()
    body = did(member, external_id="one", occurred_at="2026-01-01T12:00:00Z")
    first = await shop.post("/v1/activities", body)
    await advance(shop, "2026-03-01T12:00:00Z")
    assert await shop.post("/v1/activities", body, expect=200) == first


async def test_what_was_done_before_joining_earns_nothing(shop: Shop) -> None:
    await advance(shop, "2026-01-02T12:00:00Z")
    member = await shop.enrol()
    await rule(shop, active_from="2026-01-01T00:00:00Z")
    made = await do(shop, member, occurred_at="2026-01-02T11:59:59Z")
    assert (made["points_earned"], made["trace"]) == (0, [])


@pytest.mark.parametrize(
    ("change", "points"),
    [
        ({"status": "suspended", "suspends": "earn"}, 0),
        ({"status": "suspended", "suspends": "both"}, 0),
        ({"status": "suspended", "suspends": "burn"}, 20),
        ({"status": "closed"}, 0),
    ],
)
async def test_only_who_is_free_to_earn_does(shop: Shop, change: Json, points: int) -> None:
    member = await shop.enrol()
    await rule(shop)
    await shop.post(f"/v1/members/{member['id']}/status-changes", {**change, "reason": "checked"})
    assert (await do(shop, member))["points_earned"] == points
    assert await balance(shop, member) == points


async def test_points_wait_where_the_program_delays_them_and_not_for_a_delivery(shop: Shop) -> None:
    member = await shop.enrol()
    await rule(shop)
    await shop.send("PATCH", "/v1/program", {"activation": {"kind": "delivery"}}, expect=200)
    at_once = await do(shop, member)
    await shop.send("PATCH", "/v1/program", {"activation": {"kind": "delay", "days": 3}}, expect=200)
    delayed = await do(shop, member)
    assert [own["entries"][0]["to_account"] for own in (at_once, delayed)] == ["available", "pending"]
    wallet = await shop.wallet(member["id"])
    assert wallet["starting"] == [{"at": "2026-01-03T23:00:00Z", "points": 20}]
    await advance(shop, "2026-01-04T12:00:00Z")
    assert (await shop.wallet(member["id"]))["available"] == 40
    assert await shop.get(f"/v1/activities/{delayed['id']}") == delayed
    await shop.books_hold()


async def test_a_trial_tells_all_and_changes_nothing(shop: Shop) -> None:
    member = await shop.enrol()
    await rule(shop, {"limits": {"budget": 30}})
    before = await shop.digest()
    reply = await shop.send("POST", "/v1/activities?dry_run=true", did(member, external_id="one"), expect=200)
    assert (reply.json()["points_earned"], reply.json()["entries"][0]["balance_after"]) == (20, 20)
    assert await shop.digest() == before
    assert (await do(shop, member, external_id="one"))["points_earned"] == 20


async def test_it_needs_a_key_and_a_well_formed_body(shop: Shop) -> None:
    member = await shop.enrol()
    headers = {"Authorization": f"Bearer {shop.key}"}
    reply = await shop.client.post("/v1/activities", json=did(member), headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (400, "idempotency_key_missing")
    for wrong in ("Reviewed", "1st", "", "a b", "x" * 65, "signed_up", "birthday", None):
        problem = await shop.refuses(
            "POST", "/v1/activities", {**did(member), "type": wrong}, status=400, code="validation_failed"
        )
        assert [fault["pointer"] for fault in problem["errors"]] == ["/type"]


async def test_another_programs_member_and_activity_are_not_there(shop: Shop, other_shop: Shop) -> None:
    theirs = await other_shop.enrol()
    made = await do(other_shop, theirs, external_id="one")
    await shop.refuses("POST", "/v1/activities", did(theirs), status=404, code="member_not_found")
    await shop.refuses("GET", f"/v1/activities/{made['id']}", status=404, code="activity_not_found")
    await shop.refuses("GET", f"/v1/activities?member_id={theirs['id']}", status=404, code="member_not_found")
    guest = (await shop.order(external_customer_id="guest"))["customer_id"].replace("cus_", "mem_")
    await shop.refuses("POST", "/v1/activities", did({"id": guest}), status=404, code="member_not_found")
    assert (await do(shop, await shop.enrol(), external_id="one"))["id"] != made["id"]


async def test_activities_are_listed_page_by_page_the_last_first(shop: Shop) -> None:
    ann, bob = await shop.enrol(), await shop.enrol()
    await rule(shop)
    made = [(await do(shop, ann, external_id=f"review-{number}"))["id"] for number in range(5)]
    await do(shop, bob)
    shown: list[Json] = []
    path = f"/v1/activities?member_id={ann['id']}&limit=2"
    page = await shop.get(path)
    while page["has_more"]:
        shown += page["data"]
        page = await shop.get(f"{path}&cursor={page['next_cursor']}")
    shown += page["data"]
    assert [row["id"] for row in shown[:-1]] == list(reversed(made))
    assert [(row["type"], row["points_earned"]) for row in shown] == [("reviewed", 20)] * 5 + [("signed_up", 0)]
    assert len((await shop.get("/v1/activities"))["data"]) == 8


async def test_a_merge_hands_activities_over_and_the_one_that_stays_goes_on(shop: Shop) -> None:
    old, new = await shop.enrol(), await shop.enrol()
    await rule(shop, {"limits": {"per_member": {"points": 30, "period": "lifetime"}}})
    body = did(old, external_id="one")
    first = await shop.post("/v1/activities", body)
    merge = {"from_member_id": old["id"], "into_member_id": new["id"], "reason": "the same person"}
    await shop.post("/v1/member-merges", merge)
    assert (await shop.get(f"/v1/activities/{first['id']}"))["member_id"] == new["id"]
    again = await shop.post("/v1/activities", body, expect=200)
    assert (again["id"], again["points_earned"]) == (first["id"], 20)
    then = await do(shop, old)
    assert (then["member_id"], then["points_earned"]) == (new["id"], 10)
    assert (await balance(shop, old), await balance(shop, new)) == (0, 30)
    assert (await shop.get(f"/v1/activities?member_id={old['id']}"))["data"] == []
    assert len((await shop.get(f"/v1/activities?member_id={new['id']}"))["data"]) == 4
    await shop.books_hold()


async def test_a_merge_and_activities_at_the_same_time_lose_no_point(shop: Shop) -> None:
    old, new = await shop.enrol(), await shop.enrol()
    await rule(shop)
    merge = {"from_member_id": old["id"], "into_member_id": new["id"], "reason": "the same person"}
    acts = [shop.send("POST", "/v1/activities", did(old)) for _ in range(20)]
    replies = await asyncio.gather(*acts[:10], shop.send("POST", "/v1/member-merges", merge), *acts[10:])
    again = [reply for reply in replies if reply.status_code == 503]
    assert {reply.json()["code"] for reply in again} <= {"merged_just_now"}
    for _ in again:
        await do(shop, old)
    assert (await balance(shop, old), await balance(shop, new)) == (0, 400)
    await shop.books_hold()


async def test_an_erasure_clears_what_an_activity_says_of_the_person(shop: Shop) -> None:
    member = await shop.enrol()
    await rule(shop)
    made = await do(shop, member, metadata={"text": "Leeuwenhoek was here"})
    await shop.post(f"/v1/members/{member['id']}/erasure", {"reason": "asked"}, expect=200)
    assert await shop.get(f"/v1/activities/{made['id']}") == {**made, "metadata": {}}
    await shop.books_hold()


async def test_types_that_no_rule_counts_are_not_kept(shop: Shop) -> None:
    member = await shop.enrol()
    for number in range(5):
        assert (await do(shop, member, f"type_{number}"))["points_earned"] == 0
    async with transaction(shop.sessions) as session:
        known = await earning.rule_set(session, program_id=shop.program.id)
    assert all(activity is None for _, activity in known._found)
