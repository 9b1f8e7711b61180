"""Redemptions that wait at the same time: each has its own fate, and what there is is never given twice."""

import asyncio
from uuid import uuid4

from tests.redemptions.test_redemptions import rich, suspend, wanted
from tests.rewards.givers import add_codes
from tests.shop import Json, Shop


async def all_at_once(shop: Shop, asked: list[tuple[Json, str]]) -> list[tuple[int, str | None]]:
    replies = await asyncio.gather(*(shop.send("POST", "/v1/redemptions", body, key=key) for body, key in asked))
    return [(reply.status_code, reply.json().get("code")) for reply in replies]


async def test_each_of_a_group_has_its_own_fate(shop: Shop) -> None:
    ann, bob, poor, barred = [await rich(shop, euros) for euros in (100, 50, 5, 100)]
    await suspend(shop, barred, "burn")
    nobody = {"id": "mem_00000000000000000000000000"}
    reward, other = await shop.reward(cost=30), await shop.reward(cost=30, unit="stars")
    gone = await shop.reward(cost=1, stock=0)
    key = uuid4().hex
    asked: list[tuple[Json, str, int, str | None]] = [
        (wanted(ann, reward), uuid4().hex, 201, None),
        (wanted(ann, reward), uuid4().hex, 201, None),
        (wanted(bob, reward), key, 201, None),
        (wanted(bob, reward), key, 201, None),
        (wanted(poor, reward), uuid4().hex, 409, "not_enough_points"),
        (wanted(ann, other), uuid4().hex, 409, "not_enough_points"),
        (wanted(barred, reward), uuid4().hex, 409, "member_may_not_burn"),
        (wanted(nobody, reward), uuid4().hex, 404, "member_not_found"),
        (wanted(ann, {"id": "rew_00000000000000000000000000"}), uuid4().hex, 404, "reward_not_found"),
        (wanted(ann, gone), uuid4().hex, 409, "out_of_stock"),
        ({"member_id": ann["id"]}, uuid4().hex, 400, "validation_failed"),
    ]
    told = await all_at_once(shop, [(body, with_) for body, with_, *_ in asked])
    assert told == [(status, code) for *_, status, code in asked]
    left = [(await shop.wallet(own["id"]))["available"] for own in (ann, bob, poor, barred)]
    assert left == [40, 20, 5, 100]
    await shop.books_hold()


async def test_a_group_never_spends_more_than_there_is(shop: Shop) -> None:
    member, reward = await rich(shop, 100), await shop.reward(cost=30)
    told = await all_at_once(shop, [(wanted(member, reward), uuid4().hex) for _ in range(12)])
    assert sorted(told)[:3] == [(201, None)] * 3
    assert told.count((409, "not_enough_points")) == 9
    assert (await shop.wallet(member["id"]))["available"] == 10
    await shop.books_hold()


async def test_a_group_never_gives_more_than_the_stock(shop: Shop) -> None:
    members = [await rich(shop, 10) for _ in range(9)]
    reward = await shop.reward(cost=1, stock=4)
    told = await all_at_once(shop, [(wanted(own, reward), uuid4().hex) for own in members])
    assert (told.count((201, None)), told.count((409, "out_of_stock"))) == (4, 5)
    assert (await shop.get(f"/v1/rewards/{reward['id']}"))["stock_left"] == 0
    given = [(await shop.get(f"/v1/members/{own['id']}/redemptions"))["data"] for own in members]
    codes = [own["coupon"]["code"] for redemptions in given for own in redemptions]
    assert len(set(codes)) == len(codes) == 4
    # A unit that is taken back is there again: it came out of the stock.
    redemption = next(own for redemptions in given for own in redemptions)
    await shop.post(f"/v1/redemptions/{redemption['id']}/cancellation", {})
    assert (await shop.get(f"/v1/rewards/{reward['id']}"))["stock_left"] == 1
    await shop.books_hold()


async def test_a_group_keeps_to_the_limit_of_each_member(shop: Shop) -> None:
    ann, bob = await rich(shop, 100), await rich(shop, 100)
    reward = await shop.reward(cost=1, per_member={"count": 2, "period": "month"})
    asked = [(wanted(own, reward), uuid4().hex) for own in (ann, bob) for _ in range(5)]
    told = await all_at_once(shop, asked)
    for own in (told[:5], told[5:]):
        assert (own.count((201, None)), own.count((409, "reward_limit_reached"))) == (2, 3)
    await shop.books_hold()


async def test_rewards_with_codes_of_their_own_and_with_none_go_side_by_side(shop: Shop) -> None:
    members = [await rich(shop, 10) for _ in range(6)]
    pooled, plain = await shop.reward(cost=1), await shop.reward(cost=1)
    await add_codes(shop, pooled, "ALPHA-2026", "BETA-2026")
    asked = [(wanted(own, pooled if number % 2 else plain), uuid4().hex) for number, own in enumerate(members)]
    told = await all_at_once(shop, asked)
    assert told[::2] == [(201, None)] * 3
    assert sorted(told[1::2], key=str) == [(201, None), (201, None), (409, "out_of_stock")]
    await shop.books_hold()
