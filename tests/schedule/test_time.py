"""What time does to points: policies, the test clock on its way, and the jobs of a worker."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from tests.shop import Json, Shop

from loyalty import worker
from loyalty.core import clock
from loyalty.core.db import transaction
from loyalty.jobs import service as jobs
from loyalty.points import service as points
from loyalty.schedule.service import JOBS


async def settings(shop: Shop, **changes: Any) -> None:
    await shop.send("PATCH", "/v1/program", changes, expect=200)


async def advance(shop: Shop, to: str) -> None:
    await shop.post("/v1/test-clock/advance", {"to": to}, expect=200)


async def entries(shop: Shop, member: Json) -> list[tuple[str, int, str]]:
    """Return a wallet's entries, oldest first: kind, points, when it happened."""
    found = (await shop.get(f"/v1/members/{member['id']}/entries"))["data"]
    return [(entry["kind"], entry["points"], entry["occurred_at"]) for entry in reversed(found)]


async def buyer(shop: Shop, euros: int = 100, **details: Any) -> tuple[Json, Json]:
    member = await shop.enrol()
    return member, await shop.order(euros, customer_id=member["customer_id"], **details)


@pytest.mark.parametrize(
    ("policy", "ends"),
    [
        ({"kind": "after", "days": 30}, "2026-01-31T23:00:00Z"),
        ({"kind": "after", "months": 1}, "2026-02-01T23:00:00Z"),
        ({"kind": "after", "months": 12, "round_up_to": "year"}, "2027-12-31T23:00:00Z"),
        ({"kind": "after", "months": 6, "round_up_to": "month"}, "2026-07-31T22:00:00Z"),
        ({"kind": "dates", "dates": ["06-30", "12-31"]}, "2026-06-30T22:00:00Z"),
        ({"kind": "inactivity", "months": 3}, "2026-04-01T22:00:00Z"),
    ],
)
async def test_points_expire_at_the_end_of_the_local_day_that_the_policy_says(
    shop: Shop, policy: Json, ends: str
) -> None:
    await settings(shop, expiry=policy)
    member, _ = await buyer(shop)
    assert (await shop.wallet(member["id"]))["expiring"] == [{"at": ends, "points": 100}]
    await advance(shop, clock.rfc3339(datetime.fromisoformat(ends) - timedelta(seconds=1)))
    assert (await shop.wallet(member["id"]))["balance"] == 100
    await advance(shop, ends)
    assert (await shop.wallet(member["id"]))["balance"] == 0
    assert (await entries(shop, member))[-1] == ("expire", 100, ends)
    await shop.books_hold()


async def test_activity_puts_off_expiry_by_inactivity(shop: Shop) -> None:
    await settings(shop, expiry={"kind": "inactivity", "days": 10})
    member, _ = await buyer(shop)
    await advance(shop, "2026-01-09T12:00:00Z")
    reward = await shop.reward(cost=1)
    await shop.post("/v1/redemptions", {"member_id": member["id"], "reward_id": reward["id"]})
    await advance(shop, "2026-01-19T12:00:00Z")
    wallet = await shop.wallet(member["id"])
    assert (wallet["balance"], wallet["expiring"]) == (99, [{"at": "2026-01-19T23:00:00Z", "points": 99}])
    await advance(shop, "2026-01-19T23:00:00Z")
    assert (await shop.wallet(member["id"]))["balance"] == 0


async def test_a_lot_keeps_the_dates_it_was_given_when_the_policy_changes(shop: Shop) -> None:
    await settings(shop, expiry={"kind": "after", "days": 30})
    member, _ = await buyer(shop)
    await settings(shop, expiry={"kind": "never"})
    await shop.order(5, customer_id=member["customer_id"])
    await advance(shop, "2026-06-01T00:00:00Z")
    assert (await shop.wallet(member["id"]))["balance"] == 5


async def test_points_become_spendable_after_a_delay(shop: Shop) -> None:
    await settings(shop, activation={"kind": "delay", "days": 14}, expiry={"kind": "after", "days": 10})
    member, _ = await buyer(shop)
    wallet = await shop.wallet(member["id"])
    assert (wallet["pending"], wallet["starting"]) == (100, [{"at": "2026-01-14T23:00:00Z", "points": 100}])
    await advance(shop, "2026-02-20T00:00:00Z")
    assert await entries(shop, member) == [
        ("earn", 100, "2026-01-01T12:00:00Z"),
        ("activate", 100, "2026-01-14T23:00:00Z"),
        ("expire", 100, "2026-01-25T23:00:00Z"),
    ]
    await shop.books_hold()


