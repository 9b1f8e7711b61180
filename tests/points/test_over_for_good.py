"""Points that are over stay over, and what expired is not taken a second time."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from tests.shop import Shop

from loyalty.core.db import transaction

IDLE = {"kind": "inactivity", "days": 2}


async def _settings(shop: Shop, **changes: Any) -> None:
    await shop.send("PATCH", "/v1/program", changes, expect=200)


async def _advance(shop: Shop, to: str) -> None:
    await shop.post("/v1/test-clock/advance", {"to": to}, expect=200)


async def _entries(shop: Shop, member_id: str) -> list[tuple[str, int, str]]:
    found = (await shop.get(f"/v1/members/{member_id}/entries"))["data"]
    return [(entry["kind"], entry["points"], entry["occurred_at"]) for entry in reversed(found)]


async def test_a_lot_that_was_spent_when_its_wallet_became_idle_does_not_live_again(shop: Shop) -> None:
    await _settings(shop, expiry=IDLE, expired_lot="forfeit")
    member = await shop.enrol()
    await shop.order(60, customer_id=member["customer_id"])
    reward = await shop.reward(cost=60)
    redemption = await shop.post("/v1/redemptions", {"member_id": member["id"], "reward_id": reward["id"]})
    await _advance(shop, "2026-01-10T12:00:00Z")
    await shop.order(1, customer_id=member["customer_id"])
    await shop.post(f"/v1/redemptions/{redemption['id']}/cancellation", {})
    assert (await shop.wallet(member["id"]))["balance"] == 1
    assert [entry[:2] for entry in await _entries(shop, member["id"])][-2:] == [("restore", 60), ("forfeit", 60)]
    await shop.books_hold()


@pytest.mark.parametrize("held", [20, 60])
async def test_points_held_while_their_wallet_became_idle_are_over_when_the_hold_ends(shop: Shop, held: int) -> None:
    await _settings(shop, expiry=IDLE)
    member = await shop.enrol()
    await shop.order(60, customer_id=member["customer_id"])
    hold = await shop.post("/v1/holds", {"member_id": member["id"], "points": held, "expires_in_seconds": 604800})
    await _advance(shop, "2026-01-05T12:00:00Z")
    await shop.order(1, customer_id=member["customer_id"])
    await shop.post(f"/v1/holds/{hold['id']}/release")
    assert (await shop.wallet(member["id"]))["balance"] == 1
    assert (await _entries(shop, member["id"]))[-2:] == [
        ("release", held, "2026-01-05T12:00:00Z"),
        ("expire", held, "2026-01-05T12:00:00Z"),
    ]
    await shop.books_hold()


async def test_points_freed_by_hand_after_their_end_expire_when_they_are_freed(shop: Shop) -> None:
    member = await shop.enrol()
    gift = {"member_id": member["id"], "points": 22, "reason": "gift", "expires_at": "2026-01-02T18:00:00Z"}
    await shop.post("/v1/adjustments", gift)
    hold = await shop.post("/v1/holds", {"member_id": member["id"], "points": 22, "expires_in_seconds": 604800})
    await _advance(shop, "2026-01-03T18:59:59Z")
    await shop.post(f"/v1/holds/{hold['id']}/release")
    assert (await _entries(shop, member["id"]))[-1] == ("expire", 22, "2026-01-03T18:59:59Z")
    assert (await shop.wallet(member["id"]))["balance"] == 0
    await shop.books_hold()


async def test_points_that_end_by_idleness_are_spent_before_those_that_end_later(shop: Shop) -> None:
    await _settings(shop, expiry=IDLE)
    member = await shop.enrol()
    gift = {"member_id": member["id"], "points": 10, "reason": "gift"}
    await shop.post("/v1/adjustments", {**gift, "expires_at": "2027-01-01T00:00:00Z"})
    await shop.post("/v1/adjustments", {**gift, "expires_at": "2026-01-02T00:00:00Z"})
    await shop.order(10, customer_id=member["customer_id"])
    reward = await shop.reward(cost=15)
    await shop.post("/v1/redemptions", {"member_id": member["id"], "reward_id": reward["id"]})
    lots = (await shop.get(f"/v1/members/{member['id']}/lots"))["data"]
    assert [(lot["expires_at"], lot["remaining"]) for lot in reversed(lots)] == [
        ("2027-01-01T00:00:00Z", 10),
        ("2026-01-02T00:00:00Z", 0),
        ("2026-01-03T23:00:00Z", 5),
    ]
    await shop.books_hold()


async def test_a_return_does_not_take_other_points_for_those_that_expired(shop: Shop) -> None:
    """30 of 100 points are spent and 70 expire; of a return of all of it, 70 count as gone and 30 are taken."""
    await _settings(shop, expiry={"kind": "after", "days": 1}, clawback="allow_debt")
    member = await shop.enrol()
    order = await shop.order(100, customer_id=member["customer_id"])
    reward = await shop.reward(cost=30)
    await shop.post("/v1/redemptions", {"member_id": member["id"], "reward_id": reward["id"]})
    await _advance(shop, "2026-01-05T12:00:00Z")
    await shop.post("/v1/adjustments", {"member_id": member["id"], "points": 50, "reason": "gift"})
    made = await shop.post(f"/v1/orders/{order['id']}/returns", {})
    assert [{name: row[name] for name in ("points", "taken", "lapsed", "owed")} for row in made["reversals"]] == [
        {"points": 100, "taken": 30, "lapsed": 70, "owed": 0}
    ]
    assert made["points_reversed"] == 100
    assert (await shop.wallet(member["id"]))["balance"] == 20
    lots = (await shop.get(f"/v1/members/{member['id']}/lots"))["data"]
    body = {"expires_at": "2026-06-01T00:00:00Z", "reason": "again"}
    refused = await shop.send("POST", f"/v1/lots/{lots[-1]['id']}/reinstatement", body, expect=409)
    assert refused.json()["code"] == "lot_has_nothing_expired"
    await shop.books_hold()


async def test_points_reinstated_before_a_return_are_not_counted_as_expired(shop: Shop) -> None:
    await _settings(shop, expiry={"kind": "after", "days": 1})
    member = await shop.enrol()
    order = await shop.order(100, customer_id=member["customer_id"])
    await _advance(shop, "2026-01-05T12:00:00Z")
    lots = (await shop.get(f"/v1/members/{member['id']}/lots"))["data"]
    body = {"expires_at": "2026-06-01T00:00:00Z", "reason": "again"}
    again = await shop.post(f"/v1/lots/{lots[0]['id']}/reinstatement", body)
    expired = (await shop.get(f"/v1/members/{member['id']}/entries"))["data"][1]
    assert (expired["kind"], again["entries"][0]["corrects_id"]) == ("expire", expired["id"])
    made = await shop.post(f"/v1/orders/{order['id']}/returns", {})
    assert (made["reversals"][0]["taken"], made["reversals"][0]["lapsed"]) == (100, 0)
    assert (await shop.wallet(member["id"]))["balance"] == 0
    await shop.books_hold()


async def test_a_program_keeps_its_time_zone(shop: Shop) -> None:
    refused = await shop.send("PATCH", "/v1/program", {"time_zone": "Asia/Kathmandu"}, expect=400)
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/time_zone"]
    assert (await shop.get("/v1/program"))["time_zone"] == "Europe/Berlin"


async def test_what_is_due_is_shown_alike_before_it_is_written(shop: Shop) -> None:
    """The clock passes the end of a lot and no job runs: wallet, lots and explanation tell the same."""
    member = await shop.enrol()
    gift = {"member_id": member["id"], "points": 30, "reason": "gift", "expires_at": "2026-01-05T00:00:00Z"}
    await shop.post("/v1/adjustments", gift)
    async with transaction(shop.sessions) as session:
        at = {"id": shop.program.id, "to": datetime(2026, 1, 7, tzinfo=UTC)}
        await session.execute(text("UPDATE programs SET clock_at = :to WHERE id = :id"), at)
    assert (await shop.wallet(member["id"]))["balance"] == 0
    lots = (await shop.get(f"/v1/members/{member['id']}/lots"))["data"]
    assert [lot["remaining"] for lot in lots] == [0]
    told = (await shop.get(f"/v1/members/{member['id']}/explanation"))["reasons"]
    assert [reason["code"] for reason in told] == ["balance", "expire", "adjust"]
    assert len((await shop.get(f"/v1/members/{member['id']}/entries"))["data"]) == 1
