"""Orders paid in part with points, through HTTP."""

import asyncio
from typing import Any

import pytest
from tests.shop import Json, Shop

BURN = {"rates": {"EUR": {"points": 10, "amount_minor": 100}}, "least_points": 50, "most_percent": 50}


def euros(amount: int) -> Json:
    return {"amount": amount, "currency": "EUR"}


async def rich(shop: Shop, points: int = 1_000, **settings: Any) -> Json:
    """A program where ten points are a euro, and a member with points."""
    await shop.send("PATCH", "/v1/program", {"burn": BURN, **settings}, expect=200)
    member = await shop.enrol()
    await shop.post("/v1/adjustments", {"member_id": member["id"], "points": points, "reason": "start"})
    return member


def body_of(shop: Shop, member: Json, *totals: int, **more: Any) -> Json:
    lines = [{"sku": f"sku-{total}", "total": euros(total)} for total in totals]
    return {**shop.order_body(customer_id=member["customer_id"]), "lines": lines, **more}


async def test_points_pay_for_a_part_and_that_part_earns_nothing(shop: Shop) -> None:
    member = await rich(shop)
    order = await shop.post("/v1/orders", body_of(shop, member, 3_000, 7_000, pay_points=300))
    assert order["total"] == euros(10_000)
    assert order["paid_with_points"] == {
        "points": 300, "unit": "points", "value": euros(3_000), "line_values": [euros(900), euros(2_100)]
    }  # fmt: skip
    assert (order["points_earned"], order["awards"][0]["base"]) == (70, euros(7_000))
    assert [(entry["kind"], entry["points"], entry["balance_after"]) for entry in order["entries"]] == [
        ("spend", 300, 700), ("earn", 70, 770),
    ]  # fmt: skip
    assert (await shop.wallet(member["id"]))["balance"] == 770
    await shop.books_hold()


async def test_a_program_may_let_what_points_paid_earn(shop: Shop) -> None:
    member = await rich(shop, earning_base={"paid_with_points": True})
    order = await shop.post("/v1/orders", body_of(shop, member, 10_000, pay_points=300))
    assert order["points_earned"] == 100


async def test_a_hold_is_captured_by_the_order_and_what_it_does_not_take_is_free_again(shop: Shop) -> None:
    member = await rich(shop, points=400)
    hold = await shop.post("/v1/holds", {"member_id": member["id"], "points": 400})
    body = body_of(shop, member, 10_000, pay_points=300, hold_id=hold["id"])
    order = await shop.post("/v1/orders", body)
    assert [entry["kind"] for entry in order["entries"]] == ["capture", "earn"]
    wallet = await shop.wallet(member["id"])
    assert (wallet["held"], wallet["available"]) == (0, 170)
    again = body_of(shop, member, 10_000, hold_id=hold["id"])
    await shop.refuses("POST", "/v1/orders", again, status=409, code="hold_ended")
    await shop.books_hold()


async def test_a_hold_alone_pays_with_all_that_it_has_locked(shop: Shop) -> None:
    member = await rich(shop, points=400)
    hold = await shop.post("/v1/holds", {"member_id": member["id"], "points": 200})
    order = await shop.post("/v1/orders", body_of(shop, member, 10_000, hold_id=hold["id"]))
    assert order["paid_with_points"]["value"] == euros(2_000)
    assert (await shop.get(f"/v1/holds/{hold['id']}"))["state"] == "captured"


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"pay_points": 49}, 409, "points_below_floor"),
        ({"pay_points": 501}, 409, "points_above_ceiling"),
        ({"pay_points": 1_001, "lines": [{"sku": "house", "total": euros(90_000)}]}, 409, "not_enough_points"),
        ({"pay_points": 60, "currency": "JPY"}, 409, "points_do_not_pay"),
        ({"pay_points": 60, "customer_id": None}, 409, "points_need_a_member"),
        ({"hold_id": "hld_" + "0" * 26}, 404, "hold_not_found"),
        ({"pay_points": 0}, 400, "validation_failed"),
    ],
)
async def test_what_points_cannot_pay_is_refused_and_changes_nothing(
    shop: Shop, more: Json, status: int, code: str
) -> None:
    member = await rich(shop)
    body = {**body_of(shop, member, 10_000), **more}
    if body["customer_id"] is None:
        del body["customer_id"]
    if body["currency"] == "JPY":
        body["lines"] = [{"sku": "a", "total": {"amount": 10_000, "currency": "JPY"}}]
    await shop.refuses("POST", "/v1/orders", body, status=status, code=code)


async def test_anothers_hold_pays_nothing(shop: Shop) -> None:
    member, other = await rich(shop), await shop.enrol()
    hold = await shop.post("/v1/holds", {"member_id": member["id"], "points": 200})
    body = body_of(shop, other, 10_000, hold_id=hold["id"])
    await shop.refuses("POST", "/v1/orders", body, status=404, code="hold_not_found")


