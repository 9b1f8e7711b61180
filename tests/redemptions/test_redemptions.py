"""Redemptions and their cancellations: points, stock and coupon move together, once."""

import pytest
from sqlalchemy import text
from tests.shop import Json, Shop

from loyalty.core.db import transaction


async def rich(shop: Shop, euros: int = 99) -> Json:
    member = await shop.enrol()
    await shop.order(euros, customer_id=member["customer_id"])
    return member


def wanted(member: Json, reward: Json) -> Json:
    return {"member_id": member["id"], "reward_id": reward["id"]}


async def redeem(shop: Shop, member: Json, reward: Json) -> Json:
    return await shop.post("/v1/redemptions", wanted(member, reward))


async def cancel(shop: Shop, redemption: Json) -> Json:
    return await shop.post(f"/v1/redemptions/{redemption['id']}/cancellation", {})


async def suspend(shop: Shop, member: Json, what: str) -> None:
    body = {"status": "suspended", "suspends": what, "reason": "review"}
    await shop.post(f"/v1/members/{member['id']}/status-changes", body)


async def test_a_redemption_takes_its_cost_and_gives_a_coupon(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(cost=60, coupon_days=30)
    redemption = await redeem(shop, member, reward)
    assert (redemption["points"], redemption["unit"], redemption["balance_after"]) == (60, "points", 39)
    assert (redemption["redeemed_at"], redemption["cancelled_at"]) == ("2026-01-01T12:00:00Z", None)
    assert redemption["coupon"]["expires_at"] == "2026-01-31T12:00:00Z"
    assert await shop.get(f"/v1/redemptions/{redemption['id']}") == redemption
    listed = await shop.get(f"/v1/members/{member['id']}/redemptions")
    assert listed["data"] == [redemption]
    await shop.books_hold()


async def test_all_points_may_be_spent_and_not_one_more(shop: Shop) -> None:
    member = await rich(shop, 60)
    dear, exact = await shop.reward(cost=61), await shop.reward(cost=60)
    problem = await shop.refuses("POST", "/v1/redemptions", wanted(member, dear), status=409, code="not_enough_points")
    assert problem["data"] == {"spendable": 60, "requested": 61}
    assert (await redeem(shop, member, exact))["balance_after"] == 0
    await shop.refuses("POST", "/v1/redemptions", wanted(member, exact), status=409, code="not_enough_points")


async def test_a_member_without_a_wallet_in_the_rewards_unit_has_no_points(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(cost=1, unit="stars")
    problem = await shop.refuses(
        "POST", "/v1/redemptions", wanted(member, reward), status=409, code="not_enough_points"
    )
    assert problem["data"] == {"spendable": 0, "requested": 1}


async def test_every_redemption_has_a_coupon_of_its_own(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(cost=3)
    codes = [(await redeem(shop, member, reward))["coupon"]["code"] for _ in range(33)]
    assert len(set(codes)) == 33
    assert (await shop.wallet(member["id"]))["balance"] == 0
    await shop.books_hold()


async def test_a_retired_reward_is_not_redeemed(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(cost=60)
    await shop.send("PATCH", f"/v1/rewards/{reward['id']}", {"retired": True}, expect=200)
    await shop.refuses("POST", "/v1/redemptions", wanted(member, reward), status=409, code="reward_retired")


async def test_what_is_not_in_this_program_is_not_found(shop: Shop, other_shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(cost=60)
    stranger, foreign = await rich(other_shop), await other_shop.reward(cost=60)
    await shop.refuses("POST", "/v1/redemptions", wanted(member, foreign), status=404, code="reward_not_found")
    await shop.refuses("POST", "/v1/redemptions", wanted(stranger, reward), status=404, code="member_not_found")
    elsewhere = await redeem(other_shop, stranger, foreign)
    path = f"/v1/redemptions/{elsewhere['id']}"
    await shop.refuses("GET", path, status=404, code="redemption_not_found")
    await shop.refuses("POST", f"{path}/cancellation", {}, status=404, code="redemption_not_found")


async def test_a_customer_who_never_enrolled_cannot_redeem(shop: Shop) -> None:
    reward = await shop.reward(cost=60)
    customer = (await shop.order(99, external_customer_id="stranger"))["customer_id"]
    body = wanted({"id": customer.replace("cus_", "mem_")}, reward)
    await shop.refuses("POST", "/v1/redemptions", body, status=404, code="member_not_found")


@pytest.mark.parametrize("suspends", ["burn", "both"])
async def test_a_member_suspended_from_spending_cannot_redeem(shop: Shop, suspends: str) -> None:
    member, reward = await rich(shop), await shop.reward(cost=60)
    await suspend(shop, member, suspends)
    body = wanted(member, reward)
    await shop.refuses("POST", "/v1/redemptions", body, status=409, code="member_may_not_burn", key="once")
    await shop.post(f"/v1/members/{member['id']}/status-changes", {"status": "active", "reason": "cleared"})
    reply = await shop.send("POST", "/v1/redemptions", body, key="once", expect=201)
    assert "idempotency-replayed" not in reply.headers


async def test_a_member_suspended_from_earning_may_spend(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(cost=60)
    await suspend(shop, member, "earn")
    assert (await redeem(shop, member, reward))["balance_after"] == 39


async def test_stock_is_taken_and_returned(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(cost=10, stock=1)
    redemption = await redeem(shop, member, reward)
    await shop.refuses("POST", "/v1/redemptions", wanted(member, reward), status=409, code="out_of_stock")
    await cancel(shop, redemption)
    assert (await shop.get(f"/v1/rewards/{reward['id']}"))["stock_left"] == 1
    assert (await redeem(shop, member, reward))["balance_after"] == 89
    assert (await shop.get(f"/v1/rewards/{reward['id']}"))["stock_left"] == 0


async def test_a_redemption_is_cancelled_once(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(cost=60)
    redemption = await redeem(shop, member, reward)
    assert (await cancel(shop, redemption))["cancelled_at"] == "2026-01-01T12:00:00Z"
    path = f"/v1/redemptions/{redemption['id']}/cancellation"
    await shop.refuses("POST", path, {}, status=409, code="redemption_already_cancelled")
    assert (await shop.wallet(member["id"]))["balance"] == 99


async def test_a_used_coupon_cannot_be_given_back(shop: Shop) -> None:
    redemption = await redeem(shop, await rich(shop), await shop.reward(cost=60))
    async with transaction(shop.sessions) as session:
        use = text("UPDATE coupons SET used_at = issued_at WHERE program_id = :id")
        await session.execute(use, {"id": shop.program.id})
    path = f"/v1/redemptions/{redemption['id']}/cancellation"
    await shop.refuses("POST", path, {}, status=409, code="coupon_used")


async def test_a_repeated_redemption_hears_its_first_reply_even_after_cancellation(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(cost=60)
    body = wanted(member, reward)
    first = await shop.send("POST", "/v1/redemptions", body, key="once", expect=201)
    path = f"/v1/redemptions/{first.json()['id']}/cancellation"
    cancelled = await shop.send("POST", path, {"reason": "changed mind"}, key="undo", expect=201)
    before = await shop.digest()
    again = await shop.send("POST", "/v1/redemptions", body, key="once", expect=201)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    undone = await shop.send("POST", path, {"reason": "changed mind"}, key="undo", expect=201)
    assert (undone.content, undone.headers["idempotency-replayed"]) == (cancelled.content, "true")
    assert await shop.digest() == before
    assert (await shop.wallet(member["id"]))["balance"] == 99


async def test_a_key_cannot_come_back_for_another_reward(shop: Shop) -> None:
    member, first, second = await rich(shop), await shop.reward(cost=10), await shop.reward(cost=10)
    await shop.send("POST", "/v1/redemptions", wanted(member, first), key="once", expect=201)
    body = wanted(member, second)
    await shop.refuses("POST", "/v1/redemptions", body, status=422, code="idempotency_key_reused", key="once")


async def test_a_refused_redemption_stores_nothing_and_the_same_key_then_succeeds(shop: Shop) -> None:
    member, reward = await rich(shop, 50), await shop.reward(cost=60)
    body = wanted(member, reward)
    await shop.refuses("POST", "/v1/redemptions", body, status=409, code="not_enough_points", key="once")
    await shop.order(10, customer_id=member["customer_id"])
    assert (await shop.send("POST", "/v1/redemptions", body, key="once", expect=201)).json()["balance_after"] == 0


async def test_another_members_redemption_is_not_found(shop: Shop) -> None:
    owner, other, reward = await rich(shop), await rich(shop), await shop.reward(cost=60)
    redemption = await redeem(shop, owner, reward)
    path = f"/v1/me/redemptions/{redemption['id']}/cancellation"
    token = await shop.token(other["id"])
    await shop.refuses("POST", path, {}, status=404, code="redemption_not_found", bearer=token)
    assert (await shop.get("/v1/me/redemptions", bearer=token))["data"] == []
    own = await shop.post(path, {}, bearer=await shop.token(owner["id"]))
    assert own["cancelled_at"] is not None


async def test_two_members_may_choose_the_same_key(shop: Shop) -> None:
    reward = await shop.reward(cost=60)
    members = [await rich(shop), await rich(shop)]
    body = {"reward_id": reward["id"]}
    replies = []
    for member in members:
        token = await shop.token(member["id"])
        reply = await shop.send("POST", "/v1/me/redemptions", body, key="1", bearer=token, expect=201)
        assert "idempotency-replayed" not in reply.headers
        replies.append(reply.json())
    assert [reply["member_id"] for reply in replies] == [member["id"] for member in members]
    assert replies[0]["coupon"]["code"] != replies[1]["coupon"]["code"]
    again = await shop.send("POST", "/v1/me/redemptions", body, key="1", bearer=token, expect=201)
    assert (again.json(), again.headers["idempotency-replayed"]) == (replies[1], "true")


async def test_a_new_cost_holds_for_redemptions_to_come(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(cost=60)
    first = await redeem(shop, member, reward)
    await shop.send("PATCH", f"/v1/rewards/{reward['id']}", {"cost_points": 39}, expect=200)
    assert (await redeem(shop, member, reward))["balance_after"] == 0
    await cancel(shop, first)
    assert (await shop.wallet(member["id"]))["balance"] == 60
    await shop.books_hold()
