"""The machine's clock jumps back: time never runs backwards in a wallet, and no point comes or goes by it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
from litestar import Litestar
from sqlalchemy import text
from tests.shop import Json, Shop

from loyalty.access import service as access
from loyalty.access.rules import ALL_KEY_SCOPES, KeyKind
from loyalty.core import clock, ids
from loyalty.core.clock import rfc3339
from loyalty.core.db import transaction
from loyalty.points import service as points
from loyalty.programs import service as programs
from loyalty.programs.rules import Mode, ProgramRules

DAY: Final = 86_400


@dataclass
class Hands:
    """The hands of the machine's clock, which a test may turn."""

    at: datetime

    def turn(self, **by: float) -> datetime:
        self.at += timedelta(**by)
        return self.at


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    turned = Hands(datetime.now(UTC) + timedelta(days=1))
    monkeypatch.setattr(clock, "now", lambda: turned.at)
    return turned


@pytest.fixture
async def shop(client: httpx.AsyncClient, app: Litestar, hands: Hands) -> Shop:
    """A live program, which has no clock but the machine's, an hour old, with a point a euro."""
    sessions = app.state.sessions
    async with transaction(sessions) as session:
        program = await programs.create(
            session,
            slug=f"live-{uuid4().hex[:20]}",
            name="Live",
            mode=Mode.LIVE,
            rules=ProgramRules(currencies=("EUR",), time_zone="UTC"),
            clock_at=None,
            actor="test",
            now=hands.at,
        )
        _, key = await access.create_key(
            session,
            program=program,
            kind=KeyKind.SECRET,
            name="storefront",
            scopes=frozenset(),
            maker_scopes=ALL_KEY_SCOPES,
            expires_at=None,
            real_now=hands.at,
        )
    shop = Shop(client, sessions, program, key)
    terms = {"kind": "points_per_amount", "points": 1, "step_minor": {"EUR": 100}}
    await shop.post("/v1/earning-rules", {"name": "base", "terms": terms})
    return shop


async def rich(shop: Shop, **details: Any) -> Json:
    member = await shop.enrol()
    await shop.post("/v1/adjustments", {"member_id": member["id"], "points": 100, "reason": "r", **details})
    return member


async def entries(shop: Shop, member: Json) -> list[tuple[str, int, datetime]]:
    """Return kind, points and recording of a wallet's entries, in order of version."""
    query = (
        "SELECT kind, points, recorded_at FROM entries WHERE program_id = :id AND member_id = :member ORDER BY version"
    )
    own = {"id": shop.program.id, "member": ids.parse("mem", member["id"])}
    async with transaction(shop.sessions) as session:
        return [(row[0], row[1], row[2]) for row in await session.execute(text(query), own)]


async def settle(shop: Shop, hands: Hands) -> int:
    async with transaction(shop.sessions) as session:
        return await points.settle_due(session, program=shop.program, now=hands.at, limit=100)


async def test_every_write_works_after_the_clock_jumped_back_and_its_entries_do_not(shop: Shop, hands: Hands) -> None:
    ends = rfc3339(hands.at + timedelta(days=10))
    member, friend = await rich(shop, expires_at=ends), await shop.enrol()
    lot = (await shop.get(f"/v1/members/{member['id']}/lots"))["data"][0]
    reward = await shop.reward(cost=10)
    whose, customer = {"member_id": member["id"]}, {"customer_id": member["customer_id"]}
    newest = hands.turn(hours=2)
    redemption = await shop.post("/v1/redemptions", {**whose, "reward_id": reward["id"]})
    held = await shop.post("/v1/holds", {**whose, "points": 10, "expires_in_seconds": DAY})
    written = len(await entries(shop, member))

    hands.turn(minutes=-90)
    await shop.order(10, **customer)
    await shop.post("/v1/redemptions", {**whose, "reward_id": reward["id"]})
    await shop.post(f"/v1/redemptions/{redemption['id']}/cancellation", {})
    await shop.post(f"/v1/holds/{held['id']}/capture", {})
    other = await shop.post("/v1/holds", {**whose, "points": 10, "expires_in_seconds": DAY})
    await shop.post(f"/v1/holds/{other['id']}/release")
    await shop.post("/v1/adjustments", {**whose, "points": 5, "reason": "r"})
    await shop.post("/v1/adjustments", {**whose, "points": -5, "reason": "r"})
    gift = {"from_member_id": member["id"], "to_member_id": friend["id"], "points": 10}
    await shop.post("/v1/transfers", gift)
    later = {"expires_at": rfc3339(hands.at + timedelta(days=20)), "reason": "r"}
    await shop.post(f"/v1/lots/{lot['id']}/extension", later)
    order = await shop.order(10, **customer, status="placed")
    await shop.post(f"/v1/orders/{order['id']}/payments", {})
    await shop.post(f"/v1/orders/{order['id']}/returns", {"total": {"amount": 400, "currency": "EUR"}})
    await settle(shop, hands)

    history = await entries(shop, member)
    times = [recorded_at for _, _, recorded_at in history]
    assert times == sorted(times)
    assert times[written:] == [newest] * (len(history) - written)
    wallet = await shop.wallet(member["id"])
    assert (wallet["balance"], wallet["held"], wallet["pending"]) == (100 + 10 - 10 - 10 - 10 + 10 - 4, 0, 0)
    assert (await shop.wallet(friend["id"]))["balance"] == 10
    await shop.books_hold()


