"""What goes back, and the points that it takes with it, through the doors."""

import asyncio
from typing import Any

import pytest
from tests.shop import Json, Shop


def lines(*amounts: int, quantity: int = 1) -> list[Json]:
    return [
        {"sku": f"sku-{n}", "quantity": quantity, "total": {"amount": amount, "currency": "EUR"}}
        for n, amount in enumerate(amounts)
    ]


async def settings(shop: Shop, **changes: Any) -> None:
    await shop.send("PATCH", "/v1/program", changes, expect=200)


async def bought(shop: Shop, *amounts: int, quantity: int = 1, **details: Any) -> tuple[Json, Json]:
    member = await shop.enrol()
    body = {**shop.order_body(customer_id=member["customer_id"]), "lines": lines(*amounts, quantity=quantity)}
    return member, await shop.post("/v1/orders", {**body, **details})


async def give_back(shop: Shop, order: Json, **body: Any) -> Json:
    return await shop.post(f"/v1/orders/{order['id']}/returns", body)


async def spend(shop: Shop, member: Json, points: int) -> Json:
    reward = await shop.reward(cost=points)
    return await shop.post("/v1/redemptions", {"member_id": member["id"], "reward_id": reward["id"]})


def euros(amount: int) -> Json:
    return {"amount": amount, "currency": "EUR"}


async def test_a_whole_return_takes_back_what_the_order_earned(shop: Shop) -> None:
    member, order = await bought(shop, 5_000, 2_550)
    returned = await give_back(shop, order, reason="too small")
    assert (returned["kind"], returned["total"], returned["points_reversed"]) == ("return", euros(7_550), 75)
    assert [(line["line"], line["quantity"], line["total"]["amount"]) for line in returned["lines"]] == [
        (1, 1, 5_000),
        (2, 1, 2_550),
    ]
    (entry,) = returned["entries"]
    assert (entry["kind"], entry["from_account"], entry["to_account"], entry["points"]) == (
        "reverse", "available", "reversed", 75,
    )  # fmt: skip
    assert (await shop.wallet(member["id"]))["balance"] == 0
    assert (await shop.get(f"/v1/orders/{order['id']}/returns"))["data"] == [returned]
    await shop.books_hold()


async def test_many_partial_returns_take_what_one_big_one_takes(shop: Shop) -> None:
    """Each cent of 10.99 twice: rounding happens on what is left, never on the parts."""
    one, whole = await bought(shop, 1_099, 1_099)
    two, parts = await bought(shop, 1_099, 1_099)
    total = (await give_back(shop, whole))["points_reversed"]
    taken = [(await give_back(shop, parts, total=euros(cents)))["points_reversed"] for cents in (1, 98, 1_000, 1_099)]
    assert (total, sum(taken)) == (21, 21)
    assert taken == [0, 1, 10, 10]
    assert (await shop.wallet(one["id"]))["balance"] == (await shop.wallet(two["id"]))["balance"] == 0


async def test_pieces_of_a_line_cost_their_share_and_the_last_takes_the_rest(shop: Shop) -> None:
    _, order = await bought(shop, 1_000, quantity=3)
    amounts = [(await give_back(shop, order, lines=[{"line": 1, "quantity": 1}]))["total"]["amount"] for _ in range(3)]
    assert amounts == [333, 333, 334]
    await shop.refuses("POST", f"/v1/orders/{order['id']}/returns", {}, status=409, code="nothing_to_return")


@pytest.mark.parametrize(
    "too_much",
    [
        {"total": euros(7_551)},
        {"lines": [{"line": 1, "total": euros(5_001)}]},
        {"lines": [{"line": 2, "quantity": 2}]},
        {"lines": [{"line": 3, "quantity": 1}]},
    ],
)
async def test_no_more_goes_back_than_was_bought(shop: Shop, too_much: Json) -> None:
    _, order = await bought(shop, 5_000, 2_550)
    problem = await shop.refuses(
        "POST", f"/v1/orders/{order['id']}/returns", too_much, status=409, code="return_exceeds_order"
    )
    assert problem["data"]["left"] == [
        {"line": 1, "quantity": 1, "total_minor": 5_000},
        {"line": 2, "quantity": 1, "total_minor": 2_550},
    ]