async def test_a_suspended_member_does_not_pay_with_points(shop: Shop) -> None:
    member = await rich(shop)
    suspension = {"status": "suspended", "suspends": "burn", "reason": "checked"}
    await shop.post(f"/v1/members/{member['id']}/status-changes", suspension)
    body = body_of(shop, member, 10_000, pay_points=100)
    await shop.refuses("POST", "/v1/orders", body, status=409, code="member_may_not_burn")


async def test_of_64_parallel_orders_that_pay_with_the_same_points_one_succeeds(shop: Shop) -> None:
    member = await rich(shop, points=100)
    bodies = [body_of(shop, member, 2_000, pay_points=100) for _ in range(64)]
    replies = await asyncio.gather(*(shop.send("POST", "/v1/orders", body) for body in bodies))
    codes = sorted(reply.json().get("code", "") for reply in replies if reply.status_code != 201)
    assert codes == ["not_enough_points"] * 63
    assert (await shop.wallet(member["id"]))["balance"] == 10
    await shop.books_hold()


async def test_the_same_order_under_a_new_key_pays_once_even_where_points_are_worth_something_else_by_then(
    shop: Shop,
) -> None:
    member = await rich(shop)
    body = body_of(shop, member, 10_000, pay_points=300)
    first = await shop.post("/v1/orders", body)
    burn = {"burn": {"rates": {"EUR": {"points": 1, "amount_minor": 1}}, "least_points": 5_000}}
    await shop.send("PATCH", "/v1/program", burn, expect=200)
    assert await shop.post("/v1/orders", body, expect=200) == first
    await shop.refuses("POST", "/v1/orders", {**body, "pay_points": 299}, status=409, code="order_differs")
    assert (await shop.wallet(member["id"]))["balance"] == 770


@pytest.mark.parametrize(
    ("policy", "money", "points", "balance"),
    [
        # Of 100 euros 30 were paid with 300 points, and 70 earned 70 points. Half of it goes back.
        ("proportional", 3_500, 150, 770 + 150 - 35),
        ("money_first", 5_000, 0, 770 - 50),
        ("points_first", 2_000, 300, 770 + 300 - 20),
    ],
)
async def test_a_return_tells_what_to_refund_and_gives_points_back_by_policy(
    shop: Shop, policy: str, money: int, points: int, balance: int
) -> None:
    member = await rich(shop, refund=policy)
    order = await shop.post("/v1/orders", body_of(shop, member, 5_000, 5_000, pay_points=300))
    body = {"lines": [{"line": 2, "quantity": 1}]}
    trial = await shop.send("POST", f"/v1/orders/{order['id']}/returns?dry_run=true", body, expect=200)
    assert trial.json()["refund"] == {"money": euros(money), "points": points, "coupons": []}
    made = await shop.post(f"/v1/orders/{order['id']}/returns", body)
    assert made["refund"] == {"money": euros(money), "points": points, "coupons": []}
    assert (await shop.wallet(member["id"]))["balance"] == balance
    await shop.send("PATCH", "/v1/program", {"refund": "points_first", "burn": {"rates": {}}}, expect=200)
    rest = await shop.post(f"/v1/orders/{order['id']}/returns", {})
    assert (rest["refund"]["money"]["amount"], rest["refund"]["points"]) == (7_000 - money, 300 - points)
    assert (await shop.wallet(member["id"]))["balance"] == 1_000
    await shop.books_hold()


async def test_points_that_paid_go_back_into_their_own_lots(shop: Shop) -> None:
    member = await rich(shop, points=100)
    gift = {"member_id": member["id"], "points": 100, "reason": "gift", "expires_at": "2026-03-01T00:00:00Z"}
    await shop.post("/v1/adjustments", gift)
    before = (await shop.get(f"/v1/members/{member['id']}/lots"))["data"]
    order = await shop.post("/v1/orders", body_of(shop, member, 10_000, pay_points=150))
    for amount in (3_000, 3_000, 4_000):
        await shop.post(f"/v1/orders/{order['id']}/returns", {"total": euros(amount)})
    after = (await shop.get(f"/v1/members/{member['id']}/lots"))["data"]
    assert [lot for lot in after if lot["remaining"]] == before
    await shop.books_hold()


async def test_points_of_a_merged_member_go_back_to_the_heir(shop: Shop) -> None:
    member, heir = await rich(shop), await shop.enrol()
    order = await shop.post("/v1/orders", body_of(shop, member, 10_000, pay_points=300))
    await shop.post(
        "/v1/member-merges", {"from_member_id": member["id"], "into_member_id": heir["id"], "reason": "one person"}
    )
    made = await shop.post(f"/v1/orders/{order['id']}/cancellation", {})
    assert made["refund"] == {"money": euros(7_000), "points": 300, "coupons": []}
    assert (await shop.wallet(heir["id"]))["balance"] == 1_000
    await shop.books_hold()
