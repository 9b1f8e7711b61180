"""Signing up: identity, wallet, code and attribution, once."""

from typing import Any

import pytest
from tests.shop import Json, Shop


async def test_a_customer_becomes_a_member_with_an_empty_wallet_and_a_code(shop: Shop) -> None:
    member = await shop.enrol(external_id="ann", email="Ann@Example.com", given_name="Ann")
    assert member["id"].removeprefix("mem_") == member["customer_id"].removeprefix("cus_")
    assert member["enrolled_at"] == "2026-01-01T12:00:00Z"
    assert member["attribution"] == {"referral_id": None, "advocate_id": None, "touches": []}
    assert len(member["referral_code"]) == 10
    assert await shop.wallet(member["id"]) == {
        "unit": "points",
        "balance": 0,
        "pending": 0,
        "available": 0,
        "held": 0,
        "debt": 0,
        "spendable": 0,
        "version": 0,
        "expiring": [],
        "starting": [],
    }
    await shop.books_hold()


async def test_a_repeated_enrolment_hears_its_first_reply(shop: Shop) -> None:
    advocate = await shop.enrol()
    body = {"external_id": "ann", "referral_code": advocate["referral_code"]}
    first = await shop.send("POST", "/v1/members", body, key="once", expect=201)
    await shop.post(f"/v1/members/{first.json()['id']}/referral-codes", {"code": "ANNA"})
    await shop.order(40, customer_id=first.json()["customer_id"])
    before = await shop.digest()
    again = await shop.send("POST", "/v1/members", body, key="once", expect=201)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert await shop.digest() == before


async def test_a_repeated_enrolment_of_a_known_customer_hears_its_first_reply(shop: Shop) -> None:
    order = await shop.order(10, external_customer_id="ann", status="placed")
    first = await shop.send("POST", "/v1/members", {"external_id": "ann"}, key="once", expect=201)
    assert first.json()["customer_id"] == order["customer_id"]
    again = await shop.send("POST", "/v1/members", {"external_id": "ann"}, key="once", expect=201)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")


async def test_a_member_cannot_enrol_again(shop: Shop) -> None:
    await shop.enrol(external_id="ann", email="ann@example.com")
    for body in ({"external_id": "ann"}, {"email": "ANN@example.com"}, {"external_id": "ann", "phone": "+49301234567"}):
        await shop.refuses("POST", "/v1/members", body, status=409, code="already_a_member")


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        ({"external_id": "ann", "email": "bob@example.com"}, ["email", "external_id"]),
        ({"external_id": "guest", "email": "bob@example.com"}, ["email", "external_id"]),
    ],
)
async def test_identifiers_of_two_customers_name_nobody(shop: Shop, body: Json, kinds: list[str]) -> None:
    await shop.enrol(external_id="ann", email="ann@example.com")
    await shop.enrol(external_id="bob", email="bob@example.com")
    await shop.order(10, external_customer_id="guest")
    problem = await shop.refuses("POST", "/v1/members", body, status=409, code="identifier_in_use")
    assert problem["data"] == {"kinds": kinds}


@pytest.mark.parametrize("body", [{}, {"given_name": "Ann"}, {"referral_code": "ANNA"}])
async def test_nobody_is_enrolled_without_an_identifier(shop: Shop, body: dict[str, Any]) -> None:
    problem = await shop.refuses("POST", "/v1/members", body, status=400, code="validation_failed")
    assert [fault["code"] for fault in problem["errors"]] == ["identifier"]


async def test_the_same_identifiers_are_others_in_another_program(shop: Shop, other_shop: Shop) -> None:
    first = await shop.enrol(external_id="ann")
    second = await other_shop.enrol(external_id="ann")
    assert first["id"] != second["id"]


async def test_what_was_bought_before_enrolment_earns_nothing_afterwards(shop: Shop) -> None:
    placed = await shop.order(40, external_customer_id="ann", status="placed")
    await shop.order(40, external_customer_id="ann")
    member = await shop.enrol(external_id="ann")
    await shop.post(f"/v1/orders/{placed['id']}/payments", {})
    assert (await shop.wallet(member["id"]))["version"] == 0
    await shop.books_hold()


async def test_nobody_brings_themselves(shop: Shop) -> None:
    member = await shop.enrol(external_id="ann")
    body = {"external_id": "ann", "referral_code": member["referral_code"]}
    await shop.refuses("POST", "/v1/members", body, status=409, code="already_a_member")
