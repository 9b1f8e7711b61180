"""A coupon is used once, and what was used or has expired is not taken back."""

import asyncio
from collections import Counter

from tests.shop import Json, Shop


async def redeemed(shop: Shop, **reward: object) -> Json:
    member = await shop.enrol()
    await shop.order(500, customer_id=member["customer_id"])
    offered = await shop.reward(cost=100, **reward)
    return await shop.post("/v1/redemptions", {"member_id": member["id"], "reward_id": offered["id"]})


async def test_a_used_coupon_is_not_taken_back(shop: Shop) -> None:
    redemption = await redeemed(shop)
    body = {"code": redemption["coupon"]["code"], "external_order_id": "order-9"}
    used = await shop.post("/v1/coupon-uses", body)
    assert (used["id"], used["coupon"]["used_at"]) == (redemption["id"], "2026-01-01T12:00:00Z")
    path = f"/v1/redemptions/{redemption['id']}/cancellation"
    await shop.refuses("POST", path, {}, status=409, code="coupon_used")
    token = await shop.token(redemption["member_id"])
    await shop.refuses("POST", path.replace("/v1/", "/v1/me/"), {}, status=409, code="coupon_used", bearer=token)
    assert (await shop.wallet(redemption["member_id"]))["balance"] == 400


async def test_a_coupon_is_read_as_a_person_writes_it(shop: Shop) -> None:
    code = (await redeemed(shop))["coupon"]["code"]
    written = "-".join(code[place : place + 4] for place in range(0, 16, 4)).lower().replace("0", "o").replace("1", "l")
    await shop.post("/v1/coupon-uses", {"code": written})


async def test_of_many_parallel_uses_of_one_coupon_one_succeeds(shop: Shop) -> None:
    body = {"code": (await redeemed(shop))["coupon"]["code"]}
    replies = await asyncio.gather(*(shop.send("POST", "/v1/coupon-uses", body) for _ in range(16)))
    assert Counter(reply.status_code for reply in replies) == {201: 1, 409: 15}
    assert {reply.json()["code"] for reply in replies if reply.status_code == 409} == {"coupon_used"}


async def test_a_use_is_repeatable_by_its_key(shop: Shop) -> None:
    body = {"code": (await redeemed(shop))["coupon"]["code"]}
    first = await shop.send("POST", "/v1/coupon-uses", body, key="use", expect=201)
    again = await shop.send("POST", "/v1/coupon-uses", body, key="use", expect=201)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()


async def test_an_expired_coupon_is_neither_used_nor_taken_back(shop: Shop) -> None:
    redemption = await redeemed(shop, coupon_days=1)
    await shop.post("/v1/test-clock/advance", {"to": "2026-01-02T12:00:00Z"}, expect=200)
    body = {"code": redemption["coupon"]["code"]}
    await shop.refuses("POST", "/v1/coupon-uses", body, status=409, code="coupon_expired")
    path = f"/v1/redemptions/{redemption['id']}/cancellation"
    await shop.refuses("POST", path, {}, status=409, code="coupon_expired")


async def test_a_coupon_taken_back_is_not_used(shop: Shop) -> None:
    redemption = await redeemed(shop)
    await shop.post(f"/v1/redemptions/{redemption['id']}/cancellation", {})
    body = {"code": redemption["coupon"]["code"]}
    await shop.refuses("POST", "/v1/coupon-uses", body, status=409, code="coupon_voided")


async def test_a_code_of_nothing_is_not_found(shop: Shop, other_shop: Shop) -> None:
    body = {"code": (await redeemed(other_shop))["coupon"]["code"]}
    await shop.refuses("POST", "/v1/coupon-uses", body, status=404, code="coupon_not_found")


async def test_only_what_came_from_stock_goes_back_there(shop: Shop) -> None:
    redemption = await redeemed(shop)
    path = f"/v1/rewards/{redemption['reward_id']}"
    await shop.send("PATCH", path, {"stock": 1}, expect=200)
    await shop.post(f"/v1/redemptions/{redemption['id']}/cancellation", {})
    assert (await shop.get(path))["stock_left"] == 1
