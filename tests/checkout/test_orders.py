"""Orders and payments: once per key and per external id, pending until paid, counted by the rules of their moment."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.conftest import connect, running
from tests.shop import Json, Shop, open_shop

from loyalty.app import create_app
from loyalty.core.db import transaction
from loyalty.core.settings import Settings


async def advance(shop: Shop, to: str) -> None:
    await shop.post("/v1/test-clock/advance", {"to": to}, expect=200)


async def count(shop: Shop, table: str) -> int:
    async with transaction(shop.sessions) as session:
        query = text(f"SELECT count(*) FROM {table} WHERE program_id = :id")  # noqa: S608
        return int((await session.execute(query, {"id": shop.program.id})).scalar_one())


async def raw(shop: Shop, body: Any, headers: dict[str, str]) -> httpx.Response:
    sent = {"Authorization": f"Bearer {shop.key}", **headers}
    return await shop.client.post("/v1/orders", json=body, headers=sent)


def lines(*amounts: int, currency: str = "EUR") -> list[Json]:
    return [{"sku": "shirt", "total": {"amount": amount, "currency": currency}} for amount in amounts]


async def pay(shop: Shop, order: Json, body: Any = None, *, key: str | None = None, expect: int = 201) -> Json:
    reply = await shop.send("POST", f"/v1/orders/{order['id']}/payments", body or {}, key=key, expect=expect)
    return dict(reply.json())


async def suspend(shop: Shop, member: Json, what: str) -> None:
    body = {"status": "suspended", "suspends": what, "reason": "review"}
    await shop.post(f"/v1/members/{member['id']}/status-changes", body)


# Once, whatever is repeated


async def test_an_order_without_a_key_is_refused(shop: Shop) -> None:
    before = await shop.digest()
    reply = await raw(shop, shop.order_body(), {})
    assert (reply.status_code, reply.json()["code"]) == (400, "idempotency_key_missing")
    assert await shop.digest() == before


async def test_a_request_refused_before_its_handler_gives_its_connection_back(settings: Settings) -> None:
    application = create_app(settings.model_copy(update={"pool_size": 2, "pool_timeout_ms": 1_000}))
    async with running(application), connect(application) as client:
        shop = await open_shop(client, application)
        pool = application.state.sessions.kw["bind"].pool
        token = await shop.token((await shop.enrol())["id"])
        keyless = await raw(shop, shop.order_body(), {})
        assert (keyless.status_code, pool.checkedout()) == (400, 0)
        scopeless = await shop.send("POST", "/v1/orders", shop.order_body(), bearer=token)
        assert (scopeless.status_code, pool.checkedout()) == (403, 0)


@pytest.mark.parametrize("key", ["", '""', "with space", "k" * 256, "tab\there"])
async def test_a_key_that_is_none_is_refused(shop: Shop, key: str) -> None:
    before = await shop.digest()
    reply = await raw(shop, shop.order_body(), {"Idempotency-Key": key})
    assert (reply.status_code, reply.json()["code"]) == (400, "idempotency_key_invalid")
    assert await shop.digest() == before


async def test_the_same_request_again_hears_the_same_and_does_nothing(shop: Shop) -> None:
    member = await shop.enrol()
    body = shop.order_body(99, customer_id=member["customer_id"])
    first = await shop.send("POST", "/v1/orders", body, key="once", expect=201)
    before = await shop.digest()
    again = await shop.send("POST", "/v1/orders", body, key="once", expect=201)
    assert again.content == first.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert await shop.digest() == before


async def test_field_order_and_spacing_are_no_difference(shop: Shop) -> None:
    body = shop.order_body(99)
    await shop.send("POST", "/v1/orders", body, key="once", expect=201)
    again = await shop.send("POST", "/v1/orders", dict(reversed(body.items())), key="once", expect=201)
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_quoted_key_equals_the_bare_one(shop: Shop) -> None:
    body = shop.order_body()
    first = await raw(shop, body, {"Idempotency-Key": "once"})
    again = await raw(shop, body, {"Idempotency-Key": '"once"'})
    assert (first.status_code, "idempotency-replayed" in first.headers) == (201, False)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")


async def test_a_key_cannot_come_back_with_another_request(shop: Shop) -> None:
    body = shop.order_body(10)
    await shop.send("POST", "/v1/orders", body, key="once", expect=201)
    other = {**body, "external_id": "other"}
    await shop.refuses("POST", "/v1/orders", other, status=422, code="idempotency_key_reused", key="once")


async def test_a_key_belongs_to_its_operation_and_path(shop: Shop) -> None:
    placed = [await shop.order(10, status="placed") for _ in range(2)]
    await shop.send("POST", "/v1/orders", shop.order_body(10), key="once", expect=201)
    await pay(shop, placed[0], key="once")
    path = f"/v1/orders/{placed[1]['id']}/payments"
    await shop.refuses("POST", path, {}, status=422, code="idempotency_key_reused", key="once")


async def test_the_same_key_in_another_program_is_another_request(shop: Shop, other_shop: Shop) -> None:
    body = shop.order_body(10)
    first = await shop.send("POST", "/v1/orders", body, key="once", expect=201)
    second = await other_shop.send("POST", "/v1/orders", body, key="once", expect=201)
    assert "idempotency-replayed" not in second.headers
    assert second.json()["id"] != first.json()["id"]


async def test_a_refusal_stores_nothing_and_the_same_key_then_succeeds(shop: Shop) -> None:
    body = shop.order_body(10, placed_at="2026-01-01T13:00:00Z", external_customer_id="new")
    await shop.refuses("POST", "/v1/orders", body, status=409, code="placed_out_of_time", key="once")
    await advance(shop, "2026-01-01T13:00:00Z")
    reply = await shop.send("POST", "/v1/orders", body, key="once", expect=201)
    assert "idempotency-replayed" not in reply.headers


async def test_an_order_under_a_new_key_is_the_same_order_and_pays_nothing_more(shop: Shop) -> None:
    member = await shop.enrol()
    body = shop.order_body(99, customer_id=member["customer_id"])
    first = await shop.send("POST", "/v1/orders", body, expect=201)
    second = await shop.send("POST", "/v1/orders", body, key="second", expect=200)
    assert second.json() == first.json()
    again = await shop.send("POST", "/v1/orders", body, key="second", expect=200)
    assert (again.content, again.headers["idempotency-replayed"]) == (second.content, "true")
    assert (await shop.wallet(member["id"]))["balance"] == 99
    await shop.books_hold()


async def test_an_order_named_by_our_customer_id_equals_one_by_theirs(shop: Shop) -> None:
    member = await shop.enrol(external_id="ann")
    body = shop.order_body(99)
    await shop.send("POST", "/v1/orders", {**body, "external_customer_id": "ann"}, expect=201)
    await shop.send("POST", "/v1/orders", {**body, "customer_id": member["customer_id"]}, expect=200)
    assert (await shop.wallet(member["id"]))["balance"] == 99


async def test_an_external_id_cannot_come_back_with_other_content(shop: Shop) -> None:
    member = await shop.enrol(external_id="ann")
    body = {**shop.order_body(99, external_customer_id="ann"), "channel": "web"}
    first = await shop.post("/v1/orders", body)
    changes: list[Json] = [
        {"lines": lines(9901)},
        {"lines": lines(9900, 0)},
        {"lines": [{**body["lines"][0], "sku": "hat"}]},
        {"lines": [{**body["lines"][0], "quantity": 2}]},
        {"lines": [{**body["lines"][0], "category": "top"}]},
        {"channel": "store"},
        {"channel": None},
        {"status": "placed"},
        {"placed_at": "2026-01-01T11:59:59Z"},
        {"external_customer_id": "bob"},
        {"external_customer_id": None},
        {"external_customer_id": None, "email": "ann@example.com"},
        {"currency": "JPY", "lines": lines(9900, currency="JPY")},
    ]
    for changed in changes:
        problem = await shop.refuses("POST", "/v1/orders", {**body, **changed}, status=409, code="order_differs")
        assert problem["data"] == {"order_id": first["id"]}
    assert (await shop.wallet(member["id"]))["balance"] == 99


async def test_an_order_that_is_known_needs_no_second_look_at_its_time(shop: Shop) -> None:
    body = shop.order_body(10, placed_at="2026-01-01T12:00:00Z")
    first = await shop.send("POST", "/v1/orders", body, expect=201)
    await advance(shop, "2026-03-01T12:00:00Z")
    assert (await shop.send("POST", "/v1/orders", body, expect=200)).json()["id"] == first.json()["id"]


# Placed, then paid


async def test_a_placed_order_earns_pending_points_that_its_payment_activates(shop: Shop) -> None:
    member = await shop.enrol()
    order = await shop.order(99, customer_id=member["customer_id"], status="placed")
    assert (order["status"], order["paid_at"], order["points_earned"]) == ("placed", None, 99)
    assert [(entry["kind"], entry["to_account"]) for entry in order["entries"]] == [("earn", "pending")]
    wallet = await shop.wallet(member["id"])
    assert (wallet["pending"], wallet["available"], wallet["spendable"], wallet["balance"]) == (99, 0, 0, 99)
    reward = await shop.reward(cost=60)
    body = {"member_id": member["id"], "reward_id": reward["id"]}
    await shop.refuses("POST", "/v1/redemptions", body, status=409, code="not_enough_points")
    await shop.books_hold()

    paid = await pay(shop, order)
    assert (paid["status"], paid["paid_at"], paid["points_earned"]) == ("paid", "2026-01-01T12:00:00Z", 99)
    assert [entry["kind"] for entry in paid["entries"]] == ["earn"]
    entries = (await shop.get(f"/v1/orders/{order['id']}"))["entries"]
    assert [(entry["kind"], entry["to_account"], entry["balance_after"]) for entry in entries] == [
        ("earn", "pending", 99),
        ("activate", "available", 99),
    ]
    wallet = await shop.wallet(member["id"])
    assert (wallet["pending"], wallet["available"], wallet["spendable"], wallet["version"]) == (0, 99, 99, 2)
    assert (await shop.post("/v1/redemptions", body))["balance_after"] == 39
    await shop.books_hold()


async def test_a_repeated_order_hears_its_first_reply_even_after_payment(shop: Shop) -> None:
    advocate = await shop.enrol()
    friend = await shop.enrol(referral_code=advocate["referral_code"])
    body = shop.order_body(99, customer_id=friend["customer_id"], status="placed")
    first = await shop.send("POST", "/v1/orders", body, key="once", expect=201)
    paid = await pay(shop, first.json(), key="paid")
    again = await shop.send("POST", "/v1/orders", body, key="once", expect=201)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert await pay(shop, first.json(), key="paid") == paid
    now = await shop.get(f"/v1/orders/{first.json()['id']}")
    assert {**now, "entries": now["entries"][:1]} == paid


async def test_a_payment_is_once(shop: Shop) -> None:
    order = await shop.order(99, customer_id=(await shop.enrol())["customer_id"], status="placed")
    await pay(shop, order)
    path = f"/v1/orders/{order['id']}/payments"
    await shop.refuses("POST", path, {}, status=409, code="order_already_paid")
    whole = await shop.order(10)
    await shop.refuses("POST", f"/v1/orders/{whole['id']}/payments", {}, status=409, code="order_already_paid")


async def test_a_payment_cannot_precede_its_order_or_lie_in_the_future(shop: Shop) -> None:
    order = await shop.order(99, status="placed", placed_at="2026-01-01T11:00:00Z")
    path = f"/v1/orders/{order['id']}/payments"
    early, late = {"paid_at": "2026-01-01T10:59:59Z"}, {"paid_at": "2026-01-01T12:00:01Z"}
    await shop.refuses("POST", path, early, status=409, code="paid_before_placed")
    await shop.refuses("POST", path, late, status=409, code="placed_out_of_time")
    assert (await pay(shop, order, {"paid_at": "2026-01-01T11:00:00Z"}))["paid_at"] == "2026-01-01T11:00:00Z"


async def test_an_order_of_another_program_cannot_be_paid(shop: Shop, other_shop: Shop) -> None:
    order = await other_shop.order(99, status="placed")
    for order_id in (order["id"], "ord_x", order["id"].replace("ord_", "mem_")):
        await shop.refuses("POST", f"/v1/orders/{order_id}/payments", {}, status=404, code="order_not_found")


async def test_an_unpaid_order_completes_no_referral_but_its_payment_does(shop: Shop) -> None:
    advocate = await shop.enrol()
    friend = await shop.enrol(referral_code=advocate["referral_code"])
    order = await shop.order(40, customer_id=friend["customer_id"], status="placed")
    assert order["referral"] is None
    assert (await shop.wallet(advocate["id"]))["balance"] == 0
    paid = await pay(shop, order)
    assert paid["referral"] == {"referral_id": friend["attribution"]["referral_id"], "referee_points": 25}
    assert (await shop.wallet(advocate["id"]))["balance"] == 50
    assert (await shop.wallet(friend["id"]))["balance"] == 65
    await shop.books_hold()


async def test_the_first_order_to_be_paid_completes_the_referral_and_the_other_does_not(shop: Shop) -> None:
    advocate = await shop.enrol()
    friend = await shop.enrol(referral_code=advocate["referral_code"])
    waiting = await shop.order(40, customer_id=friend["customer_id"], status="placed")
    second = await shop.order(10, customer_id=friend["customer_id"])
    assert second["referral"] is not None
    assert (await pay(shop, waiting))["referral"] is None
    assert (await shop.wallet(advocate["id"]))["balance"] == 50
    assert (await shop.wallet(friend["id"]))["balance"] == 75


# When it was placed


async def test_a_late_order_is_accepted_to_the_limit_and_says_so(shop: Shop) -> None:
    member = await shop.enrol()
    await advance(shop, "2026-01-08T12:00:00Z")
    order = await shop.order(10, customer_id=member["customer_id"], placed_at="2026-01-01T12:00:00Z")
    assert (order["late"], order["placed_at"], order["recorded_at"], order["points_earned"]) == (
        True,
        "2026-01-01T12:00:00Z",
        "2026-01-08T12:00:00Z",
        10,
    )
    (entry,) = (await shop.get(f"/v1/members/{member['id']}/entries"))["data"]
    assert (entry["occurred_at"], entry["recorded_at"]) == ("2026-01-01T12:00:00Z", "2026-01-08T12:00:00Z")
    assert (await shop.order(10))["late"] is False


async def test_an_order_too_old_or_from_the_future_is_refused(shop: Shop) -> None:
    for placed_at in ("2025-12-25T11:59:59.999999Z", "2026-01-01T12:00:00.000001Z"):
        body = shop.order_body(10, placed_at=placed_at, external_customer_id="new")
        problem = await shop.refuses("POST", "/v1/orders", body, status=409, code="placed_out_of_time")
        assert problem["data"] == {"earliest": "2025-12-25T12:00:00Z", "latest": "2026-01-01T12:00:00Z"}


async def test_an_order_before_enrolment_earns_nothing(shop: Shop) -> None:
    await advance(shop, "2026-01-02T12:00:00Z")
    member = await shop.enrol()
    before = await shop.order(10, customer_id=member["customer_id"], placed_at="2026-01-02T11:59:59.999999Z")
    at = await shop.order(10, customer_id=member["customer_id"], placed_at="2026-01-02T12:00:00Z")
    assert (before["points_earned"], before["entries"], at["points_earned"]) == (0, [], 10)
    assert (await shop.wallet(member["id"]))["version"] == 1


async def test_an_order_placed_before_the_friend_joined_completes_no_referral(shop: Shop) -> None:
    """Reported live after the fact; imported in order of time, the same two facts make no referral at all."""
    advocate = await shop.enrol()
    await advance(shop, "2026-01-02T12:00:00Z")
    friend = await shop.enrol(referral_code=advocate["referral_code"])
    order = await shop.order(40, customer_id=friend["customer_id"], placed_at="2026-01-02T11:00:00Z")
    assert order["referral"] is None
    assert (await shop.wallet(advocate["id"]))["balance"] == 0


async def test_an_order_placed_before_the_friend_joined_and_paid_after_completes_no_referral(shop: Shop) -> None:
    advocate = await shop.enrol()
    order = await shop.order(40, external_customer_id="friend", status="placed")
    await advance(shop, "2026-01-02T12:00:00Z")
    await shop.enrol(external_id="friend", referral_code=advocate["referral_code"])
    assert (await pay(shop, order, {"paid_at": "2026-01-01T12:00:00Z"}))["referral"] is None
    assert (await shop.wallet(advocate["id"]))["balance"] == 0


# Who, and in what


async def test_a_customer_of_theirs_is_created_once(shop: Shop) -> None:
    orders = [await shop.order(10, external_customer_id="new") for _ in range(3)]
    assert len({order["customer_id"] for order in orders}) == 1
    assert await count(shop, "customers") == 1
    member = await shop.enrol(external_id="new")
    assert member["customer_id"] == orders[0]["customer_id"]
    assert (await shop.wallet(member["id"]))["balance"] == 0


async def test_an_order_of_nobody_known_is_recorded_and_earns_nothing(shop: Shop) -> None:
    order = await shop.order(10, email="Guest@Example.com")
    assert (order["customer_id"], order["points_earned"], order["referral"]) == (None, 0, None)
    async with transaction(shop.sessions) as session:
        query = text("SELECT email_digest, orders::text FROM orders WHERE program_id = :id")
        digest, row = (await session.execute(query, {"id": shop.program.id})).one()
    assert len(digest) == 32
    assert "guest" not in row.lower()


async def test_an_unknown_customer_is_refused(shop: Shop, other_shop: Shop) -> None:
    foreign = (await other_shop.enrol())["customer_id"]
    for customer_id in (foreign, "cus_00000000000000000000000000"):
        body = shop.order_body(10, customer_id=customer_id)
        await shop.refuses("POST", "/v1/orders", body, status=404, code="customer_not_found")


@pytest.mark.parametrize(("suspends", "points"), [("earn", 0), ("both", 0), ("burn", 10)])
async def test_a_member_suspended_from_earning_earns_nothing(shop: Shop, suspends: str, points: int) -> None:
    member = await shop.enrol()
    await suspend(shop, member, suspends)
    order = await shop.order(10, customer_id=member["customer_id"])
    assert order["points_earned"] == points
    assert (await shop.wallet(member["id"]))["balance"] == points


async def test_a_side_of_a_referral_that_may_not_earn_gets_nothing_and_the_other_its_own(shop: Shop) -> None:
    advocate = await shop.enrol()
    friend = await shop.enrol(referral_code=advocate["referral_code"])
    await suspend(shop, advocate, "earn")
    order = await shop.order(40, customer_id=friend["customer_id"])
    assert order["referral"] == {"referral_id": friend["attribution"]["referral_id"], "referee_points": 25}
    assert (await shop.wallet(advocate["id"]))["balance"] == 0
    assert (await shop.wallet(friend["id"]))["balance"] == 65
    await shop.books_hold()


async def test_a_closed_member_earns_nothing(shop: Shop) -> None:
    member = await shop.enrol()
    await shop.post(f"/v1/members/{member['id']}/status-changes", {"status": "closed", "reason": "left"})
    assert (await shop.order(10, customer_id=member["customer_id"]))["points_earned"] == 0


async def test_a_currency_that_is_not_accepted_is_refused(shop: Shop) -> None:
    body = {**shop.order_body(), "currency": "USD", "lines": lines(100, currency="USD")}
    problem = await shop.refuses("POST", "/v1/orders", body, status=409, code="currency_not_accepted")
    assert problem["data"] == {"currency": "USD", "accepted": ["EUR", "JPY"]}


async def test_yen_have_no_decimals(shop: Shop) -> None:
    member = await shop.enrol()
    terms = {"kind": "points_per_amount", "points": 1, "step_minor": {"JPY": 100}}
    await shop.post("/v1/earning-rules", {"name": "yen", "terms": terms})
    body = shop.order_body(customer_id=member["customer_id"])
    order = await shop.post("/v1/orders", {**body, "currency": "JPY", "lines": lines(1999, currency="JPY")})
    assert (order["total"], order["points_earned"]) == ({"amount": 1999, "currency": "JPY"}, 19)


async def test_an_accepted_currency_without_a_rule_earns_nothing(shop: Shop) -> None:
    member = await shop.enrol()
    body = shop.order_body(customer_id=member["customer_id"])
    order = await shop.post("/v1/orders", {**body, "currency": "JPY", "lines": lines(1999, currency="JPY")})
    assert (order["points_earned"], order["awards"]) == (0, [])


async def test_every_fault_of_a_body_is_named(shop: Shop) -> None:
    wrong = [*lines(1), *lines(1, currency="JPY")]
    body = {**shop.order_body(), "lines": wrong, "customer_id": "cus_" + "0" * 26, "external_customer_id": "ann"}
    problem = await shop.refuses("POST", "/v1/orders", body, status=400, code="validation_failed")
    assert {(fault["pointer"], fault["code"]) for fault in problem["errors"]} == {
        ("/external_customer_id", "customer"),
        ("/lines/1/total/currency", "currency"),
    }


async def test_a_total_is_bounded_as_a_whole(shop: Shop) -> None:
    member = await shop.enrol()
    body = {**shop.order_body(customer_id=member["customer_id"]), "lines": lines(2**53 - 1, 1)}
    problem = await shop.refuses("POST", "/v1/orders", body, status=400, code="validation_failed")
    assert [fault["pointer"] for fault in problem["errors"]] == ["/lines"]
    order = await shop.post("/v1/orders", {**body, "lines": lines(2**53 - 2, 1)})
    assert (order["total"]["amount"], order["points_earned"]) == (2**53 - 1, 90_071_992_547_409)


async def test_a_balance_out_of_bounds_refuses_the_order_whole(shop: Shop) -> None:
    member = await shop.enrol()
    terms = {"kind": "points_per_amount", "points": 2**53 - 1, "step_minor": {"EUR": 1}}
    await shop.post("/v1/earning-rules", {"name": "too much", "terms": terms})
    body = shop.order_body(10, customer_id=member["customer_id"])
    await shop.refuses("POST", "/v1/orders", body, status=409, code="balance_out_of_bounds")


async def test_five_hundred_lines_are_an_order_and_one_more_is_not(shop: Shop) -> None:
    member = await shop.enrol()
    body = shop.order_body(customer_id=member["customer_id"])
    order = await shop.post("/v1/orders", {**body, "lines": lines(*range(1, 501))})
    (award,) = order["awards"]
    assert (award["base"]["amount"], award["points"], sum(award["line_points"])) == (125_250, 1_252, 1_252)
    assert len(order["lines"]) == len(award["line_points"]) == 500
    assert [line["total"]["amount"] for line in order["lines"]] == list(range(1, 501))
    for wrong in ([], lines(*range(501))):
        other = {**body, "external_id": "other", "lines": wrong}
        await shop.refuses("POST", "/v1/orders", other, status=400, code="validation_failed")