async def test_the_delay_of_an_unpaid_order_counts_from_its_payment(shop: Shop) -> None:
    await settings(shop, activation={"kind": "delay", "days": 2})
    member, order = await buyer(shop, status="placed")
    await advance(shop, "2026-01-05T12:00:00Z")
    assert (await shop.wallet(member["id"]))["pending"] == 100
    await shop.post(f"/v1/orders/{order['id']}/payments", {})
    assert (await shop.wallet(member["id"]))["starting"] == [{"at": "2026-01-06T23:00:00Z", "points": 100}]
    await advance(shop, "2026-01-06T23:00:00Z")
    assert (await shop.wallet(member["id"]))["available"] == 100


@pytest.mark.parametrize("first", ["payments", "deliveries"])
async def test_points_that_wait_for_delivery_need_both_payment_and_delivery(shop: Shop, first: str) -> None:
    await settings(shop, activation={"kind": "delivery"}, expiry={"kind": "after", "days": 10})
    member, order = await buyer(shop, status="placed")
    second = {"payments": "deliveries", "deliveries": "payments"}[first]
    await shop.post(f"/v1/orders/{order['id']}/{first}", {})
    assert (await shop.wallet(member["id"]))["pending"] == 100
    await advance(shop, "2026-01-03T12:00:00Z")
    await shop.post(f"/v1/orders/{order['id']}/{second}", {})
    wallet = await shop.wallet(member["id"])
    assert (wallet["available"], wallet["expiring"]) == (100, [{"at": "2026-01-13T23:00:00Z", "points": 100}])
    await shop.books_hold()


async def test_an_order_is_delivered_once(shop: Shop) -> None:
    _, order = await buyer(shop)
    path = f"/v1/orders/{order['id']}/deliveries"
    first = await shop.send("POST", path, {}, key="one", expect=201)
    assert first.json()["delivered_at"] == "2026-01-01T12:00:00Z"
    again = await shop.send("POST", path, {}, key="one", expect=201)
    assert again.content == first.content
    await shop.refuses("POST", path, {}, status=409, code="order_already_delivered")
    other = await buyer(shop)
    early = {"delivered_at": "2025-12-30T00:00:00Z"}
    path = f"/v1/orders/{other[1]['id']}/deliveries"
    await shop.refuses("POST", path, early, status=400, code="delivered_before_placed")


@pytest.mark.parametrize(
    ("policy", "balance", "ends"),
    [
        ("restore_with_grace", 60, "2026-02-11T23:00:00Z"),
        ("new_lot", 60, "2026-01-15T23:00:00Z"),
        ("forfeit", 0, None),
    ],
)
async def test_points_that_return_to_an_expired_lot_go_where_the_policy_says(
    shop: Shop, policy: str, balance: int, ends: str | None
) -> None:
    await settings(shop, expiry={"kind": "after", "days": 3}, expired_lot=policy)
    member, _ = await buyer(shop, 60)
    reward = await shop.reward(cost=60)
    body = {"member_id": member["id"], "reward_id": reward["id"]}
    redemption = await shop.post("/v1/redemptions", body)
    await advance(shop, "2026-01-12T12:00:00Z")
    await shop.post(f"/v1/redemptions/{redemption['id']}/cancellation", {})
    wallet = await shop.wallet(member["id"])
    assert (wallet["balance"], [dated["at"] for dated in wallet["expiring"]]) == (balance, [ends] if ends else [])
    await shop.books_hold()


async def test_what_is_due_is_settled_by_whoever_comes_first_the_same_way(shop: Shop) -> None:
    """A read shows it, a write does it, a job does it: the dates decide, never whether a job ran."""
    await settings(shop, expiry={"kind": "after", "days": 1})
    members = [(await buyer(shop))[0] for _ in range(3)]
    async with transaction(shop.sessions) as session:
        later = text("UPDATE programs SET clock_at = '2026-02-01Z' WHERE id = :id")
        await session.execute(later, {"id": shop.program.id})
    read, write, job = members
    assert (await shop.wallet(read["id"]))["balance"] == 0
    assert [kind for kind, _, _ in await entries(shop, read)] == ["earn"]
    await shop.order(1, customer_id=write["customer_id"])
    assert await worker.run_due_jobs(shop.sessions) >= 2
    for member in (write, job, read):
        assert (await entries(shop, member))[1] == ("expire", 100, "2026-01-02T23:00:00Z")
    assert await worker.run_due_jobs(shop.sessions) == 0
    await shop.books_hold()


