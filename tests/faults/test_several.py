"""Two servers and two workers on one database, one of each killed amid work: everything happens once."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from tests.faults.servers import application, command, database, loyalty, number_of, server, until
from tests.shop import Json, Shop, open_shop

from loyalty.core.settings import Settings

_SHOPPERS: Final = 60
_AT_ONCE: Final = 8
_STEPS: Final = 4
_LEFT: Final = 10 - 2
"""An order of ten points less a redemption of two; the hold of four is forgotten, and expires."""


async def test_one_of_two_servers_and_one_of_two_workers_die_and_everything_has_happened_once(
    server_url: str, settings: Settings
) -> None:
    async with database(server_url, settings) as own, application(own) as (client, app):
        shop = await open_shop(client, app)
        async with server(own) as (first, one), server(own) as (_, two):
            crowd = Crowd(shop, [one, two], await shop.reward(cost=2))
            with loyalty(own, "worker") as worker, loyalty(own, "worker"):
                await until(lambda: _is_worked_for(shop))
                shopping = asyncio.create_task(crowd.shop_all())
                await until(crowd.is_half_way)
                assert not shopping.done()
                first.kill()
                worker.kill()
                await shopping
                worker.wait()
                with loyalty(own, "worker"):
                    await _let_a_day_pass(shop)
                    await until(lambda: _nothing_waits(shop))
            assert crowd.lost > 0
        await _assert_everything_happened_once(shop, crowd.members)
        assert "wallets hold" in await command(own, "ledger", "verify", "--program", shop.program.slug)


@dataclass
class Crowd:
    """Shoppers whose every write goes to all servers at the same time, under one key."""

    shop: Shop
    servers: list[httpx.AsyncClient]
    reward: Json
    members: list[Json] = field(default_factory=list)
    heard: int = 0
    lost: int = 0

    async def shop_all(self) -> None:
        waiting = iter(range(_SHOPPERS))

        async def work() -> None:
            for shopper in waiting:
                await self._shop(shopper)

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))

    async def is_half_way(self) -> bool:
        return self.heard >= _SHOPPERS * _STEPS // 2

    async def _shop(self, shopper: int) -> None:
        name = f"shopper-{shopper}"
        member = await self._send(f"{name}-enrols", "/v1/members", {"external_id": name})
        self.members.append(member)
        whose = {"member_id": member["id"]}
        await self._send(f"{name}-buys", "/v1/orders", self.shop.order_body(10, external_customer_id=name))
        await self._send(f"{name}-holds", "/v1/holds", {**whose, "points": 4, "expires_in_seconds": 60})
        await self._send(f"{name}-redeems", "/v1/redemptions", {**whose, "reward_id": self.reward["id"]})

    async def _send(self, key: str, path: str, body: Json) -> Json:
        """Send a write everywhere until it is heard of: one thing, of which at most one answer is the first."""
        while True:
            replies = await asyncio.gather(*(self._ask(remote, key, path, body) for remote in self.servers))
            made = [reply for reply in replies if reply is not None]
            if made:
                break
        assert {reply.status_code for reply in made} == {201}, [reply.text for reply in made]
        assert len({reply.content for reply in made}) == 1
        assert sum("idempotency-replayed" not in reply.headers for reply in made) <= 1
        self.heard += 1
        content: Json = made[0].json()
        return content

    async def _ask(self, remote: httpx.AsyncClient, key: str, path: str, body: Any) -> httpx.Response | None:
        """Send a write to one server; None if it is dead, or the other one takes longer with it than is waited for."""
        headers = {"Authorization": f"Bearer {self.shop.key}", "Idempotency-Key": key}
        try:
            reply = await remote.post(path, json=body, headers=headers)
        except httpx.TransportError:
            self.lost += 1
            return None
        busy = reply.status_code in {409, 503} and reply.json()["code"] in {"request_in_progress", "busy"}
        return None if busy else reply


async def _let_a_day_pass(shop: Shop) -> None:
    """Move the program's clock past all holds, and let every job be due, also what the dead worker had taken."""
    assert await number_of(shop, "UPDATE programs SET clock_at = '2026-01-02Z' WHERE id = :id RETURNING 1") == 1
    due = "UPDATE jobs SET run_at = '2026-01-01Z', leased_until = NULL WHERE program_id = :id"
    assert await number_of(shop, f"WITH due AS ({due} RETURNING 1) SELECT count(*) FROM due") > 0  # noqa: S608


async def _is_worked_for(shop: Shop) -> bool:
    """Tell whether a worker has found the program."""
    return await number_of(shop, "SELECT count(*) FROM jobs WHERE program_id = :id") > 0


async def _nothing_waits(shop: Shop) -> bool:
    live = "SELECT count(*) FROM holds WHERE program_id = :id AND ended_at IS NULL"
    unnumbered = "SELECT count(*) FROM events WHERE program_id = :id AND number IS NULL"
    return [await number_of(shop, query) for query in (live, unnumbered)] == [0, 0]


async def _assert_everything_happened_once(shop: Shop, members: list[Json]) -> None:
    assert len({member["id"] for member in members}) == _SHOPPERS
    for table in ("members", "orders", "order_counts", "redemptions", "holds", "wallets"):
        count = f"SELECT count(*) FROM {table} WHERE program_id = :id"  # noqa: S608 -- our own names
        assert await number_of(shop, count) == _SHOPPERS, table
    for kind in ("earn", "hold", "release", "spend"):
        entries = "SELECT count(*) FROM entries WHERE program_id = :id AND kind = :kind"
        assert await number_of(shop, entries, kind=kind) == _SHOPPERS, kind
    for member in members:
        wallet = await shop.wallet(member["id"])
        assert (wallet["balance"], wallet["held"]) == (_LEFT, 0)
    events = await number_of(shop, "SELECT count(*) FROM events WHERE program_id = :id")
    assert await number_of(shop, "SELECT count(DISTINCT number) FROM events WHERE program_id = :id") == events
    assert await number_of(shop, "SELECT max(number) FROM events WHERE program_id = :id") == events
    await shop.books_hold()
