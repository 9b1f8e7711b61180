"""Points locked for a time, through the doors."""

import asyncio

import pytest
from tests.shop import OPENS_AT, Json, Shop

from loyalty.core.clock import rfc3339


async def rich(shop: Shop, euros: int = 100) -> Json:
    member = await shop.enrol()
    await shop.order(euros, customer_id=member["customer_id"])
    return member


async def hold(shop: Shop, member: Json, points: int = 60, **details: object) -> Json:
    return await shop.post("/v1/holds", {"member_id": member["id"], "points": points, **details})


async def balances(shop: Shop, member: Json) -> tuple[int, int, int]:
    wallet = await shop.wallet(member["id"])
    return wallet["available"], wallet["held"], wallet["balance"]


async def advance(shop: Shop, to: str) -> None:
    await shop.post("/v1/test-clock/advance", {"to": to}, expect=200)


async def test_a_hold_locks_points_without_taking_them(shop: Shop) -> None:
    member = await rich(shop)
    held = await hold(shop, member, metadata={"cart": "7"})
    assert held == {
        "id": held["id"],
        "member_id": member["id"],
        "unit": "points",
        "points": 60,
        "captured": 0,
        "state": "live",
        "created_at": rfc3339(OPENS_AT),
        "expires_at": "2026-01-01T12:15:00Z",
        "ended_at": None,
        "metadata": {"cart": "7"},
    }
    assert await balances(shop, member) == (40, 60, 100)
    assert await shop.get(f"/v1/holds/{held['id']}") == held
    await shop.books_hold()


async def test_held_points_cannot_be_held_or_spent_again(shop: Shop) -> None:
    member = await rich(shop)
    await hold(shop, member)
    body = {"member_id": member["id"], "points": 41}
    problem = await shop.refuses("POST", "/v1/holds", body, status=409, code="not_enough_points")
    assert problem["data"] == {"spendable": 40, "requested": 41}
    reward = await shop.reward(cost=41)
    body = {"member_id": member["id"], "reward_id": reward["id"]}
    await shop.refuses("POST", "/v1/redemptions", body, status=409, code="not_enough_points")


@pytest.mark.parametrize(("points", "left"), [(None, (40, 0, 40)), (60, (40, 0, 40)), (25, (75, 0, 75))])
async def test_a_capture_spends_what_it_names_and_frees_the_rest(
    shop: Shop, points: int | None, left: tuple[int, int, int]
) -> None:
    member = await rich(shop)
    held = await hold(shop, member)
    body = {} if points is None else {"points": points}
    captured = await shop.post(f"/v1/holds/{held['id']}/capture", body)
    assert (captured["state"], captured["captured"]) == ("captured", points or 60)
    assert await balances(shop, member) == left
    await shop.books_hold()


async def test_a_capture_happens_once_under_whatever_key(shop: Shop) -> None:
    member = await rich(shop)
    held = await hold(shop, member)
    path = f"/v1/holds/{held['id']}/capture"
    first = await shop.send("POST", path, {"points": 25}, key="one", expect=201)
    again = await shop.send("POST", path, {"points": 25}, key="one", expect=201)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    other = await shop.send("POST", path, {"points": 25}, key="two", expect=200)
    assert other.json() == first.json()
    problem = await shop.refuses("POST", path, {"points": 26}, status=409, code="hold_ended")
    assert problem["data"] == {"ended_by": "captured"}
    await shop.refuses("POST", f"/v1/holds/{held['id']}/release", status=409, code="hold_ended")
    assert await balances(shop, member) == (75, 0, 75)


async def test_a_capture_takes_no_more_than_is_held(shop: Shop) -> None:
    member = await rich(shop)
    held = await hold(shop, member)
    problem = await shop.refuses(
        "POST", f"/v1/holds/{held['id']}/capture", {"points": 61}, status=409, code="capture_exceeds_hold"
    )
    assert problem["data"] == {"held": 60, "requested": 61}


async def test_a_released_hold_gives_everything_back_and_cannot_be_captured(shop: Shop) -> None:
    member = await rich(shop)
    held = await hold(shop, member)
    released = await shop.post(f"/v1/holds/{held['id']}/release")
    assert (released["state"], released["captured"]) == ("released", 0)
    assert await balances(shop, member) == (100, 0, 100)
    assert (await shop.post(f"/v1/holds/{held['id']}/release", expect=200))["state"] == "released"
    await shop.refuses("POST", f"/v1/holds/{held['id']}/capture", {}, status=409, code="hold_ended")
    await shop.books_hold()


