"""Random days of a program, driven through the doors and followed by a plain model that knows nothing of SQL.

Hypothesis draws whole programs of steps; each runs in a program of its own. After every step all wallets and
lots equal the model's; at the end the stock does too, and the books are proven. LOYALTY_HYPOTHESIS_EXAMPLES asks for a
longer run.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from sqlalchemy import text
from tests.shop import Json, Shop, open_shop

from loyalty.core import ids
from loyalty.core.db import transaction

EXAMPLES = int(os.environ.get("LOYALTY_HYPOTHESIS_EXAMPLES", "20"))
STEPS = 30
MINIMUM_CENTS = 2_000
ADVOCATE_POINTS, FRIEND_POINTS = 50, 25
COSTS = (7, 30, 120)
STOCKS = (None, 4, None)

_log = logging.getLogger("tests.ledger_machine")
_taken: Counter[str] = Counter()
_effects: Counter[str] = Counter()


@dataclass
class Lot:
    granted: int
    remaining: int
    pending: bool


@dataclass
class Member:
    """`waits_for_order`: a referral of this friend waits for a first paid order; `advocate` is whom it would pay."""

    id: str
    customer_id: str
    code: str
    advocate: "Member | None" = None
    waits_for_order: bool = False
    has_paid: bool = False
    may_earn: bool = True
    may_burn: bool = True
    version: int = 0
    lots: list[Lot] = field(default_factory=list)

    @property
    def pending(self) -> int:
        return sum(lot.remaining for lot in self.lots if lot.pending)

    @property
    def available(self) -> int:
        return sum(lot.remaining for lot in self.lots if not lot.pending)

    def earn(self, points: int, *, pending: bool = False) -> list[Lot]:
        if points == 0:
            return []
        self.version += 1
        self.lots.append(Lot(points, points, pending))
        return self.lots[-1:]


@dataclass
class Order:
    id: str
    body: Json
    cents: int
    buyer: Member | None
    lots: list[Lot]
    paid: bool
    first_reply: Json


@dataclass
class Redemption:
    id: str
    member: Member
    reward: int
    takes: list[tuple[Lot, int]]
    cancelled: bool = False


@dataclass
class Sent:
    """A request that succeeded, to be sent again later on."""

    path: str
    body: Json
    key: str
    reply: httpx.Response


WEIGHTS = {
    "enrol": 3,
    "order": 8,
    "place": 4,
    "pay": 4,
    "redeem": 7,
    "cancel": 4,
    "replay": 4,
    "reorder": 2,
    "standing": 2,
    "advance": 1,
}
CENTS = (1, 299, 300, 900, 1_499, 1_999, 2_000, 2_001, 4_350, 5_000, 12_345, 40_000)
Step = tuple[str, int, int]
steps = st.tuples(
    st.sampled_from([what for what, weight in WEIGHTS.items() for _ in range(weight)]),
    st.integers(0, 999),
    st.integers(0, 999),
)


class Machine:
    def __init__(self, shop: Shop, rewards: list[str]) -> None:
        self.shop = shop
        self.rewards = rewards
        self.stock = list(STOCKS)
        self.members: list[Member] = []
        self.orders: list[Order] = []
        self.redemptions: list[Redemption] = []
        self.sent: list[Sent] = []
        self.hours = 12

    @classmethod
    async def open(cls, client: httpx.AsyncClient, app: Litestar) -> "Machine":
        """A program with two rules that round differently, a referral that asks for 20 euros, and three rewards."""
        shop = await open_shop(client, app)
        terms = {"kind": "points_per_amount", "points": 1, "step_minor": {"EUR": 300}, "rounding": "half_up"}
        await shop.post("/v1/earning-rules", {"name": "extra", "terms": terms})
        campaign = {"name": "min", "landing_url": "https://shop.test/", "minimum": {"amount": 2000, "currency": "EUR"}}
        points = {"advocate_points": ADVOCATE_POINTS, "referee_points": FRIEND_POINTS}
        await shop.post("/v1/referral-campaigns", {**campaign, **points})
        rewards = [await shop.reward(cost, stock=stock) for cost, stock in zip(COSTS, STOCKS, strict=True)]
        return cls(shop, [reward["id"] for reward in rewards])

    async def step(self, step: Step) -> None:
        what, which, detail = step
        await getattr(self, what)(which, detail)
        await self.wallets_agree()
        await self.lots_agree()
        _taken[what] += 1

    async def enrol(self, which: int, invited: int) -> None:
        advocate = self._pick(self.members, which) if invited % 4 else None
        number = len(self.members)
        body: Json = {"external_id": f"person-{number}"}
        if advocate is not None:
            body["referral_code"] = advocate.code
        reply = await self._send("/v1/members", body, 201)
        bound = advocate is not None and advocate.may_earn and advocate.may_burn
        assert (reply["attribution"]["referral_id"] is not None) is bound
        self.members.append(
            Member(reply["id"], reply["customer_id"], reply["referral_code"], advocate if bound else None, bound)
        )

    async def order(self, which: int, detail: int) -> None:
        await self._order(which, detail, paid=True)

    async def place(self, which: int, detail: int) -> None:
        await self._order(which, detail, paid=False)

    async def pay(self, which: int, detail: int) -> None:
        unpaid = [order for order in self.orders if not order.paid]
        order = self._pick(unpaid if detail % 4 else self.orders, which)
        if order is None:
            return
        path = f"/v1/orders/{order.id}/payments"
        if order.paid:
            await self._refused(path, {}, "order_already_paid")
            return
        reply = await self._send(path, {}, 201)
        order.paid = True
        if order.buyer is not None:
            if order.lots:
                order.buyer.version += 1
            for lot in order.lots:
                lot.pending = False
            completed = self._first_paid(order.buyer, order.cents)
            assert (reply["referral"] is not None) is completed

    async def redeem(self, which: int, detail: int) -> None:
        reward = detail % len(COSTS)
        able = [member for member in self.members if self._why_not(member, reward) is None]
        member = self._pick(able if detail % 4 else self.members, which)
        if member is None:
            return
        body = {"member_id": member.id, "reward_id": self.rewards[reward]}
        refusal = self._why_not(member, reward)
        if refusal is not None:
            await self._refused("/v1/redemptions", body, refusal)
            return
        reply = await self._send("/v1/redemptions", body, 201)
        redemption = Redemption(reply["id"], member, reward, _take(member, COSTS[reward]))
        assert reply["balance_after"] == member.available + member.pending
        member.version += 1
        self._stock(reward, -1)
        self.redemptions.append(redemption)

    async def cancel(self, which: int, detail: int) -> None:
        live = [redemption for redemption in self.redemptions if not redemption.cancelled]
        redemption = self._pick(live if detail % 4 else self.redemptions, which)
        if redemption is None:
            return
        path = f"/v1/redemptions/{redemption.id}/cancellation"
        if redemption.cancelled:
            await self._refused(path, {}, "redemption_already_cancelled")
            return
        await self._send(path, {}, 201)
        redemption.cancelled = True
        redemption.member.version += 1
        self._stock(redemption.reward, 1)
        for lot, points in redemption.takes:
            lot.remaining += points

    async def replay(self, which: int, _: int) -> None:
        """Any earlier request again, with its key: the reply is the first one's, and nothing happens."""
        sent = self._pick(self.sent, which)
        if sent is None:
            return
        reply = await self.shop.send("POST", sent.path, sent.body, key=sent.key)
        assert (reply.status_code, reply.content) == (sent.reply.status_code, sent.reply.content)
        assert reply.headers["idempotency-replayed"] == "true"

    async def reorder(self, which: int, _: int) -> None:
        """An earlier order again, with a key of its own: it is the same order."""
        order = self._pick(self.orders, which)
        if order is not None:
            assert await self._send("/v1/orders", order.body, 200) == order.first_reply

    async def standing(self, which: int, detail: int) -> None:
        member = self._pick(self.members, which)
        if member is None:
            return
        suspends = (None, None, None, "earn", "burn", "both")[detail % 6]
        body: Json = {"status": "active" if suspends is None else "suspended", "reason": "drawn"}
        if suspends is not None:
            body["suspends"] = suspends
        await self.shop.post(f"/v1/members/{member.id}/status-changes", body)
        member.may_earn = suspends not in {"earn", "both"}
        member.may_burn = suspends not in {"burn", "both"}

    async def advance(self, hours: int, _: int) -> None:
        self.hours += hours % 48
        to = f"2026-{1 + self.hours // 672:02}-{1 + self.hours % 672 // 24:02}T{self.hours % 24:02}:00:00Z"
        await self.shop.post("/v1/test-clock/advance", {"to": to}, expect=200)

    async def wallets_agree(self) -> None:
        query = """
            SELECT member_id, pending, available, held, debt, version FROM wallets
            WHERE program_id = :id ORDER BY member_id
        """
        found = [(_public(row[0]), *row[1:]) for row in await self._rows(query)]
        expected = [(own.id, own.pending, own.available, 0, 0, own.version) for own in self.members]
        assert found == sorted(expected)

    async def lots_agree(self) -> None:
        query = """
            SELECT member_id, granted, remaining, reserved, activated_at IS NULL FROM lots
            WHERE program_id = :id ORDER BY member_id, id
        """
        found = [(_public(row[0]), *row[1:]) for row in await self._rows(query)]
        in_order = sorted(self.members, key=lambda own: own.id)
        expected = [(own.id, lot.granted, lot.remaining, 0, lot.pending) for own in in_order for lot in own.lots]
        assert found == expected

    async def stock_agrees(self) -> None:
        stock = [(await self.shop.get(f"/v1/rewards/{reward}"))["stock_left"] for reward in self.rewards]
        assert stock == self.stock

    async def _order(self, which: int, detail: int, *, paid: bool) -> None:
        """Order by a member, or now and then by nobody known."""
        buyer = self._pick([*self.members, None] if detail % 7 == 0 else self.members, which)
        cents = CENTS[detail % len(CENTS)]
        line = {"sku": "shirt", "total": {"amount": cents, "currency": "EUR"}}
        body: Json = {"external_id": f"drawn-{len(self.orders)}", "currency": "EUR", "lines": [line]}
        body |= {"customer_id": buyer.customer_id} if buyer else {}
        body |= {} if paid else {"status": "placed"}
        reply = await self._send("/v1/orders", body, 201)
        lots: list[Lot] = []
        if buyer is not None and buyer.may_earn:
            for points in (cents // 100, (cents + 150) // 300):
                lots += buyer.earn(points, pending=not paid)
        assert reply["points_earned"] == sum(lot.granted for lot in lots)
        if buyer is not None and paid:
            assert (reply["referral"] is not None) is self._first_paid(buyer, cents)
        self.orders.append(Order(reply["id"], body, cents, buyer, lots, paid, reply))

    def _first_paid(self, buyer: Member, cents: int) -> bool:
        """Count a paid order, and tell whether it completed the buyer's referral."""
        completes = buyer.waits_for_order and not buyer.has_paid and cents >= MINIMUM_CENTS
        buyer.has_paid = True
        if completes and buyer.advocate is not None:
            buyer.waits_for_order = False
            _effects["referrals completed"] += 1
            for side, points in ((buyer.advocate, ADVOCATE_POINTS), (buyer, FRIEND_POINTS)):
                if side.may_earn:
                    side.earn(points)
        return completes

    def _why_not(self, member: Member, reward: int) -> str | None:
        if not member.may_burn:
            return "member_may_not_burn"
        if member.available < COSTS[reward]:
            return "not_enough_points"
        return "out_of_stock" if self.stock[reward] == 0 else None

    def _stock(self, reward: int, change: int) -> None:
        left = self.stock[reward]
        self.stock[reward] = None if left is None else left + change

    async def _send(self, path: str, body: Json, expect: int) -> Json:
        key = f"key-{len(self.sent)}"
        reply = await self.shop.send("POST", path, body, key=key, expect=expect)
        assert "idempotency-replayed" not in reply.headers
        self.sent.append(Sent(path, body, key, reply))
        _effects[f"{path.rsplit('/', 1)[-1]} {expect}"] += 1
        return dict(reply.json())

    async def _refused(self, path: str, body: Json, code: str) -> None:
        reply = await self.shop.send("POST", path, body, expect=409)
        assert reply.json()["code"] == code
        _effects[code] += 1

    async def _rows(self, query: str) -> list[Any]:
        async with transaction(self.shop.sessions) as session:
            return list((await session.execute(text(query), {"id": self.shop.program.id})).all())

    @staticmethod
    def _pick(things: list[Any], which: int) -> Any:
        return things[which % len(things)] if things else None


@pytest.fixture(scope="module", autouse=True)
def told() -> Iterator[None]:
    """Say at the end how many steps of each kind were taken, and what came of them."""
    yield
    _log.info("%d steps: %s; what they did: %s", _taken.total(), dict(_taken), dict(_effects))


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="LOYALTY_HYPOTHESIS_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(program=st.lists(steps, min_size=STEPS, max_size=2 * STEPS))
async def test_the_ledger_does_what_a_plain_model_does(
    client: httpx.AsyncClient, app: Litestar, program: list[Step]
) -> None:
    machine = await Machine.open(client, app)
    await machine.enrol(0, 0)
    for step in program:
        await machine.step(step)
    await machine.stock_agrees()
    await machine.shop.books_hold()


def _take(member: Member, points: int) -> list[tuple[Lot, int]]:
    """Nothing expires here, so lots are taken in the order they were made."""
    takes = []
    for lot in member.lots:
        part = 0 if lot.pending else min(lot.remaining, points)
        if part:
            lot.remaining -= part
            points -= part
            takes.append((lot, part))
    assert points == 0
    return takes


def _public(member_id: Any) -> str:
    return ids.public("mem", member_id)