@pytest.mark.parametrize(
    ("wrong", "pointers"),
    [
        ({"lines": [], "total": euros(1)}, {"/lines", "/total"}),
        ({"lines": [{"line": 1}]}, {"/lines/0"}),
        ({"lines": [{"line": 1, "quantity": 1}, {"line": 1, "quantity": 1}]}, {"/lines/1/line"}),
        ({"lines": [{"line": 0, "quantity": 0}]}, {"/lines/0/line", "/lines/0/quantity"}),
        ({"total": {"amount": -1, "currency": "EUR"}}, {"/total/amount"}),
    ],
)
async def test_a_return_of_nonsense_is_refused_with_every_fault(shop: Shop, wrong: Json, pointers: set[str]) -> None:
    _, order = await bought(shop, 5_000)
    path = f"/v1/orders/{order['id']}/returns"
    problem = await shop.refuses("POST", path, wrong, status=400, code="validation_failed")
    assert {fault["pointer"] for fault in problem["errors"]} == pointers


async def test_a_return_in_another_currency_is_refused(shop: Shop) -> None:
    _, order = await bought(shop, 5_000)
    body = {"total": {"amount": 1, "currency": "JPY"}}
    path = f"/v1/orders/{order['id']}/returns"
    await shop.refuses("POST", path, body, status=409, code="currency_not_accepted")


async def test_the_same_return_under_another_key_is_the_same_return(shop: Shop) -> None:
    member, order = await bought(shop, 5_000)
    path, body = f"/v1/orders/{order['id']}/returns", {"external_id": "rma-1", "total": euros(2_000)}
    first = await shop.send("POST", path, body, key="one", expect=201)
    again = await shop.send("POST", path, body, key="one", expect=201)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert (await shop.send("POST", path, body, key="two", expect=200)).json() == first.json()
    other = {"external_id": "rma-1", "total": euros(2_001)}
    await shop.refuses("POST", path, other, status=409, code="return_differs")
    assert (await shop.wallet(member["id"]))["balance"] == 30


async def test_points_that_wait_are_cancelled_first(shop: Shop) -> None:
    member = await shop.enrol()
    order = await shop.order(80, customer_id=member["customer_id"], status="placed")
    returned = await give_back(shop, order, total=euros(3_000))
    (reversal,) = returned["reversals"]
    assert (reversal["points"], reversal["pending"], reversal["taken"]) == (30, 30, 0)
    wallet = await shop.wallet(member["id"])
    assert (wallet["pending"], wallet["available"]) == (50, 0)
    await shop.post(f"/v1/orders/{order['id']}/payments", {})
    assert (await shop.wallet(member["id"]))["available"] == 50
    await shop.books_hold()


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("pending_only", {"available": 20, "debt": 0, "taken": 0, "owed": 0, "written_off": 0}),
        ("clamp_to_zero", {"available": 0, "debt": 0, "taken": 20, "owed": 0, "written_off": 80}),
        ("allow_debt", {"available": 0, "debt": 80, "taken": 20, "owed": 80, "written_off": 0}),
    ],
)
async def test_points_spent_meanwhile_are_let_be_written_off_or_owed_by_policy(
    shop: Shop, policy: str, expected: Json
) -> None:
    await settings(shop, clawback=policy)
    member, order = await bought(shop, 10_000)
    await spend(shop, member, 80)
    (reversal,) = (await give_back(shop, order))["reversals"]
    wallet = await shop.wallet(member["id"])
    found = {name: (wallet if name in wallet else reversal)[name] for name in expected}
    assert found == expected
    await shop.books_hold()


async def test_debt_is_paid_by_the_next_earnings_before_anything_can_be_spent(shop: Shop) -> None:
    await settings(shop, clawback="allow_debt")
    member, order = await bought(shop, 10_000)
    redemption = await spend(shop, member, 80)
    await give_back(shop, order)
    await shop.order(30, customer_id=member["customer_id"])
    wallet = await shop.wallet(member["id"])
    assert (wallet["available"], wallet["debt"], wallet["balance"]) == (0, 50, -50)
    await shop.post(f"/v1/redemptions/{redemption['id']}/cancellation", {})
    wallet = await shop.wallet(member["id"])
    assert (wallet["available"], wallet["debt"], wallet["balance"]) == (30, 0, 30)
    await shop.books_hold()


async def test_a_clawback_never_takes_held_points(shop: Shop) -> None:
    member, order = await bought(shop, 10_000)
    hold = await shop.post("/v1/holds", {"member_id": member["id"], "points": 70})
    (reversal,) = (await give_back(shop, order))["reversals"]
    assert (reversal["taken"], reversal["written_off"]) == (30, 70)
    captured = await shop.post(f"/v1/holds/{hold['id']}/capture", {})
    assert captured["captured"] == 70
    assert (await shop.wallet(member["id"]))["balance"] == 0
    await shop.books_hold()


