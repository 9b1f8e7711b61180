"""A guest's order that a member claims later."""

import asyncio

from tests.shop import Json, Shop


async def guests(shop: Shop, euros: int = 40, email: str = "ann@example.com", **details: object) -> Json:
    return await shop.order(euros, email=email, **details)


async def claim(shop: Shop, order: Json, member: Json) -> Json:
    return await shop.post(f"/v1/orders/{order['id']}/claim", {"member_id": member["id"]})


async def balance(shop: Shop, member: Json) -> int:
    return int((await shop.wallet(member["id"]))["balance"])


async def test_a_guests_order_becomes_the_members_and_earns(shop: Shop) -> None:
    member = await shop.enrol(email="ann@example.com")
    order = await guests(shop)
    claimed = await claim(shop, order, member)
    assert (claimed["customer_id"], claimed["points_earned"]) == (member["customer_id"], 40)
    assert await balance(shop, member) == 40
    assert (await shop.get(f"/v1/orders/{order['id']}"))["customer_id"] == member["customer_id"]
    await shop.books_hold()


async def test_an_order_of_before_joining_is_claimed_but_earns_nothing(shop: Shop) -> None:
    order = await guests(shop)
    await shop.post("/v1/test-clock/advance", {"to": "2026-01-02T00:00:00Z"}, expect=200)
    member = await shop.enrol(email="ann@example.com")
    claimed = await claim(shop, order, member)
    assert (claimed["customer_id"], claimed["points_earned"]) == (member["customer_id"], 0)


async def test_only_what_has_not_gone_back_earns_and_a_later_return_takes_the_rest(shop: Shop) -> None:
    member = await shop.enrol(email="ann@example.com")
    order = await guests(shop)
    path = f"/v1/orders/{order['id']}/returns"
    await shop.post(path, {"total": {"amount": 1_000, "currency": "EUR"}})
    assert (await claim(shop, order, member))["points_earned"] == 30
    await shop.post(path, {"total": {"amount": 500, "currency": "EUR"}})
    assert await balance(shop, member) == 25
    await shop.post(path, {})
    assert await balance(shop, member) == 0
    await shop.books_hold()


async def test_a_claim_needs_the_address_of_the_order(shop: Shop) -> None:
    member = await shop.enrol(email="ann@example.com")
    body = {"member_id": member["id"]}
    other = await guests(shop, email="bob@example.com")
    await shop.refuses("POST", f"/v1/orders/{other['id']}/claim", body, status=409, code="claim_not_proven")
    without = await shop.order(10)
    assert (await claim(shop, without, member))["points_earned"] == 10


async def test_an_order_is_claimed_once(shop: Shop) -> None:
    member, other = await shop.enrol(email="ann@example.com"), await shop.enrol(email="bob@example.com")
    order = await guests(shop)
    first = await claim(shop, order, member)
    path = f"/v1/orders/{order['id']}/claim"
    again = await shop.send("POST", path, {"member_id": member["id"]}, expect=200)
    assert again.json() == first
    await shop.refuses("POST", path, {"member_id": other["id"]}, status=409, code="order_has_a_buyer")
    assert await balance(shop, member) == 40


async def test_the_guests_order_sent_again_is_still_the_same_order(shop: Shop) -> None:
    member = await shop.enrol(email="ann@example.com")
    body = shop.order_body(40, email="ann@example.com")
    order = await shop.post("/v1/orders", body)
    await claim(shop, order, member)
    again = await shop.send("POST", "/v1/orders", body)
    assert (again.status_code, again.json()["id"]) == (200, order["id"])
    other = {**body, "email": "bob@example.com"}
    await shop.refuses("POST", "/v1/orders", other, status=409, code="order_differs")


async def test_of_many_claims_at_once_one_is_counted(shop: Shop) -> None:
    member = await shop.enrol(email="ann@example.com")
    order = await guests(shop)
    path = f"/v1/orders/{order['id']}/claim"
    replies = await asyncio.gather(*(shop.send("POST", path, {"member_id": member["id"]}) for _ in range(20)))
    assert sorted(reply.status_code for reply in replies) == [200] * 19 + [201]
    assert await balance(shop, member) == 40


async def test_an_unpaid_orders_points_wait_for_its_payment(shop: Shop) -> None:
    member = await shop.enrol(email="ann@example.com")
    order = await guests(shop, status="placed")
    await claim(shop, order, member)
    assert (await shop.wallet(member["id"]))["pending"] == 40
    await shop.post(f"/v1/orders/{order['id']}/payments", {})
    assert (await shop.wallet(member["id"]))["available"] == 40
