"""Birthdays beside other members, merges, full wallets and orders."""

import asyncio

from tests.earning.till import advance, make_rule
from tests.shop import Json, Shop

BIRTHDAY: Json = {"activity": "birthday", "points": 50}


async def celebrated(shop: Shop, member: Json) -> list[str]:
    found = (await shop.get(f"/v1/activities?member_id={member['id']}"))["data"]
    return [row["occurred_at"] for row in reversed(found) if row["type"] == "birthday"]


async def test_whether_others_have_a_birthday_does_not_matter_to_who_joins_on_theirs(shop: Shop) -> None:
    """Dates decide, never whether a job ran: who was a member as the day began is paid."""
    await make_rule(shop, "points_per_activity", **BIRTHDAY)
    await advance(shop, "2026-02-10T12:00:00Z")
    before = await shop.enrol(birth_on="1990-02-10")
    await shop.enrol(birth_on="1990-02-11")
    await advance(shop, "2026-02-11T12:00:00Z")
    after = await shop.enrol(birth_on="1990-02-11")
    await advance(shop, "2026-02-12T12:00:00Z")
    assert [len(await celebrated(shop, own)) for own in (before, after)] == [0, 0]


async def test_one_member_with_a_full_wallet_does_not_keep_birthdays_from_everybody(shop: Shop) -> None:
    """One member's wallet does not stop a program's birthdays."""
    await make_rule(shop, "points_per_activity", **BIRTHDAY)
    rich = await shop.enrol(birth_on="1990-02-10")
    poor = await shop.enrol(birth_on="1990-02-11")
    body = {"member_id": rich["id"], "points": 2**53 - 1, "reason": "opening"}
    reply = await shop.send("POST", "/v1/adjustments", body)
    assert reply.status_code == 201, reply.text
    reply = await shop.send("POST", "/v1/test-clock/advance", {"to": "2026-02-12T12:00:00Z"})
    assert reply.status_code == 200, reply.text
    assert len(await celebrated(shop, poor)) == 1


async def test_a_merge_brings_no_second_birthday_in_a_year(shop: Shop) -> None:
    """A birthday is paid once a year; a changed date brings no second one, so a merge should not either."""
    await make_rule(shop, "points_per_activity", **BIRTHDAY)
    one, two = await shop.enrol(birth_on="1990-02-10"), await shop.enrol(birth_on="1990-10-02")
    await advance(shop, "2026-03-01T12:00:00Z")
    pair = {"from_member_id": one["id"], "into_member_id": two["id"], "reason": "one person"}
    await shop.post("/v1/member-merges", pair)
    await advance(shop, "2026-12-01T12:00:00Z")
    assert len(await celebrated(shop, two)) == 1


async def test_the_clock_and_an_order_that_completes_a_referral_do_not_lock_each_other_out(shop: Shop) -> None:
    """Wallets are locked in one order; the clock locks due wallets first, with those of birthdays."""
    await make_rule(shop, "points_per_activity", **BIRTHDAY)
    await make_rule(shop, "points_per_activity", activity="signed_up", points=10)
    advocate = await shop.enrol(birth_on="1990-06-01")
    for days in range(1, 60):
        await shop.send("PATCH", "/v1/program", {"expiry": {"kind": "after", "days": days}}, expect=200)
        friend = await shop.enrol(referral_code=advocate["referral_code"])
    clock = asyncio.create_task(shop.send("POST", "/v1/test-clock/advance", {"to": "2026-06-02T12:00:00Z"}))
    await asyncio.sleep(0.3)
    bought = await shop.send("POST", "/v1/orders", shop.order_body(customer_id=friend["customer_id"]))
    moved = await clock
    assert (moved.status_code, bought.status_code) == (200, 201), (moved.text, bought.text)