async def test_points_freed_while_something_is_owed_pay_it(shop: Shop) -> None:
    await settings(shop, clawback="allow_debt")
    member, order = await bought(shop, 10_000)
    hold = await shop.post("/v1/holds", {"member_id": member["id"], "points": 70})
    await give_back(shop, order)
    await shop.post(f"/v1/holds/{hold['id']}/release")
    wallet = await shop.wallet(member["id"])
    assert (wallet["available"], wallet["held"], wallet["debt"]) == (0, 0, 0)
    await shop.books_hold()


async def test_a_clawback_takes_the_orders_own_points_before_others(shop: Shop) -> None:
    member, order = await bought(shop, 4_000)
    given = {"member_id": member["id"], "points": 100, "reason": "gift", "expires_at": "2026-02-01T00:00:00Z"}
    await shop.post("/v1/adjustments", given)
    await give_back(shop, order)
    lots = (await shop.get(f"/v1/members/{member['id']}/lots"))["data"]
    assert [(lot["granted"], lot["remaining"]) for lot in lots] == [(100, 100), (40, 0)]


async def test_a_cancelled_order_is_over(shop: Shop) -> None:
    member, order = await bought(shop, 5_000)
    await give_back(shop, order, total=euros(1_000))
    cancelled = await shop.post(f"/v1/orders/{order['id']}/cancellation", {"reason": "lost"})
    assert (cancelled["kind"], cancelled["total"], cancelled["points_reversed"]) == ("cancellation", euros(4_000), 40)
    assert (await shop.get(f"/v1/orders/{order['id']}"))["status"] == "cancelled"
    assert (await shop.wallet(member["id"]))["balance"] == 0
    for path in ("returns", "cancellation", "deliveries"):
        await shop.refuses("POST", f"/v1/orders/{order['id']}/{path}", {}, status=409, code="order_cancelled")


async def test_a_cancelled_order_is_no_longer_a_purchase(shop: Shop) -> None:
    member = await shop.enrol()
    order = await shop.order(40, customer_id=member["customer_id"])
    await shop.post(f"/v1/orders/{order['id']}/cancellation", {})
    unpaid = await shop.order(40, customer_id=member["customer_id"], status="placed")
    await shop.post(f"/v1/orders/{unpaid['id']}/cancellation", {})
    await shop.refuses("POST", f"/v1/orders/{unpaid['id']}/payments", {}, status=409, code="order_cancelled")


async def test_a_guests_return_takes_no_points(shop: Shop) -> None:
    order = await shop.order(50)
    returned = await give_back(shop, order)
    assert (returned["total"], returned["points_reversed"], returned["entries"]) == (euros(5_000), 0, [])


async def test_of_many_returns_at_once_only_what_was_bought_goes_back(shop: Shop) -> None:
    member, order = await bought(shop, 10_000)
    path = f"/v1/orders/{order['id']}/returns"
    replies = await asyncio.gather(*(shop.send("POST", path, {"total": euros(3_000)}) for _ in range(20)))
    assert sorted(reply.status_code for reply in replies) == [201] * 3 + [409] * 17
    assert (await shop.wallet(member["id"]))["balance"] == 10
    await shop.books_hold()


async def test_a_trial_of_a_return_changes_nothing(shop: Shop) -> None:
    _, order = await bought(shop, 10_000)
    before = await shop.digest()
    tried = await shop.post(f"/v1/orders/{order['id']}/returns?dry_run=true", {}, expect=200)
    assert tried["points_reversed"] == 100
    assert await shop.digest() == before


@pytest.mark.parametrize("body", [{"total": euros(3_000)}, {}])
async def test_the_same_return_at_the_same_time_under_many_keys_is_one(shop: Shop, body: Json) -> None:
    _, order = await bought(shop, 10_000)
    path, sent = f"/v1/orders/{order['id']}/returns", {"external_id": "rma-9", **body}
    replies = await asyncio.gather(*(shop.send("POST", path, sent) for _ in range(8)))
    assert sorted(reply.status_code for reply in replies) == [200] * 7 + [201]
    await shop.post("/v1/test-clock/advance", {"to": "2026-06-01T00:00:00Z"}, expect=200)
    assert (await shop.send("POST", path, sent)).status_code == 200
    await shop.books_hold()


async def test_an_order_that_went_back_before_it_was_paid_completes_no_referral(shop: Shop) -> None:
    advocate = await shop.enrol()
    friend = await shop.enrol(referral_code=advocate["referral_code"])
    order = await shop.order(40, customer_id=friend["customer_id"], status="placed")
    await give_back(shop, order)
    assert (await shop.post(f"/v1/orders/{order['id']}/payments", {}))["referral"] is None
    assert (await shop.wallet(advocate["id"]))["balance"] == 0
