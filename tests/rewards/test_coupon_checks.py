"""Whether a coupon is good, asked without using it."""

from tests.rewards.givers import advance, redeem, rich
from tests.shop import Json, Shop

CHECKS = "/v1/coupon-checks"
LINES = [{"sku": "shirt", "total": {"amount": 3_000, "currency": "EUR"}}]


async def check(shop: Shop, code: str, **more: object) -> Json:
    before = await shop.digest()
    found = await shop.post(CHECKS, {"code": code, **more}, expect=200)
    assert await shop.digest() == before
    return found


async def test_a_good_coupon_is_told_with_its_reward_and_what_it_takes_off(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(10, coupon_days=1)
    code = (await redeem(shop, member, reward))["coupon"]["code"]
    found = await check(shop, code.lower(), member_id=member["id"], currency="EUR", lines=LINES)
    assert found == {
        "code": code,
        "status": "valid",
        "expires_at": "2026-01-02T12:00:00Z",
        "value": {"amount": 500, "currency": "EUR"},
        "reward": await shop.get(f"/v1/rewards/{reward['id']}"),
    }
    assert await check(shop, code) == {**found, "value": None}


async def test_each_reason_has_its_status(shop: Shop) -> None:
    member, other = await rich(shop), await shop.enrol()
    least = {"amount": {"amount": 500, "currency": "EUR"}, "minimum": {"amount": 3_001, "currency": "EUR"}}
    plain, dear = await shop.reward(1, coupon_days=1), await shop.reward(1, value=least)
    codes = {name: (await redeem(shop, member, plain))["coupon"]["code"] for name in ("used", "late")}
    voided = await redeem(shop, member, plain)
    await shop.post("/v1/coupon-uses", {"code": codes["used"]})
    await shop.post(f"/v1/redemptions/{voided['id']}/cancellation", {})
    below = (await redeem(shop, member, dear))["coupon"]["code"]
    whose, bought = {"member_id": member["id"]}, {"currency": "EUR", "lines": LINES}
    shipping = {"currency": "EUR", "lines": [{**LINES[0], "kind": "shipping"}]}
    found = [
        (await check(shop, codes["used"], **whose))["status"],
        (await check(shop, voided["coupon"]["code"]))["status"],
        (await check(shop, codes["late"], member_id=other["id"]))["status"],
        (await check(shop, below, **bought))["status"],
        (await check(shop, below))["status"],
        (await check(shop, codes["late"], **shipping))["status"],
    ]
    assert found == ["used", "voided", "not_for_this_member", "below_minimum", "valid", "does_not_fit"]
    await advance(shop, "2026-01-02T12:00:00Z")
    assert (await check(shop, codes["late"], **whose, **bought))["status"] == "expired"


async def test_a_coupon_is_still_that_of_who_was_merged(shop: Shop) -> None:
    old, new, reward = await rich(shop), await shop.enrol(), await shop.reward(1)
    code = (await redeem(shop, old, reward))["coupon"]["code"]
    merge = {"from_member_id": old["id"], "into_member_id": new["id"], "reason": "the same person"}
    await shop.post("/v1/member-merges", merge)
    for member in (old, new):
        assert (await check(shop, code, member_id=member["id"]))["status"] == "valid"


async def test_what_is_not_there_is_not_found(shop: Shop, other_shop: Shop) -> None:
    member, reward = await rich(other_shop), await other_shop.reward(1)
    code = (await redeem(other_shop, member, reward))["coupon"]["code"]
    for unknown in (code, "NO SUCH CODE"):
        await shop.refuses("POST", CHECKS, {"code": unknown}, status=404, code="coupon_not_found")
    own = await redeem(shop, await rich(shop), await shop.reward(1))
    body = {"code": own["coupon"]["code"], "member_id": member["id"]}
    await shop.refuses("POST", CHECKS, body, status=404, code="member_not_found")
    body = {"code": own["coupon"]["code"], "lines": LINES}
    problem = await shop.refuses("POST", CHECKS, body, status=400, code="validation_failed")
    assert [fault["pointer"] for fault in problem["errors"]] == ["/lines"]