async def test_what_time_has_done_is_not_undone_or_done_twice_when_the_clock_jumps_back(
    shop: Shop, hands: Hands
) -> None:
    start = hands.at
    ends, begins = start + timedelta(hours=2), start + timedelta(hours=1)
    fading, coming = await rich(shop, expires_at=rfc3339(ends)), await rich(shop, activates_at=rfc3339(begins))
    reward = await shop.reward(cost=10)
    hands.turn(hours=3)
    assert await settle(shop, hands) == 2
    for _ in range(2):
        hands.turn(hours=-2.5)
        assert await settle(shop, hands) == 0
        assert [(await shop.wallet(member["id"]))["available"] for member in (fading, coming)] == [0, 100]
        body = {"member_id": fading["id"], "reward_id": reward["id"]}
        await shop.refuses("POST", "/v1/redemptions", body, status=409, code="not_enough_points")
        hands.turn(hours=2.5)
        assert await settle(shop, hands) == 0
    hands.turn(hours=-2.5)
    await shop.post("/v1/redemptions", {"member_id": coming["id"], "reward_id": reward["id"]})
    settled = start + timedelta(hours=3)
    assert await entries(shop, fading) == [("adjust", 100, start), ("expire", 100, settled)]
    assert await entries(shop, coming) == [("adjust", 100, start), ("activate", 100, settled), ("spend", 10, settled)]
    await shop.books_hold()


async def test_what_is_due_by_the_wallets_own_time_is_settled_although_the_clock_jumped_back(
    shop: Shop, hands: Hands
) -> None:
    """The lot ended before the wallet's newest entry, so it cannot be spent after it."""
    start = hands.at
    member = await rich(shop)
    hands.turn(hours=2)
    await shop.post("/v1/adjustments", {"member_id": member["id"], "points": 1, "reason": "r"})
    hands.turn(hours=-1.5)
    ends = rfc3339(start + timedelta(hours=1))
    await shop.post("/v1/adjustments", {"member_id": member["id"], "points": 50, "reason": "r", "expires_at": ends})
    assert (await shop.wallet(member["id"]))["spendable"] == 101
    body = {"member_id": member["id"], "points": 102}
    await shop.refuses("POST", "/v1/holds", body, status=409, code="not_enough_points")
    await shop.post("/v1/holds", {**body, "points": 101, "expires_in_seconds": DAY})
    kinds = [(kind, amount) for kind, amount, _ in await entries(shop, member)]
    assert kinds == [("adjust", 100), ("adjust", 1), ("adjust", 50), ("expire", 50), ("hold", 101)]
    await shop.books_hold()


async def test_an_order_placed_in_the_future_waits_with_its_payment_and_return_until_the_clock_is_there_again(
    shop: Shop, hands: Hands
) -> None:
    member = await rich(shop)
    hands.turn(hours=2)
    order = await shop.order(10, customer_id=member["customer_id"], status="placed")
    path = f"/v1/orders/{order['id']}"
    hands.turn(hours=-1)
    await shop.refuses("POST", f"{path}/payments", {}, status=409, code="paid_before_placed")
    await shop.refuses("POST", f"{path}/returns", {}, status=400, code="returned_before_placed")
    hands.turn(hours=1)
    await shop.post(f"{path}/payments", {})
    await shop.post(f"{path}/returns", {})
    assert (await shop.wallet(member["id"]))["balance"] == 100
    await shop.books_hold()


async def test_a_hold_made_after_the_clock_jumped_back_can_be_captured(shop: Shop, hands: Hands) -> None:
    member = await rich(shop)
    hands.turn(hours=2)
    await shop.post("/v1/adjustments", {"member_id": member["id"], "points": 1, "reason": "r"})
    hands.turn(hours=-1)
    held = await shop.post("/v1/holds", {"member_id": member["id"], "points": 10, "expires_in_seconds": 900})
    assert held["state"] == "live"
    await shop.post(f"/v1/holds/{held['id']}/capture", {})
    assert (await shop.wallet(member["id"]))["balance"] == 91
    await shop.books_hold()


async def test_a_first_order_earns_although_its_server_is_a_second_behind_the_one_that_enrolled_the_member(
    shop: Shop, hands: Hands
) -> None:
    hands.turn(hours=1)
    member = await shop.enrol()
    hands.turn(seconds=-1)
    await shop.order(10, customer_id=member["customer_id"])
    assert (await shop.wallet(member["id"]))["balance"] == 10
