"""Holds made and captured at the same time: each has its own fate, and no point is locked or spent twice."""

import asyncio
from uuid import uuid4

from tests.shop import Json, Shop


async def rich(shop: Shop, euros: int) -> Json:
    member = await shop.enrol()
    await shop.order(euros, customer_id=member["customer_id"])
    return member


async def all_at_once(shop: Shop, path: str, asked: list[tuple[Json, str]]) -> list[tuple[int, str | None]]:
    replies = await asyncio.gather(*(shop.send("POST", path, body, key=key) for body, key in asked))
    return [(reply.status_code, reply.json().get("code")) for reply in replies]


def hold(member: Json, points: int, **more: Json | str | int) -> Json:
    return {"member_id": member["id"], "points": points, **more}


async def test_each_hold_of_a_group_has_its_own_fate(shop: Shop) -> None:
    ann, bob = await rich(shop, 100), await rich(shop, 10)
    key = uuid4().hex
    asked: list[tuple[Json, str, int, str | None]] = [
        (hold(ann, 30), uuid4().hex, 201, None),
        (hold(ann, 30, expires_in_seconds=10), uuid4().hex, 201, None),
        (hold(bob, 4), key, 201, None),
        (hold(bob, 4), key, 201, None),
        (hold(bob, 11), uuid4().hex, 409, "not_enough_points"),
        (hold(ann, 1, unit="stars"), uuid4().hex, 409, "not_enough_points"),
        (hold({"id": "mem_00000000000000000000000000"}, 1), uuid4().hex, 404, "member_not_found"),
        (hold(ann, 0), uuid4().hex, 400, "validation_failed"),
    ]
    told = await all_at_once(shop, "/v1/holds", [(body, with_) for body, with_, *_ in asked])
    assert told == [(status, code) for *_, status, code in asked]
    wallets = [await shop.wallet(own["id"]) for own in (ann, bob)]
    assert [(own["available"], own["held"]) for own in wallets] == [(40, 60), (6, 4)]
    await shop.books_hold()


async def test_a_group_never_locks_more_than_there_is(shop: Shop) -> None:
    member = await rich(shop, 100)
    told = await all_at_once(shop, "/v1/holds", [(hold(member, 30), uuid4().hex) for _ in range(12)])
    assert (told.count((201, None)), told.count((409, "not_enough_points"))) == (3, 9)
    wallet = await shop.wallet(member["id"])
    assert (wallet["available"], wallet["held"]) == (10, 90)
    await shop.books_hold()


async def test_each_capture_of_a_group_has_its_own_fate(shop: Shop) -> None:
    member = await rich(shop, 100)
    whole, part, twice, much, ended = [await shop.post("/v1/holds", hold(member, 10)) for _ in range(5)]
    await shop.post(f"/v1/holds/{ended['id']}/release", {})
    asked: list[tuple[Json, Json, int, str | None]] = [
        (whole, {}, 201, None),
        (part, {"points": 4}, 201, None),
        (much, {"points": 11}, 409, "capture_exceeds_hold"),
        (ended, {}, 409, "hold_ended"),
        ({"id": "hld_00000000000000000000000000"}, {}, 404, "hold_not_found"),
        ({"id": "nonsense"}, {}, 404, "hold_not_found"),
    ]
    replies = await asyncio.gather(
        *(shop.send("POST", f"/v1/holds/{own['id']}/capture", body) for own, body, *_ in asked),
        *(shop.send("POST", f"/v1/holds/{twice['id']}/capture", {}) for _ in range(2)),
    )
    told = [(reply.status_code, reply.json().get("code")) for reply in replies]
    assert told[:-2] == [(status, code) for *_, status, code in asked]
    # One of the two captures it; the other, under another key, finds done what it asks for.
    assert sorted(told[-2:]) == [(200, None), (201, None)]
    wallet = await shop.wallet(member["id"])
    assert (wallet["available"], wallet["held"]) == (100 - 10 - 4 - 10 - 10, 10)
    await shop.books_hold()
