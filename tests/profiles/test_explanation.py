"""Why is my balance this? In words, through the doors."""

from tests.shop import Shop

from loyalty.points.rules import EntryKind
from loyalty.profiles.explaining import _SENTENCES


async def test_an_explanation_tells_what_is_left_of_what_and_what_happened(shop: Shop) -> None:
    await shop.send("PATCH", "/v1/program", {"expiry": {"kind": "after", "days": 30}}, expect=200)
    member = await shop.enrol()
    await shop.order(100, customer_id=member["customer_id"], external_id="A-1")
    await shop.order(20, customer_id=member["customer_id"], external_id="A-2", status="placed")
    reward = await shop.reward(cost=40)
    redemption = await shop.post("/v1/redemptions", {"member_id": member["id"], "reward_id": reward["id"]})
    hold = await shop.post("/v1/holds", {"member_id": member["id"], "points": 15})
    found = await shop.get(f"/v1/members/{member['id']}/explanation")
    assert [reason["text"] for reason in found["reasons"]] == [
        "80 points in all: 45 to spend, 20 pending, 15 held, 0 owed.",
        "20 points of order A-2 of 2026-01-01T12:00:00Z wait for its payment or delivery.",
        "60 of the 100 points of order A-1 of 2026-01-01T12:00:00Z are left until 2026-01-31T23:00:00Z.",
        "15 points of order A-1 are held by a checkout.",
        f"15 points were held by hold {hold['id']}.",
        f"40 points were spent on redemption {redemption['id']}.",
        "20 points were earned by order A-2.",
        "100 points were earned by order A-1.",
    ]
    assert found["reasons"][1]["params"]["source"] == "order A-2"
    assert await shop.get("/v1/me/explanation", bearer=await shop.token(member["id"])) == found


async def test_every_kind_of_entry_has_its_sentence(shop: Shop) -> None:
    assert {str(kind) for kind in EntryKind} <= set(_SENTENCES)
    member = await shop.enrol()
    assert (await shop.get(f"/v1/members/{member['id']}/explanation?unit=stars"))["reasons"] == []
