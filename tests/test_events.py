"""Every effect leaves an event; a relay numbers them gap-free; a refusal leaves none."""

import asyncio
from collections import Counter

import pytest
from tests.shop import Json, Shop

from loyalty.core.db import transaction
from loyalty.outbox import service as outbox
from loyalty.outbox.schemas import _SUBJECTS


async def told(shop: Shop) -> list[Json]:
    """Number what waits, and read all of it page by page."""
    async with transaction(shop.sessions) as session:
        await outbox.relay(session, program_id=shop.program.id)
    found: list[Json] = []
    cursor = ""
    while True:
        page = await shop.get(f"/v1/events?limit=7{cursor}")
        found += page["data"]
        if not page["has_more"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def test_every_effect_is_told(shop: Shop) -> None:
    advocate = await shop.enrol()
    await shop.post(f"/v1/members/{advocate['id']}/referral-codes", {"code": "SUNSHINE"})
    await shop.client.get(f"/r/{shop.program.slug}/SUNSHINE", headers={"User-Agent": "Mozilla/5.0"})
    friend = await shop.enrol(referral_code="sunshine")
    await shop.order(200, customer_id=friend["customer_id"])
    await shop.post("/v1/activities", {"member_id": friend["id"], "type": "reviewed"})
    waiting = await shop.order(10, customer_id=friend["customer_id"], status="placed")
    await shop.post(f"/v1/orders/{waiting['id']}/payments", {})
    reward = await shop.reward(cost=10)
    body = {"member_id": friend["id"], "reward_id": reward["id"]}
    taken_back, used = await shop.post("/v1/redemptions", body), await shop.post("/v1/redemptions", body)
    await shop.post(f"/v1/redemptions/{taken_back['id']}/cancellation", {})
    await shop.post("/v1/coupon-uses", {"code": used["coupon"]["code"]})
    await shop.send("PATCH", f"/v1/rewards/{reward['id']}", {"retired": True}, expect=200)
    await shop.send("PATCH", f"/v1/members/{friend['id']}", {"given_name": "Bo"}, expect=200)
    await shop.send("PUT", f"/v1/members/{friend['id']}/password", {"password": "correct horse"}, expect=204)
    closing = {"status": "closed", "reason": "asked to"}
    await shop.post(f"/v1/members/{friend['id']}/status-changes", closing)
    rule = (await shop.get("/v1/earning-rules"))["data"][0]["id"]
    terms = {"kind": "points_per_amount", "points": 2, "step_minor": {"EUR": 100}}
    await shop.post(f"/v1/earning-rules/{rule}/versions", {"terms": terms, "active_from": "2026-06-01T00:00:00Z"})
    await shop.send("PATCH", "/v1/program", {"name": "Another"}, expect=200)
    key = (await shop.post("/v1/keys", {"kind": "restricted", "name": "k", "scopes": ["events:read"]}))["key"]["id"]
    await shop.post(f"/v1/keys/{key}/ending", {}, expect=200)
    await shop.post("/v1/test-clock/advance", {"to": "2026-01-02T12:00:00Z"}, expect=200)
    await shop.post("/v1/simulations", {"from": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"})

    events = await told(shop)
    assert Counter(event["type"] for event in events) == {
        "program.created": 1,
        "program.updated": 1,
        "program.clock_advanced": 1,
        "key.created": 2,
        "key.ended": 1,
        "earning_rule.created": 1,
        "earning_rule.changed": 1,
        "campaign.started": 1,
        "reward.created": 1,
        "reward.updated": 1,
        "member.enrolled": 2,
        "member.updated": 1,
        "member.password_changed": 1,
        "member.closed": 1,
        "referral_code.chosen": 1,
        "click.recorded": 1,
        "referral.signed_up": 1,
        "referral.rewarded": 1,
        "order.recorded": 2,
        "order.paid": 1,
        "activity.recorded": 3,
        "points.earned": 4,
        "points.activated": 1,
        "points.spent": 2,
        "points.restored": 1,
        "redemption.redeemed": 2,
        "redemption.cancelled": 1,
        "coupon.used": 1,
        "simulation.created": 1,
    }
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    assert {event["type"].partition(".")[0] for event in events} == set(_SUBJECTS) - {"ledger"}


async def test_every_effect_of_time_and_of_hands_is_told(shop: Shop) -> None:
    await shop.send("PATCH", "/v1/program", {"clawback": "allow_debt", "expired_lot": "forfeit"}, expect=200)
    ann, bob = await shop.enrol(), await shop.enrol()
    given = {"member_id": ann["id"], "points": 50, "reason": "gift", "expires_at": "2026-01-10T00:00:00Z"}
    await shop.post("/v1/adjustments", given)
    lot = (await shop.get(f"/v1/members/{ann['id']}/lots"))["data"][0]["id"]
    reward = await shop.reward(cost=20)
    redemption = await shop.post("/v1/redemptions", {"member_id": ann["id"], "reward_id": reward["id"]})
    held = [await shop.post("/v1/holds", {"member_id": ann["id"], "points": 5}) for _ in range(2)]
    await shop.post(f"/v1/holds/{held[0]['id']}/capture", {})
    await shop.post(f"/v1/holds/{held[1]['id']}/release")
    await shop.post("/v1/transfers", {"from_member_id": ann["id"], "to_member_id": bob["id"], "points": 5})
    await shop.post("/v1/test-clock/advance", {"to": "2026-01-10T00:00:00Z"}, expect=200)
    later = {"expires_at": "2026-02-10T00:00:00Z", "reason": "kind"}
    await shop.post(f"/v1/lots/{lot}/reinstatement", later)
    newest = (await shop.get(f"/v1/members/{ann['id']}/lots"))["data"][0]["id"]
    await shop.post(f"/v1/lots/{newest}/extension", {"expires_at": "2026-03-10T00:00:00Z", "reason": "kind"})
    await shop.post(f"/v1/redemptions/{redemption['id']}/cancellation", {})
    order = await shop.order(30, customer_id=bob["customer_id"])
    await shop.post(f"/v1/orders/{order['id']}/deliveries", {})
    await shop.post("/v1/redemptions", {"member_id": bob["id"], "reward_id": reward["id"]})
    tea = {"sku": "tea", "total": {"amount": 10, "currency": "EUR"}}
    await shop.post(f"/v1/orders/{order['id']}/amendments", {"currency": "EUR", "added": [tea]})
    await shop.post(f"/v1/orders/{order['id']}/returns", {"total": {"amount": 2000, "currency": "EUR"}})
    await shop.send("PATCH", "/v1/program", {"clawback": "clamp_to_zero"}, expect=200)
    await shop.post(f"/v1/orders/{order['id']}/cancellation", {})
    await shop.order(30, customer_id=bob["customer_id"])

    found = Counter(event["type"] for event in await told(shop))
    expected = {
        "order.delivered": 1,
        "order.amended": 1,
        "order.returned": 1,
        "order.cancelled": 1,
        "points.held": 2,
        "points.captured": 1,
        "points.released": 1,
        "points.adjusted": 1,
        "points.transferred": 2,
        "points.expired": 2,
        "points.reinstated": 1,
        "points.extended": 2,
        "points.restored": 1,
        "points.forfeited": 1,
        "points.reversed": 3,
        "points.written_off": 1,
        "points.repaid": 1,
    }
    assert {kind: found[kind] for kind in expected} == expected


async def test_every_effect_of_gifts_codes_and_coupons_is_told(shop: Shop) -> None:
    member, reward = await shop.enrol(), await shop.reward(0, coupon_days=1)
    await shop.post(f"/v1/rewards/{reward['id']}/coupon-codes", {"csv": "code\nAAAA\nBBBB\n"}, expect=200)
    await shop.post(f"/v1/rewards/{reward['id']}/coupon-codes", {"csv": "code\nAAAA\n"}, expect=200)
    grant = {"member_id": member["id"], "reward_id": reward["id"], "reason": "gift"}
    code, _ = [(await shop.post("/v1/reward-grants", grant))["coupon"]["code"] for _ in range(2)]
    order = await shop.order(10, customer_id=member["customer_id"], coupons=[code])
    await shop.post(f"/v1/orders/{order['id']}/returns", {})
    await shop.post("/v1/test-clock/advance", {"to": "2026-01-02T12:00:00Z"}, expect=200)
    found = Counter(event["type"] for event in await told(shop))
    expected = {
        "reward.created": 1,
        "reward.codes_added": 1,
        "redemption.granted": 2,
        "coupon.used": 1,
        "coupon.returned": 1,
        "coupon.expired": 2,
    }
    assert {kind: found[kind] for kind in expected} == expected


async def test_what_a_configuration_changes_is_told(shop: Shop) -> None:
    await shop.reward()
    await shop.post("/v1/test-clock/advance", {"to": "2026-01-02T12:00:00Z"}, expect=200)
    before = len(await told(shop))
    nothing = {"version": 1, "earning_rules": [], "rewards": [], "referral_campaign": None}
    await shop.send("PUT", "/v1/configuration?dry_run=true", nothing, expect=200)
    for _ in range(2):
        await shop.send("PUT", "/v1/configuration", nothing, expect=200)
    found = [event["type"] for event in await told(shop)]
    assert found[before:] == ["earning_rule.retired", "reward.updated", "campaign.ended"]


async def test_relays_beside_each_other_number_without_gap_or_repeat(shop: Shop) -> None:
    async def relay() -> None:
        async with transaction(shop.sessions) as session:
            await outbox.relay(session, program_id=shop.program.id, limit=3)

    await asyncio.gather(*(shop.enrol() for _ in range(10)), *(relay() for _ in range(10)))
    numbers = [event["number"] for event in await told(shop)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) == 24


@pytest.mark.parametrize("path", ["/v1/program", "/v1/rewards/rew_00000000000000000000000000"])
async def test_a_change_that_changes_nothing_tells_nothing(shop: Shop, path: str) -> None:
    before = await told(shop)
    await shop.send("PATCH", path, {})
    assert await told(shop) == before
