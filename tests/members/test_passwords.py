"""Members who sign in with a password of their own."""

import asyncio

import pytest
from sqlalchemy import text
from tests.shop import Json, Shop

from loyalty.core.db import transaction

PASSWORD, OTHER = "correct horse battery", "staple, correct horse"


async def member_of(shop: Shop, email: str = "ann@example.com") -> Json:
    member = await shop.enrol(email=email)
    await shop.send("PUT", f"/v1/members/{member['id']}/password", {"password": PASSWORD}, expect=204)
    return member


async def sign_in(shop: Shop, *, password: str = PASSWORD, email: str = "ann@example.com", slug: str = "") -> Json:
    body = {"program": slug or shop.program.slug, "email": email, "password": password}
    reply = await shop.client.post("/v1/member-sessions", json=body)
    return {"status": reply.status_code, **reply.json()}


async def change(shop: Shop, bearer: str, **body: str) -> int:
    return (await shop.send("PUT", "/v1/me/password", body, bearer=bearer)).status_code


async def test_a_member_signs_in_and_acts_for_themselves(shop: Shop) -> None:
    member = await member_of(shop)
    signed_in = await sign_in(shop, email="ANN@example.com")
    assert signed_in["status"] == 201
    assert (await shop.get("/v1/me", bearer=signed_in["token"]))["id"] == member["id"]


async def test_every_way_to_fail_looks_the_same(shop: Shop, other_shop: Shop) -> None:
    await member_of(shop)
    await shop.enrol(email="without@example.com")
    closed = await member_of(shop, "closed@example.com")
    await shop.post(f"/v1/members/{closed['id']}/status-changes", {"status": "closed", "reason": "left"})
    refusals = [
        await sign_in(shop, password=OTHER),
        await sign_in(shop, email="nobody@example.com"),
        await sign_in(shop, email="without@example.com"),
        await sign_in(shop, email="closed@example.com"),
        await sign_in(shop, slug="there-is-none"),
        await sign_in(shop, slug=other_shop.program.slug),
    ]
    for refusal in refusals:
        refusal.pop("request_id")
    assert refusals[0]["code"] == "sign_in_refused"
    assert refusals == [refusals[0]] * len(refusals)


async def test_who_has_a_password_must_know_it_to_change_it(shop: Shop) -> None:
    await member_of(shop)
    token = (await sign_in(shop))["token"]
    for wrong in ({}, {"current_password": OTHER}):
        body = {"password": OTHER, **wrong}
        await shop.refuses("PUT", "/v1/me/password", body, status=403, code="password_wrong", bearer=token)
    assert await change(shop, token, password=OTHER, current_password=PASSWORD) == 204
    assert (await sign_in(shop))["code"] == "sign_in_refused"
    assert (await sign_in(shop, password=OTHER))["status"] == 201


async def test_a_members_first_password_needs_no_other(shop: Shop) -> None:
    member = await shop.enrol(email="ann@example.com")
    assert await change(shop, await shop.token(member["id"]), password=PASSWORD) == 204
    assert (await sign_in(shop))["status"] == 201


@pytest.mark.parametrize("password", ["seven77", "x" * 201, "nul\x00 in it"])
async def test_a_password_has_bounds(shop: Shop, password: str) -> None:
    member = await shop.enrol()
    path = f"/v1/members/{member['id']}/password"
    problem = await shop.refuses("PUT", path, {"password": password}, status=400, code="validation_failed")
    assert [fault["pointer"] for fault in problem["errors"]] == ["/password"]
    assert password not in str(problem)


async def test_a_closed_member_gets_no_password(shop: Shop) -> None:
    member = await shop.enrol()
    await shop.post(f"/v1/members/{member['id']}/status-changes", {"status": "closed", "reason": "left"})
    path = f"/v1/members/{member['id']}/password"
    await shop.refuses("PUT", path, {"password": PASSWORD}, status=409, code="member_closed")


async def test_only_an_argon2id_hash_is_kept(shop: Shop) -> None:
    await member_of(shop)
    async with transaction(shop.sessions) as session:
        query = text("SELECT t::text FROM member_passwords AS t WHERE program_id = :id")
        row = (await session.execute(query, {"id": shop.program.id})).scalar_one()
    assert PASSWORD not in row
    assert "$argon2id$v=19$m=19456,t=2,p=1$" in row


async def test_many_sign_ins_at_once_leave_connections_for_others(shop: Shop) -> None:
    """More wait for Argon2 than the pool has connections; a reader gets one all the same."""
    await member_of(shop)
    signing_in = [asyncio.create_task(sign_in(shop)) for _ in range(30)]
    assert (await shop.get("/v1/program"))["slug"] == shop.program.slug
    waiting = [task for task in signing_in if not task.done()]
    assert {reply["status"] for reply in await asyncio.gather(*signing_in)} == {201}
    assert waiting
