"""A stream of mixed writes that may be cut at any moment and begun again: each has one effect under its key."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import httpx
from tests.faults.servers import number_of
from tests.shop import Json, Shop

START: Final = 1_000
GIVEN_TO_PARTNER: Final = 3
LEFT_BY_A_CART: Final = 10 - 4 - 6 - 2 - GIVEN_TO_PARTNER
"""An order of ten points, of which four go back; six captured of a hold of ten, two redeemed, three given away."""
STEPS: Final = 6


@dataclass
class Carts:
    """Members who each do the six writes of a cart again and again, and what they heard of them so far."""

    shop: Shop
    members: list[Json]
    partner: Json
    reward: Json
    number: int
    heard: dict[str, httpx.Response] = field(default_factory=dict)
    refused: list[httpx.Response] = field(default_factory=list)
    orders: list[Json] = field(default_factory=list)

    async def run(
        self, remote: httpx.AsyncClient, *, enough: Callable[[], bool] = lambda: False, cut: asyncio.Event | None = None
    ) -> None:
        """Send every cart, several at once, from its first step; `cut` is set once enough was heard."""
        waiting = iter(range(self.number))

        async def work() -> None:
            for cart in waiting:
                await self._fill(remote, cart)
                if cut is not None and enough():
                    cut.set()

        await asyncio.gather(*(work() for _ in self.members))

    async def _fill(self, remote: httpx.AsyncClient, cart: int) -> None:
        """Do the steps of one cart; one that is not heard of ends it."""
        member = self.members[cart % len(self.members)]
        whose = {"member_id": member["id"]}
        held = await self._send(remote, f"{cart}-hold", "/v1/holds", {**whose, "points": 10})
        if held is None:
            return
        if await self._send(remote, f"{cart}-capture", f"/v1/holds/{held['id']}/capture", {"points": 6}) is None:
            return
        order = await self._send(remote, f"{cart}-order", "/v1/orders", self.orders[cart])
        if order is None:
            return
        back = {"total": {"amount": 400, "currency": "EUR"}}
        if await self._send(remote, f"{cart}-return", f"/v1/orders/{order['id']}/returns", back) is None:
            return
        gift = {"from_member_id": member["id"], "to_member_id": self.partner["id"], "points": GIVEN_TO_PARTNER}
        if await self._send(remote, f"{cart}-gift", "/v1/transfers", gift) is None:
            return
        await self._send(remote, f"{cart}-redeem", "/v1/redemptions", {**whose, "reward_id": self.reward["id"]})

    async def _send(self, remote: httpx.AsyncClient, key: str, path: str, body: Json) -> Json | None:
        """Send one step under its key; what was heard of it before is heard again, and nothing else."""
        headers = {"Authorization": f"Bearer {self.shop.key}", "Idempotency-Key": key}
        try:
            reply = await remote.post(path, json=body, headers=headers)
        except httpx.TransportError:
            return None
        if reply.status_code != 201:
            self.refused.append(reply)
            return None
        first = self.heard.setdefault(key, reply)
        content: Json = reply.json()
        assert content["id"] == first.json()["id"]
        if first is not reply:
            assert reply.headers["idempotency-replayed"] == "true"
            # A hold is shown as it stands, so it has been captured since.
            assert key.endswith("-hold") or reply.content == first.content
        return content

    @property
    def finished(self) -> bool:
        return len(self.heard) == STEPS * self.number

    async def recorded(self, keys: Sequence[str]) -> int:
        """Count the keys that the database has of these."""
        query = "SELECT count(*) FROM idempotency_keys WHERE program_id = :id AND key = ANY(:keys)"
        return await number_of(self.shop, query, keys=list(keys))

    async def assert_each_happened_once(self) -> None:
        assert self.finished
        for table in ("holds", "orders", "order_returns", "transfers", "redemptions"):
            count = f"SELECT count(*) FROM {table} WHERE program_id = :id"  # noqa: S608 -- our own names
            assert await number_of(self.shop, count) == self.number, table
        carts = [len(range(own, self.number, len(self.members))) for own in range(len(self.members))]
        wallets = [await self.shop.wallet(member["id"]) for member in self.members]
        assert [wallet["balance"] for wallet in wallets] == [START + LEFT_BY_A_CART * own for own in carts]
        assert [wallet["held"] for wallet in wallets] == [0] * len(self.members)
        assert (await self.shop.wallet(self.partner["id"]))["balance"] == GIVEN_TO_PARTNER * self.number
        await self.shop.books_hold()


async def fill_carts(shop: Shop, *, number: int, members: int = 8) -> Carts:
    buyers = [await shop.enrol() for _ in range(members)]
    for buyer in buyers:
        await shop.post("/v1/adjustments", {"member_id": buyer["id"], "points": START, "reason": "start"})
    carts = Carts(shop, buyers, await shop.enrol(), await shop.reward(cost=2), number)
    carts.orders = [shop.order_body(10, customer_id=buyers[cart % members]["customer_id"]) for cart in range(number)]
    return carts