async def test_the_clock_runs_through_everything_in_order(shop: Shop) -> None:
    await settings(shop, expiry={"kind": "after", "days": 5})
    first, _ = await buyer(shop)
    await advance(shop, "2026-01-02T12:00:00Z")
    second, _ = await buyer(shop)
    await shop.post("/v1/holds", {"member_id": first["id"], "points": 10, "expires_in_seconds": 3600})
    await advance(shop, "2026-03-01T00:00:00Z")
    async with transaction(shop.sessions) as session:
        query = "SELECT kind, recorded_at FROM entries WHERE program_id = :id AND kind IN ('release', 'expire')"
        rows = (await session.execute(text(query + " ORDER BY id"), {"id": shop.program.id})).all()
    assert [(kind, clock.rfc3339(at)) for kind, at in rows] == [
        ("release", "2026-01-02T13:00:00Z"),
        ("expire", "2026-01-06T23:00:00Z"),
        ("expire", "2026-01-07T23:00:00Z"),
    ]
    assert [(await shop.wallet(member["id"]))["balance"] for member in (first, second)] == [0, 0]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"expiry": {"kind": "after"}}, "/expiry"),
        ({"expiry": {"kind": "after", "days": 1, "months": 1}}, "/expiry"),
        ({"expiry": {"kind": "never", "days": 1}}, "/expiry"),
        ({"expiry": {"kind": "dates"}}, "/expiry/dates"),
        ({"expiry": {"kind": "dates", "dates": ["02-30"]}}, "/expiry/dates/0"),
        ({"expiry": {"kind": "inactivity", "days": 1, "round_up_to": "year"}}, "/expiry/round_up_to"),
        ({"activation": {"kind": "delay"}}, "/activation/days"),
        ({"activation": {"kind": "delivery", "days": 1}}, "/activation/days"),
        ({"clawback": "everything"}, "/clawback"),
        ({"grace_days": 0}, "/grace_days"),
    ],
)
async def test_a_policy_of_nonsense_is_refused(shop: Shop, body: Json, pointer: str) -> None:
    problem = await shop.refuses("PATCH", "/v1/program", body, status=400, code="validation_failed")
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]


async def test_settings_come_back_as_they_were_put(shop: Shop) -> None:
    policy = {"kind": "after", "days": 0, "months": 6, "round_up_to": "month", "dates": []}
    await settings(shop, expiry=policy, clawback="allow_debt", expired_lot="forfeit", grace_days=7)
    program = await shop.get("/v1/program")
    assert (program["expiry"], program["clawback"]) == (policy, "allow_debt")
    assert (program["expired_lot"], program["grace_days"]) == ("forfeit", 7)
    assert program["activation"] == {"kind": "at_once", "days": 0}


async def test_a_job_is_taken_by_one_worker_and_comes_back_when_it_dies(shop: Shop) -> None:
    now, own = clock.now(), shop.program.id
    async with transaction(shop.sessions) as session:
        await jobs.introduce(session, program_id=own, names=["settle_wallets"], now=now)
    async with transaction(shop.sessions) as one, transaction(shop.sessions) as other:
        taken = await jobs.take(one, program_id=own, names=JOBS, now=now)
        assert taken is not None
        assert await jobs.take(other, program_id=own, names=JOBS, now=now) is None
    async with transaction(shop.sessions) as session:
        assert await jobs.take(session, program_id=own, names=JOBS, now=now + timedelta(minutes=4)) is None
        assert await jobs.take(session, program_id=own, names=JOBS, now=now + timedelta(minutes=6)) is not None


async def test_a_job_that_fails_is_kept_with_its_error_and_tried_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> int:
        raise RuntimeError("no such luck")

    with monkeypatch.context() as patched:
        patched.setattr(points, "settle_due", broken)
        await worker.run_due_jobs(shop.sessions)
    job = {found["name"]: found for found in (await shop.get("/v1/jobs"))["data"]}["settle_wallets"]
    assert (job["state"], job["attempts"], job["last_error"]) == ("retrying", 1, "RuntimeError: no such luck")
    async with transaction(shop.sessions) as session:
        due = text("UPDATE jobs SET run_at = '2020-01-01Z' WHERE program_id = :id")
        await session.execute(due, {"id": shop.program.id})
    await worker.run_due_jobs(shop.sessions)
    job = {found["name"]: found for found in (await shop.get("/v1/jobs"))["data"]}["settle_wallets"]
    assert (job["state"], job["attempts"], job["last_error"], job["last_done"]) == ("waiting", 0, None, 0)