async def test_a_hold_nobody_comes_back_for_gives_its_points_back_by_itself(shop: Shop) -> None:
    member = await rich(shop)
    held = await hold(shop, member, expires_in_seconds=60)
    await advance(shop, "2026-01-01T12:00:59Z")
    assert await balances(shop, member) == (40, 60, 100)
    await advance(shop, "2026-01-01T12:01:00Z")
    assert await balances(shop, member) == (100, 0, 100)
    expired = await shop.get(f"/v1/holds/{held['id']}")
    assert (expired["state"], expired["ended_at"]) == ("expired", "2026-01-01T12:01:00Z")
    await shop.refuses("POST", f"/v1/holds/{held['id']}/capture", {}, status=409, code="hold_ended")
    await shop.books_hold()


async def test_held_points_outlive_their_lot_until_the_hold_ends(shop: Shop) -> None:
    """A lot that expires at midnight, and a hold over midnight: a capture works, what is left over is gone."""
    member = await shop.enrol()
    given = {"member_id": member["id"], "points": 100, "reason": "short", "expires_at": "2026-01-01T23:00:00Z"}
    await shop.post("/v1/adjustments", given)
    one = await hold(shop, member, 30, expires_in_seconds=86_400)
    two = await hold(shop, member, 20, expires_in_seconds=86_400)
    await advance(shop, "2026-01-02T08:00:00Z")
    assert await balances(shop, member) == (0, 50, 50)
    await shop.post(f"/v1/holds/{one['id']}/capture", {"points": 10})
    assert await balances(shop, member) == (0, 20, 20)
    await shop.post(f"/v1/holds/{two['id']}/capture", {})
    assert await balances(shop, member) == (0, 0, 0)
    await shop.books_hold()


async def test_of_many_holds_at_once_no_more_are_given_than_there_are_points(shop: Shop) -> None:
    member = await rich(shop)
    body = {"member_id": member["id"], "points": 30}
    replies = await asyncio.gather(*(shop.send("POST", "/v1/holds", body) for _ in range(20)))
    assert sorted(reply.status_code for reply in replies) == [201] * 3 + [409] * 17
    assert await balances(shop, member) == (10, 90, 100)
    await shop.books_hold()


async def test_of_many_captures_and_releases_at_once_one_wins(shop: Shop) -> None:
    member = await rich(shop)
    held = await hold(shop, member)
    calls = [("capture", {"points": 60}), ("release", None)] * 10
    replies = await asyncio.gather(*(shop.send("POST", f"/v1/holds/{held['id']}/{what}", body) for what, body in calls))
    statuses: dict[str, list[int]] = {what: [] for what, _ in calls}
    for (what, _), reply in zip(calls, replies, strict=True):
        statuses[what].append(reply.status_code)
    won = "capture" if 201 in statuses["capture"] else "release"
    lost = {"capture": "release", "release": "capture"}[won]
    assert sorted(statuses[won]) == [200] * 9 + [201]
    assert statuses[lost] == [409] * 10
    assert (await shop.wallet(member["id"]))["balance"] == (40 if won == "capture" else 100)
    await shop.books_hold()


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"points": 0}, "/points"),
        ({"points": 1.5}, "/points"),
        ({"expires_in_seconds": 9}, "/expires_in_seconds"),
        ({"expires_in_seconds": 604_801}, "/expires_in_seconds"),
        ({"member_id": "cus_00000000000000000000000000"}, "/member_id"),
    ],
)
async def test_a_hold_of_nonsense_is_refused(shop: Shop, wrong: Json, pointer: str) -> None:
    member = await rich(shop)
    body = {"member_id": member["id"], "points": 5, **wrong}
    problem = await shop.refuses("POST", "/v1/holds", body, status=400, code="validation_failed")
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]


async def test_who_may_not_spend_may_not_hold(shop: Shop) -> None:
    member = await rich(shop)
    change = {"status": "suspended", "suspends": "burn", "reason": "checked"}
    await shop.post(f"/v1/members/{member['id']}/status-changes", change)
    body = {"member_id": member["id"], "points": 5}
    await shop.refuses("POST", "/v1/holds", body, status=409, code="member_may_not_burn")


async def test_a_trial_of_a_hold_locks_nothing(shop: Shop) -> None:
    member = await rich(shop)
    before = await shop.digest()
    body = {"member_id": member["id"], "points": 5}
    assert (await shop.post("/v1/holds?dry_run=true", body, expect=200))["state"] == "live"
    assert await shop.digest() == before
