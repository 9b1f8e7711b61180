"""What people change by hand: adjustments, extensions, reinstatements, transfers."""

import asyncio

import pytest
from tests.shop import Json, Shop

ENDS = "2026-03-01T00:00:00Z"


async def give(shop: Shop, member: Json, points: int = 100, **details: object) -> Json:
    return await shop.post(
        "/v1/adjustments", {"member_id": member["id"], "points": points, "reason": "goodwill", **details}
    )


async def advance(shop: Shop, to: str) -> None:
    await shop.post("/v1/test-clock/advance", {"to": to}, expect=200)


async def newest_lot(shop: Shop, member: Json) -> Json:
    return dict((await shop.get(f"/v1/members/{member['id']}/lots"))["data"][0])


async def balance(shop: Shop, member: Json) -> int:
    return int((await shop.wallet(member["id"]))["balance"])


async def test_an_adjustment_says_who_why_and_what_became_of_it(shop: Shop) -> None:
    member = await shop.enrol()
    made = await give(shop, member, 100, external_id="case-1", metadata={"case": "1"})
    assert made["actor"].startswith("key_")
    assert (made["reason"], made["points"], made["kind"]) == ("goodwill", 100, "adjust")
    (entry,) = made["entries"]
    assert (entry["kind"], entry["from_account"], entry["to_account"]) == ("adjust", "adjusted", "available")
    assert entry["source_id"] == made["id"]
    assert await shop.get(f"/v1/adjustments/{made['id']}") == made
    assert (await shop.get(f"/v1/members/{member['id']}/adjustments"))["data"] == [made]
    assert await balance(shop, member) == 100
    await shop.books_hold()


async def test_points_are_taken_by_hand_down_to_nothing_and_no_further(shop: Shop) -> None:
    member = await shop.enrol()
    await give(shop, member, 100)
    await give(shop, member, -100)
    assert await balance(shop, member) == 0
    body = {"member_id": member["id"], "points": -1, "reason": "x"}
    await shop.refuses("POST", "/v1/adjustments", body, status=409, code="not_enough_points")
    await shop.books_hold()


async def test_the_same_adjustment_under_another_key_is_the_same(shop: Shop) -> None:
    member = await shop.enrol()
    body = {"member_id": member["id"], "points": 5, "reason": "r", "external_id": "row-1"}
    first = await shop.send("POST", "/v1/adjustments", body, expect=201)
    assert (await shop.send("POST", "/v1/adjustments", body, expect=200)).json() == first.json()
    await shop.refuses("POST", "/v1/adjustments", {**body, "points": 6}, status=409, code="adjustment_differs")
    assert await balance(shop, member) == 5


async def test_given_points_can_wait_and_expire(shop: Shop) -> None:
    member = await shop.enrol()
    await give(shop, member, 100, activates_at="2026-02-01T00:00:00Z", expires_at=ENDS)
    wallet = await shop.wallet(member["id"])
    assert (wallet["pending"], wallet["available"]) == (100, 0)
    assert wallet["starting"] == [{"at": "2026-02-01T00:00:00Z", "points": 100}]
    await advance(shop, "2026-02-01T00:00:00Z")
    wallet = await shop.wallet(member["id"])
    assert (wallet["pending"], wallet["available"]) == (0, 100)
    assert wallet["expiring"] == [{"at": ENDS, "points": 100}]
    await advance(shop, ENDS)
    assert await balance(shop, member) == 0
    await shop.books_hold()


@pytest.mark.parametrize(
    "dates",
    [
        {"activates_at": "2025-12-31T00:00:00Z"},
        {"expires_at": "2026-01-01T12:00:00Z"},
        {"activates_at": ENDS, "expires_at": ENDS},
    ],
)
async def test_points_begin_later_than_now_and_end_after_they_begin(shop: Shop, dates: Json) -> None:
    member = await shop.enrol()
    body = {"member_id": member["id"], "points": 5, "reason": "r", **dates}
    await shop.refuses("POST", "/v1/adjustments", body, status=400, code="dates_out_of_order")


async def test_an_extended_lot_ends_later(shop: Shop) -> None:
    member = await shop.enrol()
    await give(shop, member, 100, expires_at=ENDS)
    lot = await newest_lot(shop, member)
    body = {"expires_at": "2026-06-01T00:00:00Z", "reason": "was ill"}
    extended = await shop.post(f"/v1/lots/{lot['id']}/extension", body)
    assert (extended["kind"], extended["points"], extended["lot_id"]) == ("extend", 100, lot["id"])
    await advance(shop, ENDS)
    assert await balance(shop, member) == 100
    assert (await shop.wallet(member["id"]))["expiring"] == [{"at": "2026-06-01T00:00:00Z", "points": 100}]
    await shop.refuses("POST", f"/v1/lots/{lot['id']}/extension", body, status=409, code="lot_has_nothing_to_extend")
    sooner = {"expires_at": "2026-05-01T00:00:00Z", "reason": "x"}
    newest = await newest_lot(shop, member)
    path = f"/v1/lots/{newest['id']}/extension"
    await shop.refuses("POST", path, sooner, status=400, code="extension_shortens")
    await shop.books_hold()


