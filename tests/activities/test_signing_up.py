"""Signing up is an activity: rules for it count as somebody enrols, once for each membership."""

import asyncio

from tests.shop import Json, Shop

WELCOME = {"kind": "points_per_activity", "activity": "signed_up", "points": 100}


async def welcome(shop: Shop, **terms: object) -> Json:
    return await shop.post("/v1/earning-rules", {"name": "welcome", "terms": {**WELCOME, **terms}})


async def test_signing_up_earns_in_the_same_transaction(shop: Shop) -> None:
    await welcome(shop)
    member = await shop.enrol()
    assert member["points_earned"] == 100
    assert (await shop.wallet(member["id"]))["available"] == 100
    activity = (await shop.get(f"/v1/activities?member_id={member['id']}"))["data"][0]
    assert (activity["type"], activity["external_id"], activity["points_earned"]) == ("signed_up", member["id"], 100)
    await shop.books_hold()


async def test_a_customer_who_bought_before_is_welcomed_too(shop: Shop) -> None:
    await welcome(shop)
    await shop.order(10, external_customer_id="ann")
    assert (await shop.enrol(external_id="ann"))["points_earned"] == 100


async def test_without_a_rule_for_it_signing_up_earns_nothing(shop: Shop) -> None:
    member = await shop.enrol()
    assert (member["points_earned"], (await shop.wallet(member["id"]))["version"]) == (0, 0)


async def test_a_repeated_enrolment_hears_its_first_reply_whatever_came_since(shop: Shop) -> None:
    rule = await welcome(shop)
    first = await shop.send("POST", "/v1/members", {"external_id": "ann"}, key="once", expect=201)
    await shop.post(
        f"/v1/earning-rules/{rule['id']}/versions", {"terms": WELCOME, "active_from": "2026-01-02T00:00:00Z"}
    )
    heir = await shop.enrol()
    merge = {"from_member_id": first.json()["id"], "into_member_id": heir["id"], "reason": "the same person"}
    await shop.post("/v1/member-merges", merge)
    again = await shop.send("POST", "/v1/members", {"external_id": "ann"}, key="once", expect=201)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert (await shop.wallet(heir["id"]))["balance"] == 200


async def test_one_customer_enrolled_many_times_at_once_is_welcomed_once(shop: Shop) -> None:
    await welcome(shop)
    await shop.order(10, external_customer_id="ann")
    replies = await asyncio.gather(*(shop.send("POST", "/v1/members", {"external_id": "ann"}) for _ in range(16)))
    assert sorted(reply.status_code for reply in replies) == [201] + [409] * 15
    (member,) = [reply.json() for reply in replies if reply.status_code == 201]
    assert (await shop.wallet(member["id"]))["balance"] == 100
    await shop.books_hold()


async def test_a_budget_for_welcomes_is_never_overshot(shop: Shop) -> None:
    await welcome(shop, limits={"budget": 250})
    members = await asyncio.gather(*(shop.enrol() for _ in range(8)))
    assert sorted(member["points_earned"] for member in members) == [0] * 5 + [50, 100, 100]
    await shop.books_hold()


async def test_an_imported_enrolment_counts_under_the_rules_of_its_own_time(shop: Shop) -> None:
    """Twice the same batch; of three who joined one came before the rule, and the budget reaches for one and a half."""
    await shop.post(
        "/v1/earning-rules",
        {
            "name": "welcome",
            "terms": {**WELCOME, "limits": {"budget": 150, "per_member": {"points": 100, "period": "lifetime"}}},
            "active_from": "2025-02-01T00:00:00Z",
        },
    )
    records = [
        {"kind": "enrolment", "external_customer_id": f"old-{month}", "at": f"2025-{month}-01T00:00:00Z"}
        for month in ("01", "02", "03")
    ]
    for _ in range(2):
        await shop.post("/v1/imports", {"records": records})
    listed = (await shop.get("/v1/activities"))["data"]
    assert [(row["occurred_at"], row["recorded_at"], row["points_earned"]) for row in reversed(listed)] == [
        ("2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z", 0),
        ("2025-02-01T00:00:00Z", "2025-02-01T00:00:00Z", 100),
        ("2025-03-01T00:00:00Z", "2025-03-01T00:00:00Z", 50),
    ]
    trace = [(await shop.get(f"/v1/activities/{row['id']}"))["trace"] for row in reversed(listed)]
    assert [[(own["outcome"], own["capped_by"]) for own in each] for each in trace] == [
        [],
        [("counted", None)],
        [("counted", "budget")],
    ]
    assert {row["type"] for row in listed} == {"signed_up"}
    await shop.books_hold()