async def test_a_fact_reported_late_gets_the_dates_it_would_have_had_in_time(shop: Shop) -> None:
    policy = {
        "activation": {"kind": "delay", "days": 7},
        "expiry": {"kind": "after", "days": 30},
        "late_order_days": 60,
    }
    await settings(shop, **policy)
    in_time, _ = await buyer(shop)
    late = await shop.enrol()
    await advance(shop, "2026-01-20T12:00:00Z")
    await shop.order(100, customer_id=late["customer_id"], placed_at="2026-01-01T12:00:00Z")
    dates = [(await shop.wallet(member["id"]))["expiring"] for member in (in_time, late)]
    assert dates == [[{"at": "2026-02-07T23:00:00Z", "points": 100}]] * 2


async def test_idleness_counts_from_the_fact_and_goes_with_points_that_are_given(shop: Shop) -> None:
    """A gift to and fro is no activity: it does not keep points alive."""
    await settings(shop, expiry={"kind": "inactivity", "days": 30}, late_order_days=60)
    ann, _ = await buyer(shop)
    bob, late = await shop.enrol(), await shop.enrol()
    await advance(shop, "2026-01-25T12:00:00Z")
    await shop.order(100, customer_id=late["customer_id"], placed_at="2026-01-01T12:00:00Z")
    for giver, receiver in ((ann, bob), (bob, ann)):
        body = {"from_member_id": giver["id"], "to_member_id": receiver["id"], "points": 100}
        await shop.post("/v1/transfers", body)
    for member in (ann, late):
        assert (await shop.wallet(member["id"]))["expiring"] == [{"at": "2026-01-31T23:00:00Z", "points": 100}]


async def test_points_over_by_idleness_do_not_live_again(shop: Shop) -> None:
    await settings(shop, expiry={"kind": "inactivity", "days": 5}, expired_lot="forfeit")
    member, _ = await buyer(shop)
    reward = await shop.reward(cost=40)
    redemption = await shop.post("/v1/redemptions", {"member_id": member["id"], "reward_id": reward["id"]})
    await advance(shop, "2026-02-01T12:00:00Z")
    await shop.order(10, customer_id=member["customer_id"])
    await shop.post(f"/v1/redemptions/{redemption['id']}/cancellation", {})
    assert (await shop.wallet(member["id"]))["balance"] == 10
    await shop.books_hold()


async def test_history_in_one_batch_or_in_many_comes_to_the_same(shop: Shop) -> None:
    await settings(shop, expiry={"kind": "inactivity", "days": 30})
    terms = {"kind": "points_per_amount", "points": 1, "step_minor": {"EUR": 100}}
    await shop.post("/v1/earning-rules", {"name": "old", "terms": terms, "active_from": "2024-01-01T00:00:00Z"})
    line = {"sku": "a", "total": {"amount": 10_000, "currency": "EUR"}}
    results = []
    for name, size in (("one", 3), ("many", 1)):
        order = {"kind": "order", "external_customer_id": name, "currency": "EUR", "lines": [line]}
        records = [
            {"kind": "enrolment", "external_customer_id": name, "at": "2025-01-01T00:00:00Z"},
            {**order, "external_id": f"{name}-1", "at": "2025-01-02T00:00:00Z"},
            {**order, "external_id": f"{name}-2", "at": "2025-12-20T00:00:00Z"},
        ]
        for start in range(0, 3, size):
            await shop.post("/v1/imports", {"records": records[start : start + size]})
        member = (await shop.get(f"/v1/members?external_id={name}"))["data"][0]
        wallet = await shop.wallet(member["id"])
        results.append((wallet["balance"], wallet["expiring"]))
    assert results == [(100, [{"at": "2026-01-19T23:00:00Z", "points": 100}])] * 2
    await shop.books_hold()


async def test_a_clock_that_advances_beside_transfers_meets_no_deadlock(shop: Shop) -> None:
    one, two = await shop.enrol(), await shop.enrol()
    for number, member in enumerate([one, two] * 4):
        ends = f"2026-02-{10 + number:02}T00:00:00Z"
        body = {"member_id": member["id"], "points": 100, "reason": "gift", "expires_at": ends}
        await shop.post("/v1/adjustments", body)
    gifts = [
        shop.send("POST", "/v1/transfers", {"from_member_id": a["id"], "to_member_id": b["id"], "points": 1})
        for a, b in [(one, two), (two, one)] * 8
    ]
    to = {"to": "2026-03-01T00:00:00Z"}
    replies = await asyncio.gather(*gifts[:8], shop.send("POST", "/v1/test-clock/advance", to), *gifts[8:])
    assert {reply.status_code for reply in replies} <= {200, 201, 409}
    await shop.books_hold()
