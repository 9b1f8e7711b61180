"""Enrolments that wait at the same time: each has its own fate, and hears what it would have heard alone."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from tests.activities.test_signing_up import welcome
from tests.shop import Json, Shop
from tests.test_express import out_of_the_ordinary

from loyalty import worker


async def all_at_once(shop: Shop, asked: list[tuple[Json, str]]) -> list[tuple[int, Json]]:
    replies = await asyncio.gather(*(shop.send("POST", "/v1/members", body, key=key) for body, key in asked))
    return [(reply.status_code, reply.json()) for reply in replies]


async def test_each_of_a_group_has_its_own_fate(shop: Shop) -> None:
    advocate, member = await shop.enrol(), await shop.enrol(email="known@example.com")
    visitor = await shop.order(10, customer_id=None, external_customer_id="visitor")
    code, key = advocate["referral_code"], uuid4().hex
    asked: list[tuple[Json, str, int, str | None]] = [
        ({"external_id": "ann", "referral_code": code}, uuid4().hex, 201, None),
        ({"external_id": "bob", "email": "bob@example.com", "given_name": "Bob"}, key, 201, None),
        ({"external_id": "bob", "email": "bob@example.com", "given_name": "Bob"}, key, 201, None),
        ({"external_id": "cy", "referral_code": code.lower()}, uuid4().hex, 201, None),
        ({"external_id": "visitor", "referral_code": code}, uuid4().hex, 201, None),
        ({"email": "known@example.com"}, uuid4().hex, 409, "already_a_member"),
        ({"external_id": "di", "referral_code": "ABCD"}, uuid4().hex, 404, "referral_code_unknown"),
        ({"external_id": "di", "referral_code": code[:-1] + "?"}, uuid4().hex, 400, "referral_code_mistyped"),
        ({"external_id": "ed", "email": "nonsense"}, uuid4().hex, 400, "validation_failed"),
        ({}, uuid4().hex, 400, "validation_failed"),
    ]
    told = await all_at_once(shop, [(body, with_) for body, with_, *_ in asked])
    assert [(status, reply.get("code")) for status, reply in told] == [(status, said) for *_, status, said in asked]
    ann, bob, again, cy, known = [reply for _, reply in told[:5]]
    assert bob == again
    assert known["customer_id"] == visitor["customer_id"]
    assert [own["attribution"]["advocate_id"] for own in (ann, bob, cy, known)] == [
        advocate["id"],
        None,
        advocate["id"],
        None,
    ]
    assert known["attribution"]["touches"][0]["reason"] == "not_a_new_customer"
    assert (await shop.get(f"/v1/members/{bob['id']}"))["given_name"] == "Bob"
    assert len({own["referral_code"] for own in (advocate, member, ann, bob, cy, known)}) == 6
    await shop.books_hold()


async def test_of_those_who_name_the_same_only_one_joins(shop: Shop) -> None:
    told = await all_at_once(shop, [({"external_id": "ann", "card": f"c{n}"}, uuid4().hex) for n in range(8)])
    refused = [reply["code"] for status, reply in told if status != 201]
    assert len(refused) == 7
    assert set(refused) <= {"already_a_member", "identifier_in_use"}
    assert len((await shop.get("/v1/members"))["data"]) == 1


async def test_a_group_signs_up_within_the_limits_of_what_that_earns(shop: Shop) -> None:
    await welcome(shop, limits={"budget": 250})
    told = await all_at_once(shop, [({"external_id": f"m{n}"}, uuid4().hex) for n in range(5)])
    assert sorted(reply["points_earned"] for _, reply in told) == [0, 0, 50, 100, 100]
    for _, reply in told:
        assert (await shop.wallet(reply["id"]))["available"] == reply["points_earned"]
    await shop.books_hold()


@pytest.mark.parametrize("earns", [True, False])
async def test_what_is_written_together_is_what_is_written_alone(shop: Shop, other_shop: Shop, *, earns: bool) -> None:
    """In one program on the short way, in another on the long one."""
    shown = []
    for place, headers in (
        (shop, {"Authorization": f"Bearer {shop.key}"}),
        (other_shop, out_of_the_ordinary(other_shop)),
    ):
        if earns:
            await welcome(place)
        advocate = await place.enrol()
        details: dict[str, Any] = {"given_name": "Ann", "birth_on": "1990-02-03", "attributes": {"size": "m"}}
        body = {"external_id": "ann", "referral_code": advocate["referral_code"], **details, "metadata": {"a": "b"}}
        reply = await place.client.post("/v1/members", json=body, headers=headers | {"Idempotency-Key": "once"})
        member = reply.json()
        await worker.relay_all(place.sessions)
        events = [event["type"] for event in (await place.get("/v1/events"))["data"]]
        activities = (await place.get(f"/v1/activities?member_id={member['id']}"))["data"]
        shown.append(
            {
                "member": _without_ids(await place.get(f"/v1/members/{member['id']}")),
                "reply": (member["points_earned"], member["attribution"]["touches"]),
                "events": sorted(events),
                "activities": [(own["type"], own["points_earned"]) for own in activities],
                "wallet": await place.wallet(member["id"]),
            }
        )
    assert shown[0] == shown[1]


def _without_ids(shown: Json) -> Json:
    return {name: value for name, value in shown.items() if name not in {"id", "customer_id", "enrolled_at"}}
