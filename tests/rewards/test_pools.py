"""Codes of the shop's own: brought in once, issued once, and they are the stock."""

import asyncio

from tests.rewards.givers import add_codes, outcome, redeem, rich, together, wanted
from tests.shop import Json, Shop


def rows(report: Json) -> list[tuple[int, str, str, str | None]]:
    return [(row["line"], row["code"], row["outcome"], row["why"]) for row in report["rows"]]


async def test_every_row_is_told_what_became_of_it(shop: Shop) -> None:
    member, reward, other, made = await rich(shop), await shop.reward(1), await shop.reward(1), await shop.reward(1)
    await add_codes(shop, other, "ELSEWHERE")
    issued, used = await redeem(shop, member, made), await redeem(shop, member, made)
    await shop.post("/v1/coupon-uses", {"code": used["coupon"]["code"]})
    codes = ["Tea-2026-A", "tea 2026 a", "elsewhere", issued["coupon"]["code"], used["coupon"]["code"]]
    body = {"csv": "\n".join(["code", *codes, "", "a-b", "x" * 41, "m\u00fcsli", "one,two", "TEA2026B"])}
    path = f"/v1/rewards/{reward['id']}/coupon-codes"
    before = await shop.digest()
    trial = await shop.post(f"{path}?dry_run=true", body, expect=200)
    assert await shop.digest() == before
    report = await shop.post(path, body, expect=200)
    assert report == trial
    assert rows(report) == [
        (2, "Tea-2026-A", "added", None),
        (3, "tea 2026 a", "duplicate", None),
        (4, "elsewhere", "taken", "another_pool"),
        (5, issued["coupon"]["code"], "taken", "issued"),
        (6, used["coupon"]["code"], "taken", "used"),
        (8, "a-b", "invalid", "too_short"),
        (9, "x" * 41, "invalid", "too_long"),
        (10, "m\u00fcsli", "invalid", "symbols"),
        (11, "one", "invalid", "columns"),
        (12, "TEA2026B", "added", None),
    ]
    assert [report[name] for name in ("added", "duplicate", "taken", "invalid")] == [2, 1, 3, 4]
    again = await shop.post(path, body, expect=200)
    assert [again[name] for name in ("added", "duplicate", "taken", "invalid")] == [0, 3, 3, 4]


