"""Coupons whose time is over: told once, by the job or by the clock on its way; dates decide."""

import asyncio
from datetime import datetime

from sqlalchemy import text
from tests.rewards.givers import advance, redeem, rich
from tests.shop import Json, Shop
from tests.test_events import told

from loyalty import worker
from loyalty.core.db import transaction
from loyalty.rewards import coupons


async def expired(shop: Shop) -> list[Json]:
    return [event for event in await told(shop) if event["type"] == "coupon.expired"]


async def jump(shop: Shop, to: str) -> None:
    """Move the clock without doing what would have happened on the way, as real time does."""
    async with transaction(shop.sessions) as session:
        later = text("UPDATE programs SET clock_at = :at WHERE id = :id")
        await session.execute(later, {"at": datetime.fromisoformat(to), "id": shop.program.id})


async def test_the_clock_tells_of_coupons_in_order_with_other_things(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(10, stock=2, coupon_days=5)
    first = await redeem(shop, member, reward)
    given = {"member_id": member["id"], "points": 15, "reason": "gift", "expires_at": "2026-01-07T00:00:00Z"}
    await shop.post("/v1/adjustments", given)
    await advance(shop, "2026-01-03T12:00:00Z")
    second = await redeem(shop, member, reward)
    await advance(shop, "2026-02-01T00:00:00Z")
    found = [event for event in await told(shop) if event["type"].endswith(".expired")]
    assert [(event["type"], event["occurred_at"]) for event in found] == [
        ("coupon.expired", "2026-01-06T12:00:00Z"),
        ("points.expired", "2026-01-07T00:00:00Z"),
        ("coupon.expired", "2026-01-08T12:00:00Z"),
    ]
    assert [found[0]["subject_id"], found[2]["subject_id"]] == [first["id"], second["id"]]
    assert (await shop.get(f"/v1/rewards/{reward['id']}"))["stock_left"] == 0
    await shop.books_hold()


async def test_the_job_tells_of_each_once_and_reads_do_not_wait_for_it(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(1, coupon_days=1)
    used, voided, over = [await redeem(shop, member, reward) for _ in range(3)]
    await shop.post("/v1/coupon-uses", {"code": used["coupon"]["code"]})
    await shop.post(f"/v1/redemptions/{voided['id']}/cancellation", {})
    await jump(shop, "2026-01-05T00:00:00Z")
    code = over["coupon"]["code"]
    assert (await shop.post("/v1/coupon-checks", {"code": code}, expect=200))["status"] == "expired"
    await shop.refuses("POST", "/v1/coupon-uses", {"code": code}, status=409, code="coupon_expired")
    assert await expired(shop) == []
    await worker.run_due_jobs(shop.sessions)
    (event,) = await expired(shop)
    assert (event["subject_id"], event["member_id"]) == (over["id"], member["id"])
    assert (event["occurred_at"], event["recorded_at"]) == ("2026-01-02T12:00:00Z", "2026-01-05T00:00:00Z")
    await advance(shop, "2026-01-06T00:00:00Z")
    assert len(await expired(shop)) == 1
    assert (await shop.post("/v1/coupon-checks", {"code": code}, expect=200))["status"] == "expired"
    assert "expire_coupons" in {job["name"] for job in (await shop.get("/v1/jobs"))["data"]}


async def test_workers_beside_each_other_tell_of_each_once_in_batches(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(1, coupon_days=1)
    for _ in range(10):
        await redeem(shop, member, reward)
    await jump(shop, "2026-01-05T00:00:00Z")
    now = datetime.fromisoformat("2026-01-05T00:00:00Z")

    async def work() -> int:
        async with transaction(shop.sessions) as session:
            return await coupons.expire(session, program_id=shop.program.id, now=now, limit=3)

    done = await asyncio.gather(*(work() for _ in range(4)))
    assert max(done) <= 3
    while await work():
        pass
    assert len({event["subject_id"] for event in await expired(shop)}) == len(await expired(shop)) == 10


async def test_the_clock_passes_a_coupon_that_somebody_holds(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(1, coupon_days=1)
    held, free = await redeem(shop, member, reward), await redeem(shop, member, reward)
    async with transaction(shop.sessions) as session:
        lock = text("SELECT id FROM coupons WHERE program_id = :id AND code = :code FOR UPDATE")
        await session.execute(lock, {"id": shop.program.id, "code": held["coupon"]["code"]})
        await advance(shop, "2026-01-05T00:00:00Z")
    assert [event["subject_id"] for event in await expired(shop)] == [free["id"]]
    await worker.run_due_jobs(shop.sessions)
    assert {event["subject_id"] for event in await expired(shop)} == {held["id"], free["id"]}


async def test_a_coupon_that_comes_back_with_a_return_after_its_time_expires_then(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(1, coupon_days=1)
    code = (await redeem(shop, member, reward))["coupon"]["code"]
    order = await shop.order(100, customer_id=member["customer_id"], coupons=[code])
    await advance(shop, "2026-01-05T00:00:00Z")
    assert await expired(shop) == []
    await shop.post(f"/v1/orders/{order['id']}/returns", {})
    await worker.run_due_jobs(shop.sessions)
    assert len(await expired(shop)) == 1