async def test_expired_points_are_reinstated_once(shop: Shop) -> None:
    member = await shop.enrol()
    await give(shop, member, 100, expires_at=ENDS)
    reward = await shop.reward(cost=30)
    await shop.post("/v1/redemptions", {"member_id": member["id"], "reward_id": reward["id"]})
    lot = await newest_lot(shop, member)
    await advance(shop, ENDS)
    path, body = f"/v1/lots/{lot['id']}/reinstatement", {"expires_at": "2026-06-01T00:00:00Z", "reason": "asked"}
    made = await shop.post(path, body)
    assert (made["points"], made["entries"][0]["from_account"]) == (70, "expired")
    assert await balance(shop, member) == 70
    await shop.refuses("POST", path, body, status=409, code="lot_has_nothing_expired")
    await shop.books_hold()


async def test_transferred_points_keep_their_dates(shop: Shop) -> None:
    giver, receiver = await shop.enrol(), await shop.enrol()
    await give(shop, giver, 60, expires_at=ENDS)
    await give(shop, giver, 60)
    body = {"from_member_id": giver["id"], "to_member_id": receiver["id"], "points": 100, "reason": "birthday"}
    made = await shop.post("/v1/transfers", body)
    assert await shop.get(f"/v1/transfers/{made['id']}") == made
    assert (await balance(shop, giver), await balance(shop, receiver)) == (20, 100)
    lots = (await shop.get(f"/v1/members/{receiver['id']}/lots"))["data"]
    assert {(lot["granted"], lot["expires_at"]) for lot in lots} == {(60, ENDS), (40, None)}
    await advance(shop, ENDS)
    assert (await balance(shop, giver), await balance(shop, receiver)) == (20, 40)
    await shop.books_hold()


async def test_who_may_not_give_or_receive_does_not(shop: Shop) -> None:
    giver, receiver = await shop.enrol(), await shop.enrol()
    await give(shop, giver)
    body = {"from_member_id": giver["id"], "to_member_id": receiver["id"], "points": 10}
    oneself = {**body, "to_member_id": giver["id"]}
    await shop.refuses("POST", "/v1/transfers", oneself, status=400, code="transfer_to_oneself")
    await shop.refuses("POST", "/v1/transfers", {**body, "points": 101}, status=409, code="not_enough_points")
    await shop.post(f"/v1/members/{receiver['id']}/status-changes", {"status": "closed", "reason": "left"})
    await shop.refuses("POST", "/v1/transfers", body, status=409, code="receiver_closed")
    await shop.post(f"/v1/members/{giver['id']}/status-changes", {"status": "closed", "reason": "left"})
    await shop.refuses("POST", "/v1/transfers", body, status=409, code="member_may_not_burn")


async def test_of_many_transfers_of_the_same_points_one_happens(shop: Shop) -> None:
    """Sixty-four gifts of the same hundred points, to and fro among three: none is given twice, none waits for ever."""
    members = [await shop.enrol() for _ in range(3)]
    await give(shop, members[0])
    pairs = [(members[n % 3], members[(n + 1 + n % 2) % 3]) for n in range(64)]
    bodies = [{"from_member_id": a["id"], "to_member_id": b["id"], "points": 100} for a, b in pairs]
    replies = await asyncio.gather(*(shop.send("POST", "/v1/transfers", body) for body in bodies))
    assert {reply.status_code for reply in replies} == {201, 409}
    assert {reply.json()["code"] for reply in replies if reply.status_code == 409} == {"not_enough_points"}
    assert sorted([await balance(shop, member) for member in members]) == [0, 0, 100]
    await shop.books_hold()


async def test_an_adjustment_is_the_same_when_its_time_has_come_and_in_any_zone(shop: Shop) -> None:
    member = await shop.enrol()
    body = {"member_id": member["id"], "points": 5, "reason": "r", "external_id": "row-9"}
    first = await shop.send("POST", "/v1/adjustments", {**body, "activates_at": "2026-02-01T00:00:00Z"}, key="k")
    await advance(shop, "2026-02-02T00:00:00Z")
    again = await shop.send("POST", "/v1/adjustments", {**body, "activates_at": "2026-02-01T01:00:00+01:00"})
    assert (again.status_code, again.json()) == (200, first.json())
    replayed = await shop.send("POST", "/v1/adjustments", {**body, "activates_at": "2026-02-01T00:00:00Z"}, key="k")
    assert replayed.content == first.content


async def test_nothing_is_given_into_a_wallet_that_was_merged_away(shop: Shop) -> None:
    old, new = await shop.enrol(), await shop.enrol()
    await give(shop, new)
    merge = {"from_member_id": old["id"], "into_member_id": new["id"], "reason": "the same"}
    await shop.post("/v1/member-merges", merge)
    body = {"member_id": old["id"], "points": 5, "reason": "r"}
    await shop.refuses("POST", "/v1/adjustments", body, status=409, code="member_already_merged")
    gift = {"from_member_id": new["id"], "to_member_id": old["id"], "points": 5}
    await shop.refuses("POST", "/v1/transfers", gift, status=409, code="member_already_merged")
