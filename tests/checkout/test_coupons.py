"""Coupons that an order names: what they take off, once, and what a return makes good again."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.shop import Json, Shop

from loyalty.orders.rules import Line, LineKind
from loyalty.rewards.discounts import parts_off, take_off
from loyalty.rewards.errors import CouponBelowMinimum, CouponDoesNotFit
from loyalty.rewards.rules import RewardKind


def euros(amount: int) -> Json:
    return {"amount": amount, "currency": "EUR"}


LINES = [
    {"sku": "shirt", "quantity": 2, "total": euros(4_001)},
    {"sku": "hat", "total": euros(2_000), "tax": euros(200)},
    {"sku": "post", "kind": "shipping", "total": euros(500)},
]


async def coupon_of(shop: Shop, member: Json, kind: str, value: Json, **more: Any) -> str:
    reward = {"name": kind, "kind": kind, "value": value, "cost_points": 10, **more}
    made = await shop.post("/v1/rewards", reward)
    redemption = await shop.post("/v1/redemptions", {"member_id": member["id"], "reward_id": made["id"]})
    return str(redemption["coupon"]["code"])


async def buyer_with_points(shop: Shop) -> Json:
    member = await shop.enrol()
    await shop.post("/v1/adjustments", {"member_id": member["id"], "points": 100, "reason": "start"})
    return member


def body_of(shop: Shop, member: Json, *codes: str, **more: Any) -> Json:
    return {**shop.order_body(customer_id=member["customer_id"]), "lines": LINES, "coupons": list(codes), **more}


@pytest.mark.parametrize(
    ("kind", "value", "parts"),
    [
        ("amount_off", {"amount": euros(600)}, [400, 200, 0]),
        ("amount_off", {"amount": euros(9_999)}, [4_001, 2_000, 0]),
        ("percent_off", {"percent": 10}, [400, 200, 0]),
        ("free_product", {"sku": "shirt"}, [2_001, 0, 0]),
        ("free_shipping", {}, [0, 0, 500]),
        ("amount_off", {"amount": euros(600), "minimum": euros(6_001)}, [400, 200, 0]),
    ],
)
async def test_a_coupon_takes_off_what_its_reward_says(shop: Shop, kind: str, value: Json, parts: list[int]) -> None:
    member = await buyer_with_points(shop)
    code = await coupon_of(shop, member, kind, value)
    quote = await shop.post("/v1/quotes", {
        "currency": "EUR", "customer_id": member["customer_id"], "lines": LINES, "coupons": [code],
    })  # fmt: skip
    order = await shop.post("/v1/orders", body_of(shop, member, code.lower(), quote_id=quote["id"]))
    assert [(own["coupon_code"], own["effect"], own["line_values"]) for own in order["discounts"]] == [
        (code, "price_reduction", [euros(part) for part in parts])
    ]
    assert order["discounts"] == quote["discounts"]
    assert order["total"] == euros(6_501 - sum(parts))
    assert [line["discount"] for line in order["lines"]] == [euros(part) for part in parts]
    assert order["points_earned"] == (6_001 - sum(parts[:2])) // 100
    await shop.books_hold()


async def test_a_coupon_is_used_once_in_32_parallel_orders(shop: Shop) -> None:
    member = await buyer_with_points(shop)
    code = await coupon_of(shop, member, "amount_off", {"amount": euros(600)})
    bodies = [body_of(shop, member, code) for _ in range(32)]
    replies = await asyncio.gather(*(shop.send("POST", "/v1/orders", body) for body in bodies))
    assert sorted(reply.status_code for reply in replies) == [201] + [409] * 31
    assert {reply.json()["code"] for reply in replies if reply.status_code == 409} == {"coupon_used"}
    await shop.books_hold()


async def test_the_same_order_again_hears_the_same(shop: Shop) -> None:
    member = await buyer_with_points(shop)
    body = body_of(shop, member, await coupon_of(shop, member, "percent_off", {"percent": 50}))
    first = await shop.post("/v1/orders", body)
    assert await shop.post("/v1/orders", body, expect=200) == first
    await shop.refuses("POST", "/v1/orders", {**body, "coupons": []}, status=409, code="order_differs")


async def test_two_coupons_take_off_one_after_the_other(shop: Shop) -> None:
    member = await buyer_with_points(shop)
    half = await coupon_of(shop, member, "percent_off", {"percent": 50})
    ten = await coupon_of(shop, member, "amount_off", {"amount": euros(1_000)})
    order = await shop.post("/v1/orders", body_of(shop, member, half, ten))
    assert [own["value"] for own in order["discounts"]] == [euros(3_000), euros(1_000)]
    assert order["total"] == euros(2_501)
    assert order["lines"][1]["tax"] == euros(200 * order["lines"][1]["total"]["amount"] // 2_000)


@pytest.mark.parametrize(
    ("kind", "value", "code"),
    [
        ("amount_off", {"amount": {"amount": 600, "currency": "JPY"}}, "coupon_does_not_fit"),
        ("amount_off", {"amount": euros(600), "minimum": euros(6_002)}, "coupon_below_minimum"),
        ("free_product", {"sku": "sock"}, "coupon_does_not_fit"),
        ("gift_card", {"amount": {"amount": 600, "currency": "JPY"}}, "coupon_does_not_fit"),
    ],
)
async def test_a_coupon_that_does_not_fit_is_refused_and_stays_good(
    shop: Shop, kind: str, value: Json, code: str
) -> None:
    member = await buyer_with_points(shop)
    coupon = await coupon_of(shop, member, kind, value)
    await shop.refuses("POST", "/v1/orders", body_of(shop, member, coupon), status=409, code=code)
    await shop.post("/v1/coupon-uses", {"code": coupon})


async def test_anothers_a_used_an_expired_and_an_unknown_coupon_are_refused(shop: Shop) -> None:
    member, other = await buyer_with_points(shop), await shop.enrol()
    value = {"amount": euros(600)}
    code = await coupon_of(shop, member, "amount_off", value, coupon_days=1)
    found = [("coupon_not_for_this_member", 409, other, code), ("coupon_not_found", 404, member, "NOSUCHCODE")]
    for problem, status, buyer, named in found:
        await shop.refuses("POST", "/v1/orders", body_of(shop, buyer, named), status=status, code=problem)
    await shop.post("/v1/test-clock/advance", {"to": "2026-01-02T12:00:00Z"}, expect=200)
    await shop.refuses("POST", "/v1/orders", body_of(shop, member, code), status=409, code="coupon_expired")
    used = await coupon_of(shop, member, "amount_off", value)
    await shop.post("/v1/coupon-uses", {"code": used})
    await shop.refuses("POST", "/v1/orders", body_of(shop, member, used), status=409, code="coupon_used")
    twice = await shop.send("POST", "/v1/orders", body_of(shop, member, used, used.lower()), expect=400)
    assert [fault["pointer"] for fault in twice.json()["errors"]] == ["/coupons"]


async def test_a_coupon_is_good_again_once_the_whole_order_went_back(shop: Shop) -> None:
    member = await buyer_with_points(shop)
    code = await coupon_of(shop, member, "amount_off", {"amount": euros(600)})
    order = await shop.post("/v1/orders", body_of(shop, member, code))
    part = await shop.post(f"/v1/orders/{order['id']}/returns", {"lines": [{"line": 1, "quantity": 2}]})
    assert part["refund"] == {"money": euros(3_601), "points": 0, "coupons": []}
    refused = await shop.send("POST", "/v1/orders", body_of(shop, member, code), expect=409)
    assert refused.json()["code"] == "coupon_used"
    rest = await shop.post(f"/v1/orders/{order['id']}/returns", {})
    assert rest["refund"] == {"money": euros(2_300), "points": 0, "coupons": [code]}
    await shop.post("/v1/orders", body_of(shop, member, code))
    await shop.books_hold()


kinds = st.sampled_from(LineKind)
baskets = st.lists(
    st.builds(
        lambda number, quantity, total, kind: Line(f"sku-{number}", quantity, total, kind=kind, tax_minor=total // 6),
        st.integers(0, 3),
        st.integers(1, 5),
        st.integers(0, 10_000),
        kinds,
    ),
    min_size=1,
    max_size=6,
)
values: st.SearchStrategy[tuple[RewardKind, Json]] = st.one_of(
    st.builds(lambda amount: (RewardKind.AMOUNT_OFF, {"amount": euros(amount)}), st.integers(1, 30_000)),
    st.builds(lambda percent: (RewardKind.PERCENT_OFF, {"percent": percent}), st.integers(1, 100)),
    st.builds(lambda number: (RewardKind.FREE_PRODUCT, {"sku": f"sku-{number}"}), st.integers(0, 3)),
    st.just((RewardKind.FREE_SHIPPING, {})),
)


@given(lines=baskets, reward=values, minimum=st.none() | st.integers(1, 20_000))
def test_a_discount_is_never_more_than_its_lines_nor_than_the_reward_is_worth(
    lines: list[Line], reward: tuple[RewardKind, Json], minimum: int | None
) -> None:
    kind, value = reward
    products = sum(line.total_minor for line in lines if line.kind is LineKind.PRODUCT)
    asked = {**value, **({"minimum": euros(minimum)} if minimum else {})}
    if minimum and products < minimum:
        with pytest.raises(CouponBelowMinimum):
            parts_off(kind, asked, currency="EUR", lines=lines)
        return
    try:
        parts = parts_off(kind, asked, currency="EUR", lines=lines)
    except CouponDoesNotFit:
        parts = tuple(0 for _ in lines)
    worth = {
        RewardKind.AMOUNT_OFF: min(products, value.get("amount", {}).get("amount", 0)),
        RewardKind.PERCENT_OFF: products * value.get("percent", 0) // 100,
        RewardKind.FREE_SHIPPING: sum(line.total_minor for line in lines if line.kind is LineKind.SHIPPING),
    }
    if kind in worth:
        assert sum(parts) == worth[kind]
    else:
        assert sum(part > 0 for part in parts) <= 1
    after = take_off(lines, parts)
    assert all(0 <= line.tax_minor <= line.total_minor for line in after)
    assert [line.total_minor + line.discount_minor for line in after] == [line.total_minor for line in lines]


async def test_a_perk_takes_off_nothing_is_used_with_the_order_and_good_again_once_all_went_back(shop: Shop) -> None:
    member = await buyer_with_points(shop)
    code = await coupon_of(shop, member, "perk", {"description": "a hug"})
    order = await shop.post("/v1/orders", body_of(shop, member, code))
    assert order["total"] == euros(6_501)
    assert [(own["coupon_code"], own["effect"], own["value"]) for own in order["discounts"]] == [
        (code, "perk", euros(0))
    ]
    check = {"code": code, "member_id": member["id"]}
    assert (await shop.post("/v1/coupon-checks", check, expect=200))["status"] == "used"
    assert (await shop.post(f"/v1/orders/{order['id']}/returns", {}))["refund"]["coupons"] == [code]
    assert (await shop.post("/v1/coupon-checks", check, expect=200))["status"] == "valid"


async def test_a_gift_card_pays_for_what_other_coupons_leave_and_changes_no_price(shop: Shop) -> None:
    member = await buyer_with_points(shop)
    card = await coupon_of(shop, member, "gift_card", {"amount": euros(2_000)})
    half = await coupon_of(shop, member, "percent_off", {"percent": 50})
    asked = {"currency": "EUR", "customer_id": member["customer_id"], "lines": LINES, "coupons": [card, half]}
    quote = await shop.post("/v1/quotes", asked)
    assert (quote["total"], quote["left_to_pay"], quote["offer"]) == (euros(3_501), euros(1_501), None)
    order = await shop.post("/v1/orders", body_of(shop, member, card, half, quote_id=quote["id"]))
    told = [(own["coupon_code"], own["effect"], own["value"]["amount"]) for own in order["discounts"]]
    assert told == [(half, "price_reduction", 3_000), (card, "tender", 2_000)]
    assert (order["total"], order["points_earned"]) == (euros(3_501), 30)
    assert sum(own["amount"] for own in order["discounts"][1]["line_values"]) == 2_000


async def test_money_goes_back_before_a_gift_card_which_is_good_again_once_all_went_back(shop: Shop) -> None:
    member = await buyer_with_points(shop)
    card = await coupon_of(shop, member, "gift_card", {"amount": euros(5_000)})
    order = await shop.post("/v1/orders", body_of(shop, member, card))
    path = f"/v1/orders/{order['id']}/returns"
    refunds = [
        (await shop.post(path, {"lines": [{"line": 2, "quantity": 1}]}))["refund"],
        (await shop.post(path, {"lines": [{"line": 3, "quantity": 1}]}))["refund"],
        (await shop.post(path, {}))["refund"],
    ]
    assert [(own["money"]["amount"], own["coupons"]) for own in refunds] == [(1_501, []), (0, []), (0, [card])]
    check = {"code": card, "member_id": member["id"]}
    assert (await shop.post("/v1/coupon-checks", check, expect=200))["status"] == "valid"
    await shop.books_hold()


async def test_two_gift_cards_pay_no_more_than_there_is_and_none_beside_points(shop: Shop) -> None:
    member = await buyer_with_points(shop)
    cards = [await coupon_of(shop, member, "gift_card", {"amount": euros(5_000)}) for _ in range(2)]
    order = await shop.post("/v1/orders", body_of(shop, member, *cards))
    assert [own["value"]["amount"] for own in order["discounts"]] == [5_000, 1_501]
    third = await coupon_of(shop, member, "gift_card", {"amount": euros(500)})
    body = body_of(shop, member, third, pay_points=10)
    await shop.refuses("POST", "/v1/orders", body, status=409, code="points_beside_gift_card")
