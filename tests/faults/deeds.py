"""One of each write that moves points, ready to be sent, and what it does to a wallet of a hundred points."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.shop import Json, Shop

ENDS: Final = "2026-01-05T00:00:00Z"
LATER: Final = "2026-06-01T00:00:00Z"
WEALTH: Final = 100


@dataclass(frozen=True)
class Deed:
    """A write that nobody has sent yet; `balance` is what its wallet holds once it has happened."""

    member: Json
    path: str
    body: Any
    balance: int


async def _order(shop: Shop, member: Json) -> Deed:
    return Deed(member, "/v1/orders", shop.order_body(10, customer_id=member["customer_id"]), 110)


async def _payment(shop: Shop, member: Json) -> Deed:
    order = await shop.order(10, customer_id=member["customer_id"], status="placed")
    return Deed(member, f"/v1/orders/{order['id']}/payments", {}, 110)


async def _return(shop: Shop, member: Json) -> Deed:
    order = await shop.order(10, customer_id=member["customer_id"])
    body = {"total": {"amount": 400, "currency": "EUR"}}
    return Deed(member, f"/v1/orders/{order['id']}/returns", body, 106)


async def _cancellation(shop: Shop, member: Json) -> Deed:
    order = await shop.order(10, customer_id=member["customer_id"])
    return Deed(member, f"/v1/orders/{order['id']}/cancellation", {}, 100)


async def _redemption(shop: Shop, member: Json) -> Deed:
    reward = await shop.reward(cost=30)
    return Deed(member, "/v1/redemptions", {"member_id": member["id"], "reward_id": reward["id"]}, 70)


async def _redemption_cancellation(shop: Shop, member: Json) -> Deed:
    redemption = await _redemption(shop, member)
    made = await shop.post(redemption.path, redemption.body)
    return Deed(member, f"/v1/redemptions/{made['id']}/cancellation", {}, 100)


async def _hold(_: Shop, member: Json) -> Deed:
    return Deed(member, "/v1/holds", {"member_id": member["id"], "points": 30}, 100)


async def _capture(shop: Shop, member: Json) -> Deed:
    held = await shop.post("/v1/holds", {"member_id": member["id"], "points": 30})
    return Deed(member, f"/v1/holds/{held['id']}/capture", {"points": 20}, 80)


async def _release(shop: Shop, member: Json) -> Deed:
    held = await shop.post("/v1/holds", {"member_id": member["id"], "points": 30})
    return Deed(member, f"/v1/holds/{held['id']}/release", None, 100)


async def _adjustment(_: Shop, member: Json) -> Deed:
    return Deed(member, "/v1/adjustments", {"member_id": member["id"], "points": -30, "reason": "fault"}, 70)


async def _transfer(shop: Shop, member: Json) -> Deed:
    receiver = await shop.enrol()
    body = {"from_member_id": member["id"], "to_member_id": receiver["id"], "points": 30}
    return Deed(member, "/v1/transfers", body, 70)


async def _extension(shop: Shop, member: Json) -> Deed:
    lot = (await shop.get(f"/v1/members/{member['id']}/lots"))["data"][0]
    return Deed(member, f"/v1/lots/{lot['id']}/extension", {"expires_at": LATER, "reason": "fault"}, 100)


async def _reinstatement(shop: Shop, member: Json) -> Deed:
    lot = (await shop.get(f"/v1/members/{member['id']}/lots"))["data"][0]
    await shop.post("/v1/test-clock/advance", {"to": ENDS}, expect=200)
    return Deed(member, f"/v1/lots/{lot['id']}/reinstatement", {"expires_at": LATER, "reason": "fault"}, 100)


DEEDS: Final[dict[str, Callable[[Shop, Json], Awaitable[Deed]]]] = {
    "order": _order,
    "payment": _payment,
    "return": _return,
    "order_cancellation": _cancellation,
    "redemption": _redemption,
    "redemption_cancellation": _redemption_cancellation,
    "hold": _hold,
    "capture": _capture,
    "release": _release,
    "adjustment": _adjustment,
    "transfer": _transfer,
    "extension": _extension,
    "reinstatement": _reinstatement,
}


async def prepare(shop: Shop, name: str) -> Deed:
    """Make a member with a hundred points that end, and all that a deed needs before it."""
    member = await shop.enrol()
    given = {"member_id": member["id"], "points": WEALTH, "reason": "wealth", "expires_at": ENDS}
    await shop.post("/v1/adjustments", given)
    return await DEEDS[name](shop, member)
