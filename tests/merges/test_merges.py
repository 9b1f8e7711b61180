"""Two memberships of one person become one, through the doors."""

import asyncio
import json

from tests.shop import Json, Shop


async def give(shop: Shop, member: Json, points: int, **dates: str) -> None:
    body = {"member_id": member["id"], "points": points, "reason": "gift", **dates}
    await shop.post("/v1/adjustments", body)


async def merge(shop: Shop, giver: Json, receiver: Json) -> Json:
    return await shop.post("/v1/member-merges", body(giver, receiver))


def body(giver: Json, receiver: Json) -> Json:
    return {"from_member_id": giver["id"], "into_member_id": receiver["id"], "reason": "the same person"}


async def balances(shop: Shop, member: Json) -> tuple[int, int, int]:
    wallet = await shop.wallet(member["id"])
    return wallet["available"], wallet["pending"], wallet["debt"]


async def test_points_go_over_with_their_dates(shop: Shop) -> None:
    old, new = await shop.enrol(email="ann@old.example.com"), await shop.enrol()
    await give(shop, old, 40, expires_at="2026-03-01T00:00:00Z")
    await give(shop, old, 10, activates_at="2026-02-01T00:00:00Z")
    await give(shop, new, 5)
    made = await merge(shop, old, new)
    assert await shop.get(f"/v1/member-merges/{made['id']}") == made
    assert (await balances(shop, old), await balances(shop, new)) == ((0, 0, 0), (45, 10, 0))
    wallet = await shop.wallet(new["id"])
    assert wallet["expiring"] == [{"at": "2026-03-01T00:00:00Z", "points": 40}]
    assert wallet["starting"] == [{"at": "2026-02-01T00:00:00Z", "points": 10}]
    assert (await shop.get(f"/v1/members/{old['id']}"))["status"] == "closed"
    assert (await shop.get(f"/v1/members/{new['id']}"))["email"] == "ann@old.example.com"
    await shop.books_hold()


async def test_debt_goes_over_and_is_paid_by_what_is_there(shop: Shop) -> None:
    await shop.send("PATCH", "/v1/program", {"clawback": "allow_debt"}, expect=200)
    old, new = await shop.enrol(), await shop.enrol()
    order = await shop.order(50, customer_id=old["customer_id"])
    reward = await shop.reward(cost=50)
    await shop.post("/v1/redemptions", {"member_id": old["id"], "reward_id": reward["id"]})
    await shop.post(f"/v1/orders/{order['id']}/returns", {})
    await give(shop, new, 30)
    assert await balances(shop, old) == (0, 0, 50)
    await merge(shop, old, new)
    assert (await balances(shop, old), await balances(shop, new)) == ((0, 0, 0), (0, 0, 20))
    await shop.books_hold()


async def test_what_was_bought_and_redeemed_before_goes_on_in_the_one_that_stays(shop: Shop) -> None:
    """A return, a payment and a cancelled redemption of before the merge reach the wallet of after it."""
    old, new = await shop.enrol(), await shop.enrol()
    paid = await shop.order(100, customer_id=old["customer_id"])
    waiting = await shop.order(30, customer_id=old["customer_id"], status="placed")
    reward = await shop.reward(cost=60)
    redemption = await shop.post("/v1/redemptions", {"member_id": old["id"], "reward_id": reward["id"]})
    await merge(shop, old, new)
    assert await balances(shop, new) == (40, 30, 0)
    await shop.post(f"/v1/orders/{waiting['id']}/payments", {})
    assert await balances(shop, new) == (70, 0, 0)
    await shop.post(f"/v1/redemptions/{redemption['id']}/cancellation", {})
    assert (await balances(shop, old), await balances(shop, new)) == ((0, 0, 0), (130, 0, 0))
    await shop.post(f"/v1/orders/{paid['id']}/returns", {})
    assert await balances(shop, new) == (30, 0, 0)
    assert {order["customer_id"] for order in (await shop.get("/v1/orders"))["data"]} == {new["customer_id"]}
    await shop.books_hold()


async def test_an_order_that_still_names_the_old_customer_is_the_new_ones(shop: Shop) -> None:
    old, new = await shop.enrol(), await shop.enrol()
    await merge(shop, old, new)
    order = await shop.order(10, customer_id=old["customer_id"])
    assert order["customer_id"] == new["customer_id"]
    assert await balances(shop, new) == (10, 0, 0)


async def test_a_chain_of_merges_leads_to_the_last(shop: Shop) -> None:
    first, second, third = await shop.enrol(external_id="one"), await shop.enrol(), await shop.enrol()
    await merge(shop, first, second)
    await merge(shop, second, third)
    order = await shop.order(10, customer_id=first["customer_id"])
    assert order["customer_id"] == third["customer_id"]
    assert [found["id"] for found in (await shop.get("/v1/members?external_id=one"))["data"]] == [third["id"]]


async def test_the_earliest_binding_stays_and_nobody_refers_themselves(shop: Shop) -> None:
    first, second = await shop.enrol(), await shop.enrol()
    old = await shop.enrol(referral_code=first["referral_code"])
    await shop.post("/v1/test-clock/advance", {"to": "2026-01-02T00:00:00Z"}, expect=200)
    new = await shop.enrol(referral_code=second["referral_code"])
    third = await shop.enrol(referral_code=old["referral_code"])
    await merge(shop, old, new)
    referrals = {row["referee_id"]: row for row in (await shop.get("/v1/referrals"))["data"] if not row["ended_at"]}
    assert {referee: row["advocate_id"] for referee, row in referrals.items()} == {
        new["id"]: first["id"],
        third["id"]: new["id"],
    }
    ended = [row for row in (await shop.get("/v1/referrals"))["data"] if row["ended_at"]]
    assert [(row["state"], row["advocate_id"]) for row in ended] == [("voided", second["id"])]
    codes = (await shop.get(f"/v1/members/{new['id']}/referral-codes"))["data"]
    assert [(code["code"], code["is_primary"]) for code in codes] == [
        (new["referral_code"], True),
        (old["referral_code"], False),
    ]


