"""Rewards that are given: a coupon without points, held to the reward's own terms."""

from tests.rewards.givers import gift, rich, wanted
from tests.shop import Shop

GRANTS = "/v1/reward-grants"


async def test_a_gift_is_a_redemption_for_no_points(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(0, stock=3, coupon_days=30)
    granted = await shop.post(GRANTS, {**gift(member, reward), "metadata": {"case": "7"}})
    assert (granted["points"], granted["balance_after"], granted["metadata"]) == (0, None, {"case": "7"})
    assert granted["coupon"]["expires_at"] == "2026-01-31T12:00:00Z"
    assert (granted["grant"]["reason"], granted["grant"]["actor"][:4]) == ("goodwill", "key_")
    assert await shop.get(f"/v1/redemptions/{granted['id']}") == granted
    token = await shop.token(member["id"])
    (own,) = (await shop.get("/v1/me/redemptions", bearer=token))["data"]
    assert own == {**granted, "grant": None}
    assert (await shop.get(f"/v1/rewards/{reward['id']}"))["stock_left"] == 2
    assert (await shop.wallet(member["id"]))["balance"] == 100
    used = await shop.post("/v1/coupon-uses", {"code": granted["coupon"]["code"]})
    assert used["coupon"]["used_at"] == "2026-01-01T12:00:00Z"
    await shop.books_hold()


async def test_a_gift_is_taken_back_with_its_stock_and_no_points(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(50, stock=1, per_member={"count": 1, "period": "day"})
    granted = await shop.post(GRANTS, gift(member, reward))
    undone = await shop.post(f"/v1/redemptions/{granted['id']}/cancellation", {})
    assert undone["cancelled_at"] == "2026-01-01T12:00:00Z"
    await shop.refuses(
        "POST", f"/v1/redemptions/{granted['id']}/cancellation", {}, status=409, code="redemption_already_cancelled"
    )
    assert (await shop.get(f"/v1/rewards/{reward['id']}"))["stock_left"] == 1
    assert (await shop.wallet(member["id"]))["balance"] == 100
    await shop.post(GRANTS, gift(member, reward))
    await shop.books_hold()


async def test_a_gift_is_repeatable_by_its_key_and_can_be_tried(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(0, stock=1)
    before = await shop.digest()
    await shop.post(f"{GRANTS}?dry_run=true", gift(member, reward), expect=200)
    assert await shop.digest() == before
    first = await shop.send("POST", GRANTS, gift(member, reward), key="once", expect=201)
    await shop.post("/v1/coupon-uses", {"code": first.json()["coupon"]["code"]})
    again = await shop.send("POST", GRANTS, gift(member, reward), key="once", expect=201)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    body = {**gift(member, reward), "reason": "another"}
    await shop.refuses("POST", GRANTS, body, status=422, code="idempotency_key_reused", key="once")


async def test_a_gift_is_held_to_the_rewards_terms_but_not_to_points(shop: Shop) -> None:
    poor = await shop.enrol(attributes={"tea": "green"})
    await shop.post(GRANTS, gift(poor, await shop.reward(1_000, member_attributes={"tea": ["green"]})))
    refused = {
        "reward_for_other_members": await shop.reward(0, member_attributes={"tea": ["black"]}),
        "reward_not_yet_available": await shop.reward(0, available_from="2026-02-01T00:00:00Z"),
        "reward_ended": await shop.reward(0, available_until="2026-01-01T00:00:00Z"),
        "out_of_stock": await shop.reward(0, stock=0),
    }
    for code, reward in refused.items():
        await shop.refuses("POST", GRANTS, gift(poor, reward), status=409, code=code)
    reward = await shop.reward(0)
    suspended = {"status": "suspended", "suspends": "both", "reason": "review"}
    await shop.post(f"/v1/members/{poor['id']}/status-changes", suspended)
    await shop.post(GRANTS, gift(poor, reward))
    await shop.post(f"/v1/members/{poor['id']}/status-changes", {"status": "closed", "reason": "left"})
    await shop.refuses("POST", GRANTS, gift(poor, reward), status=409, code="member_closed")


async def test_nothing_is_given_across_programs(shop: Shop, other_shop: Shop) -> None:
    member, reward = await shop.enrol(), await shop.reward(0)
    stranger, foreign = await other_shop.enrol(), await other_shop.reward(0)
    await shop.refuses("POST", GRANTS, gift(member, foreign), status=404, code="reward_not_found")
    await shop.refuses("POST", GRANTS, gift(stranger, reward), status=404, code="member_not_found")
    await shop.refuses("POST", GRANTS, wanted(member, reward), status=400, code="validation_failed")


async def test_a_gift_goes_over_with_a_merge_and_loses_its_reason_with_an_erasure(shop: Shop) -> None:
    old, new, reward = await rich(shop), await rich(shop), await shop.reward(0)
    granted = await shop.post(GRANTS, gift(old, reward))
    merge = {"from_member_id": old["id"], "into_member_id": new["id"], "reason": "the same person"}
    await shop.post("/v1/member-merges", merge)
    assert (await shop.get(f"/v1/redemptions/{granted['id']}"))["member_id"] == new["id"]
    await shop.post(f"/v1/redemptions/{granted['id']}/cancellation", {"reason": "for Ann"})
    await shop.post(f"/v1/members/{new['id']}/erasure", {"reason": "asked"}, expect=200)
    left = await shop.get(f"/v1/redemptions/{granted['id']}")
    assert left["grant"] == {**granted["grant"], "reason": None}
    assert left["coupon"]["code"] == granted["coupon"]["code"]
    await shop.books_hold()
