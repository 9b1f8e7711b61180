"""Many orders in one request."""

import asyncio
from uuid import uuid4

from tests.earning.till import balances, line
from tests.shop import Json, Shop


async def batch(shop: Shop, orders: list[Json], *, key: str | None = None) -> list[Json]:
    found: list[Json] = (await shop.send("POST", "/v1/orders/batch", {"orders": orders}, key=key, expect=200)).json()[
        "results"
    ]
    return found


async def test_each_order_is_placed_or_refused_as_if_it_had_come_alone(shop: Shop) -> None:
    ann, bob = await shop.enrol(), await shop.enrol()
    await shop.post("/v1/adjustments", {"member_id": ann["id"], "points": 100, "reason": "start"})
    burn = {"burn": {"rates": {"EUR": {"points": 1, "amount_minor": 1}}}}
    await shop.send("PATCH", "/v1/program", burn, expect=200)
    there = shop.order_body(10, customer_id=ann["customer_id"])
    await shop.post("/v1/orders", there)
    orders = [
        shop.order_body(10, customer_id=ann["customer_id"]),
        there,
        {**there, "channel": "app"},
        shop.order_body(10, customer_id="cus_00000000000000000000000000"),
        shop.order_body(20, customer_id=ann["customer_id"], pay_points=50),
        shop.order_body(10, customer_id=bob["customer_id"], status="placed"),
        {**shop.order_body(10), "currency": "CHF", "lines": [line("x", 5, currency="CHF")]},
        shop.order_body(30, external_customer_id=uuid4().hex),
    ]
    key = uuid4().hex
    found = await batch(shop, orders, key=key)
    told = [(own["status"], own["problem"] and own["problem"]["code"]) for own in found]
    assert told == [
        (201, None), (200, None), (409, "order_differs"), (404, "customer_not_found"), (201, None), (201, None),
        (409, "currency_not_accepted"), (201, None),
    ]  # fmt: skip
    for own, result in zip(orders, found, strict=True):
        if result["order"] is not None:
            assert result["order"]["external_id"] == own["external_id"]
    again = await batch(shop, orders, key=key)
    assert [own["order"] for own in again] == [own["order"] for own in found]
    assert [own["status"] for own in again] == [own["status"] for own in found]
    assert await balances(shop, ann) == {"points": 100 + 10 + 10 + 19 - 50}
    other = [{**orders[0], "channel": "app"}, *orders[1:]]
    assert (await batch(shop, other, key=key))[0]["problem"]["code"] == "idempotency_key_reused"
    await shop.books_hold()


async def test_batches_with_the_same_orders_beside_each_other_place_each_once(shop: Shop) -> None:
    member = await shop.enrol()
    orders = [shop.order_body(1, customer_id=member["customer_id"]) for _ in range(50)]
    found = await asyncio.gather(*(batch(shop, orders) for _ in range(4)))
    assert sum(own["status"] == 201 for results in found for own in results) == 50
    assert {own["status"] for results in found for own in results} == {200, 201}
    assert await balances(shop, member) == {"points": 50}
    await shop.books_hold()


async def test_a_body_with_faults_places_nothing_and_lists_them_all(shop: Shop) -> None:
    orders = [shop.order_body(10), {**shop.order_body(10), "lines": []}, {"external_id": ""}]
    refused = await shop.refuses("POST", "/v1/orders/batch", {"orders": orders}, status=400, code="validation_failed")
    assert {"/orders/1/lines", "/orders/2/currency"} <= {fault["pointer"] for fault in refused["errors"]}
    many = {"orders": [shop.order_body(10) for _ in range(101)]}
    await shop.refuses("POST", "/v1/orders/batch", many, status=400, code="validation_failed")