async def test_who_referred_the_other_half_is_no_advocate_of_themselves(shop: Shop) -> None:
    old = await shop.enrol()
    new = await shop.enrol(referral_code=old["referral_code"])
    await merge(shop, old, new)
    assert [row["state"] for row in (await shop.get("/v1/referrals"))["data"]] == ["voided"]


async def test_a_merge_that_would_make_a_circle_is_refused(shop: Shop) -> None:
    top = await shop.enrol()
    middle = await shop.enrol(referral_code=top["referral_code"])
    bottom = await shop.enrol(referral_code=middle["referral_code"])
    await shop.refuses("POST", "/v1/member-merges", body(bottom, top), status=409, code="merge_would_make_a_cycle")


async def test_what_cannot_be_merged_is_refused_whole(shop: Shop) -> None:
    old, new, other = await shop.enrol(), await shop.enrol(), await shop.enrol()
    await give(shop, old, 40)
    path = "/v1/member-merges"
    await shop.refuses("POST", path, body(old, old), status=400, code="merge_into_oneself")
    hold = await shop.post("/v1/holds", {"member_id": old["id"], "points": 5})
    await shop.refuses("POST", path, body(old, new), status=409, code="member_has_live_holds")
    await shop.post(f"/v1/holds/{hold['id']}/release")
    await shop.post(f"/v1/members/{other['id']}/status-changes", {"status": "closed", "reason": "left"})
    await shop.refuses("POST", path, body(old, other), status=409, code="member_closed")
    await merge(shop, old, new)
    await shop.refuses("POST", path, body(old, new), status=409, code="member_already_merged")
    await shop.refuses("POST", path, body(new, old), status=409, code="member_already_merged")


async def test_a_merge_and_orders_at_the_same_time_lose_no_point(shop: Shop) -> None:
    old, new = await shop.enrol(), await shop.enrol()
    orders = [shop.send("POST", "/v1/orders", shop.order_body(10, customer_id=old["customer_id"])) for _ in range(20)]
    replies = await asyncio.gather(*orders[:10], shop.send("POST", "/v1/member-merges", body(old, new)), *orders[10:])
    assert {reply.json().get("code") for reply in replies} <= {None, "merged_just_now"}
    for again in [json.loads(reply.request.content) for reply in replies if reply.status_code == 503]:
        await shop.post("/v1/orders", again)
    assert (await balances(shop, old), await balances(shop, new)) == ((0, 0, 0), (200, 0, 0))
    await shop.books_hold()


async def test_a_merge_beside_payments_returns_and_cancellations_loses_no_point(shop: Shop) -> None:
    old, new = await shop.enrol(), await shop.enrol()
    waiting = [await shop.order(10, customer_id=old["customer_id"], status="placed") for _ in range(5)]
    bought = [await shop.order(100, customer_id=old["customer_id"]) for _ in range(5)]
    reward = await shop.reward(cost=20)
    redeemed = [
        await shop.post("/v1/redemptions", {"member_id": old["id"], "reward_id": reward["id"]}) for _ in range(5)
    ]
    half = {"total": {"amount": 5_000, "currency": "EUR"}}
    replies = await asyncio.gather(
        *(shop.send("POST", f"/v1/orders/{order['id']}/payments", {}) for order in waiting),
        *(shop.send("POST", f"/v1/orders/{order['id']}/returns", half) for order in bought),
        shop.send("POST", "/v1/member-merges", body(old, new)),
        *(shop.send("POST", f"/v1/redemptions/{one['id']}/cancellation", {}) for one in redeemed),
    )
    assert [reply.status_code for reply in replies] == [201] * 16
    assert (await balances(shop, old), await balances(shop, new)) == ((0, 0, 0), (300, 0, 0))
    await shop.books_hold()


async def test_whoever_was_known_by_either_is_found_as_the_one_that_stays(shop: Shop) -> None:
    old = await shop.enrol(external_id="old", email="ann@example.com")
    new = await shop.enrol(external_id="new")
    await merge(shop, old, new)
    for asked in ("external_id=old", "external_id=new", "email=ann@example.com"):
        found = (await shop.get(f"/v1/members?{asked}"))["data"]
        assert [member["id"] for member in found] == [new["id"]]
    order = await shop.order(10, external_customer_id="old")
    assert order["customer_id"] == new["customer_id"]


async def test_merges_of_the_same_two_both_ways_end_with_one(shop: Shop) -> None:
    one, two = await shop.enrol(), await shop.enrol()
    await give(shop, one, 10)
    await give(shop, two, 10)
    bodies = [body(one, two), body(two, one)] * 5
    replies = await asyncio.gather(*(shop.send("POST", "/v1/member-merges", sent) for sent in bodies))
    assert sorted(reply.status_code for reply in replies) == [201] + [409] * 9
    assert sorted([(await balances(shop, one))[0], (await balances(shop, two))[0]]) == [0, 20]
    await shop.books_hold()