async def test_a_reward_issues_the_codes_of_its_pool_and_they_are_its_stock(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(1, stock=5)
    await add_codes(shop, reward, "Oil-0001", "Oil-0002")
    path = f"/v1/rewards/{reward['id']}"
    shown = await shop.get(path)
    assert (shown["stock_left"], shown["pooled"]) == (2, True)
    codes = {(await redeem(shop, member, reward))["coupon"]["code"] for _ in range(2)}
    assert codes == {"Oil-0001", "Oil-0002"}  # as they were written
    assert (await shop.get(path))["stock_left"] == 0
    (offer,) = (await shop.get(f"/v1/members/{member['id']}/rewards"))["data"]
    assert (offer["in_stock"], [reason["code"] for reason in offer["reasons"]]) == (False, ["out_of_stock"])
    await shop.refuses("POST", "/v1/redemptions", wanted(member, reward), status=409, code="out_of_stock")
    await shop.refuses("PATCH", path, {"stock": 3}, status=409, code="reward_has_codes")
    await shop.post("/v1/coupon-uses", {"code": "0il 0oo1"})
    report = await add_codes(shop, reward, "oil0001", "oil0002", "oil0003")
    assert [(row["outcome"], row["why"]) for row in report["rows"]] == [
        ("taken", "used"),
        ("taken", "issued"),
        ("added", None),
    ]
    assert (await redeem(shop, member, reward))["coupon"]["code"] == "oil0003"


async def test_a_code_that_was_shown_does_not_go_back(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(10, per_member={"count": 1, "period": "day"})
    await add_codes(shop, reward, "FIRST-1", "SECOND-2")
    redemption = await redeem(shop, member, reward)
    await shop.post(f"/v1/redemptions/{redemption['id']}/cancellation", {})
    assert (await shop.get(f"/v1/rewards/{reward['id']}"))["stock_left"] == 1
    assert (await redeem(shop, member, reward))["coupon"]["code"] == "SECOND-2"
    assert (await shop.wallet(member["id"]))["balance"] == 90
    await shop.books_hold()


async def test_an_order_names_a_pooled_code_as_it_was_written(shop: Shop) -> None:
    member, reward = await rich(shop), await shop.reward(1)
    await add_codes(shop, reward, "Welcome-1")
    await redeem(shop, member, reward)
    order = await shop.order(100, customer_id=member["customer_id"], coupons=["WELCOME1"])
    assert [own["coupon_code"] for own in order["discounts"]] == ["Welcome-1"]
    assert order["total"] == {"amount": 9_500, "currency": "EUR"}
    returned = await shop.post(f"/v1/orders/{order['id']}/returns", {})
    assert returned["refund"]["coupons"] == ["Welcome-1"]


async def test_the_last_code_goes_to_one_of_64(shop: Shop) -> None:
    reward = await shop.reward(1)
    await add_codes(shop, reward, "THE-LAST")
    members = [await rich(shop) for _ in range(64)]
    found = await together(shop, [("/v1/redemptions", wanted(member, reward)) for member in members])
    assert found == {(201, ""): 1, (409, "out_of_stock"): 63}
    await shop.books_hold()


async def test_no_code_is_issued_twice_and_none_is_left_over(shop: Shop) -> None:
    reward = await shop.reward(1)
    codes = {f"CODE-{number:03}" for number in range(40)}
    await add_codes(shop, reward, *sorted(codes))
    members = [await rich(shop) for _ in range(8)]
    replies = await asyncio.gather(
        *(shop.send("POST", "/v1/redemptions", wanted(member, reward)) for member in members * 6)
    )
    assert sorted(map(outcome, replies)) == [(201, "")] * 40 + [(409, "out_of_stock")] * 8
    assert {reply.json()["coupon"]["code"] for reply in replies if reply.status_code == 201} == codes
    await shop.books_hold()


async def test_codes_brought_in_twice_at_once_while_they_are_issued_stay_one_each(shop: Shop) -> None:
    reward, member = await shop.reward(1), await rich(shop)
    codes = [f"CODE-{number:03}" for number in range(20)]
    await add_codes(shop, reward, *codes[:10])
    body = {"csv": "\n".join(["code", *codes])}
    path = f"/v1/rewards/{reward['id']}/coupon-codes"
    uploads = [shop.send("POST", path, body, expect=200) for _ in range(4)]
    redemptions = [shop.send("POST", "/v1/redemptions", wanted(member, reward)) for _ in range(16)]
    await asyncio.gather(*redemptions[:8], *uploads, *redemptions[8:])
    issued = (await shop.get(f"/v1/members/{member['id']}/redemptions?limit=100"))["data"]
    shown = [redemption["coupon"]["code"] for redemption in issued]
    assert len(shown) == len(set(shown))
    assert (await shop.get(f"/v1/rewards/{reward['id']}"))["stock_left"] + len(shown) == 20
    await shop.books_hold()


async def test_what_is_no_list_of_codes_is_refused_whole(shop: Shop, other_shop: Shop) -> None:
    reward, foreign = await shop.reward(), await other_shop.reward()
    path = f"/v1/rewards/{reward['id']}/coupon-codes"
    await shop.refuses("POST", path, {"csv": "coupon\nABCD\n"}, status=400, code="csv_unreadable")
    await shop.refuses("POST", path, {"csv": "code\n\n"}, status=400, code="validation_failed")
    many = "\n".join(["code", *(f"C{number:05}" for number in range(10_001))])
    await shop.refuses("POST", path, {"csv": many}, status=400, code="validation_failed")
    elsewhere = f"/v1/rewards/{foreign['id']}/coupon-codes"
    await shop.refuses("POST", elsewhere, {"csv": "code\nABCD\n"}, status=404, code="reward_not_found")
    report = await shop.post(path, {"csv": many.rpartition("\n")[0]}, expect=200)
    assert report["added"] == 10_000
