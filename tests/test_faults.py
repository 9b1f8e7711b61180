"""The server is killed in mid-stream: nothing acknowledged is lost, and a replay counts each order once."""

import asyncio

import httpx
from litestar import Litestar
from tests.faults.servers import server
from tests.shop import Json, Shop, open_shop

from loyalty.core.settings import Settings

_ORDERS = 300
_AT_ONCE = 16


async def test_a_killed_server_loses_and_doubles_nothing(
    settings: Settings, app: Litestar, client: httpx.AsyncClient
) -> None:
    shop = await open_shop(client, app)
    member = await shop.enrol()
    bodies = [shop.order_body(1 + number % 7, customer_id=member["customer_id"]) for number in range(_ORDERS)]
    acknowledged: set[str] = set()

    async with server(settings) as (process, remote):
        enough = asyncio.Event()
        stream = asyncio.create_task(_stream(shop, remote, bodies, acknowledged, enough=enough))
        stream.add_done_callback(lambda _: enough.set())
        await enough.wait()
        process.kill()
        await stream
    assert _ORDERS // 4 <= len(acknowledged) < _ORDERS

    recorded = await _recorded(shop)
    assert acknowledged <= recorded
    async with server(settings) as (_, remote):
        again: set[str] = set()
        await _stream(shop, remote, bodies, again)
    assert again == {body["external_id"] for body in bodies} == await _recorded(shop)
    assert (await shop.wallet(member["id"]))["balance"] == sum(1 + number % 7 for number in range(_ORDERS))
    await shop.books_hold()


async def _stream(
    shop: Shop,
    remote: httpx.AsyncClient,
    bodies: list[Json],
    acknowledged: set[str],
    *,
    enough: asyncio.Event | None = None,
) -> None:
    """Post all orders, several at once, each under its own key; `enough` is set at a quarter. A lost server ends it."""
    waiting = iter(bodies)

    async def post() -> None:
        for body in waiting:
            headers = {"Authorization": f"Bearer {shop.key}", "Idempotency-Key": body["external_id"]}
            try:
                reply = await remote.post("/v1/orders", json=body, headers=headers)
            except httpx.TransportError:
                return
            assert reply.status_code == 201, reply.text
            acknowledged.add(body["external_id"])
            if enough is not None and len(acknowledged) >= _ORDERS // 4:
                enough.set()

    await asyncio.gather(*(post() for _ in range(_AT_ONCE)))


async def _recorded(shop: Shop) -> set[str]:
    found, cursor = set(), ""
    while True:
        page = await shop.get(f"/v1/orders?limit=100{cursor}")
        found |= {order["external_id"] for order in page["data"]}
        if not page["has_more"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"
