"""What a server process keeps after many orders."""

from collections.abc import AsyncIterator
from functools import partial

from benchmarks import servers
from benchmarks.cost import resident_mib
from benchmarks.operations import ORDER
from benchmarks.shop import do, open_shop
from loyalty.core.embedded import Server

CLIENTS = 32
MEMBERS = 1000
_STEPS = 10


async def after_orders(server: Server, orders: int) -> AsyncIterator[tuple[int, float, float]]:
    """Yield after each tenth: orders so far, resident MiB, and orders a second since the last."""
    with servers.product(server.url, processes=1) as (running,):
        shop = await open_shop(server.url, port=running.port, members=MEMBERS)
        yield 0, resident_mib(running.pid), 0.0
        for step in range(1, _STEPS + 1):
            times = orders * step // _STEPS - orders * (step - 1) // _STEPS
            done = await do(shop, partial(ORDER.product, shop), times=times, clients=CLIENTS)
            shop.returnable.clear()
            yield orders * step // _STEPS, resident_mib(running.pid), times / done.seconds
