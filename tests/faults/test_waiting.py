"""Nobody waits for ever: locks, slow statements and a full pool are answered, change nothing, and pass."""

import asyncio
from collections import Counter
from typing import Final

import asyncpg
import httpx
import pytest
from litestar import Litestar
from sqlalchemy.pool import QueuePool
from tests.faults.deeds import DEEDS, prepare
from tests.faults.servers import application, database, lock_waiters, locked_wallet, until
from tests.points.test_concurrency import outcomes
from tests.shop import Shop, open_shop

from loyalty.core.settings import Settings

_BOUND_SECONDS: Final = 60
_REFUSED: Final = {"lock_timeout_ms": 100, "statement_timeout_ms": 60_000}
_SLOW: Final = {"lock_timeout_ms": 60_000, "statement_timeout_ms": 300}


@pytest.mark.parametrize("name", DEEDS)
@pytest.mark.parametrize("limits", [_REFUSED, _SLOW], ids=["lock_timeout", "statement_timeout"])
async def test_a_write_that_cannot_have_its_wallet_in_time_is_told_so_and_changes_nothing(
    client: httpx.AsyncClient, app: Litestar, settings: Settings, name: str, limits: dict[str, int]
) -> None:
    shop = await open_shop(client, app)
    deed = await prepare(shop, name)
    async with application(settings, **limits) as (hasty, _):
        impatient = Shop(hasty, shop.sessions, shop.program, shop.key)
        async with asyncio.timeout(_BOUND_SECONDS), locked_wallet(settings, shop, deed.member):
            before = await shop.digest()
            reply = await impatient.send("POST", deed.path, deed.body, key="once")
            assert (reply.status_code, reply.json()["code"], reply.headers["retry-after"]) == (503, "busy", "1")
            assert await shop.digest() == before
        retry = await shop.send("POST", deed.path, deed.body, key="once", expect=201)
    assert "idempotency-replayed" not in retry.headers
    assert (await shop.wallet(deed.member["id"]))["balance"] == deed.balance
    await shop.books_hold()


async def test_a_full_pool_answers_busy_to_everyone_in_time_and_works_again_afterwards(
    client: httpx.AsyncClient, app: Litestar, settings: Settings
) -> None:
    """Two connections, both waiting for a lock, and forty callers."""
    shop = await open_shop(client, app)
    deed = await prepare(shop, "redemption")
    narrow = {"pool_size": 2, "pool_timeout_ms": 300, "lock_timeout_ms": 1_000}
    async with application(settings, **narrow) as (hasty, small):
        crowd = Shop(hasty, shop.sessions, shop.program, shop.key)
        keys = [f"caller-{number}" for number in range(40)]
        async with asyncio.timeout(_BOUND_SECONDS), locked_wallet(settings, shop, deed.member):
            before = await shop.digest()
            replies = await asyncio.gather(*(crowd.send("POST", deed.path, deed.body, key=key) for key in keys))
            assert outcomes(replies) == {(503, "busy"): 40}
            assert {reply.headers["retry-after"] for reply in replies} == {"1"}
            assert await shop.digest() == before
        pool = small.state.sessions.kw["bind"].pool
        assert isinstance(pool, QueuePool)
        assert pool.checkedout() == 0
        after = [await crowd.send("POST", deed.path, deed.body, key=key) for key in keys]
    assert outcomes(after) == {(201, ""): 3, (409, "not_enough_points"): 37}
    assert (await shop.wallet(deed.member["id"]))["balance"] == 10
    await shop.books_hold()


async def test_a_server_out_of_connections_is_busy_until_one_is_free(server_url: str, settings: Settings) -> None:
    async with database(server_url, settings) as own, application(own, pool_size=1) as (client, app):
        shop = await open_shop(client, app)
        deed = await prepare(shop, "adjustment")
        name = own.database_url.rpartition("/")[2]
        admin = await asyncpg.connect(server_url.replace("+asyncpg", ""))
        async with application(own) as (late, waiting):
            outside = Shop(late, shop.sessions, shop.program, shop.key)
            before = await shop.digest()
            await waiting.state.sessions.kw["bind"].dispose()
            await admin.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 1")
            for _ in range(3):
                reply = await outside.send("POST", deed.path, deed.body, key="once")
                assert (reply.status_code, reply.json()["code"], reply.headers["retry-after"]) == (503, "busy", "1")
            await admin.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
            assert await shop.digest() == before
            await outside.send("POST", deed.path, deed.body, key="once", expect=201)
        await admin.close()
        assert (await shop.wallet(deed.member["id"]))["balance"] == deed.balance
        await shop.books_hold()


async def test_a_duplicate_of_a_call_in_flight_hears_that_it_is_worked_on_and_then_its_result(
    client: httpx.AsyncClient, app: Litestar, settings: Settings
) -> None:
    shop = await open_shop(client, app)
    deed = await prepare(shop, "redemption")
    async with application(settings, lock_timeout_ms=100) as (hasty, _), asyncio.timeout(_BOUND_SECONDS):
        impatient = Shop(hasty, shop.sessions, shop.program, shop.key)
        async with locked_wallet(settings, shop, deed.member):
            first = asyncio.create_task(shop.send("POST", deed.path, deed.body, key="once"))
            await until(lambda: _waiting(shop, 1))
            before = await shop.digest()
            duplicate = await impatient.send("POST", deed.path, deed.body, key="once")
            assert (duplicate.status_code, duplicate.json()["code"]) == (409, "request_in_progress")
            assert await shop.digest() == before
        made = await first
        assert made.status_code == 201
        again = await impatient.send("POST", deed.path, deed.body, key="once", expect=201)
    assert (again.content, again.headers["idempotency-replayed"]) == (made.content, "true")
    assert (await shop.wallet(deed.member["id"]))["balance"] == deed.balance
    await shop.books_hold()


async def test_a_duplicate_does_the_work_of_a_first_call_that_gave_up(
    client: httpx.AsyncClient, app: Litestar, settings: Settings
) -> None:
    shop = await open_shop(client, app)
    deed = await prepare(shop, "redemption")
    async with application(settings, lock_timeout_ms=1_000) as (hasty, _), asyncio.timeout(_BOUND_SECONDS):
        impatient = Shop(hasty, shop.sessions, shop.program, shop.key)
        async with locked_wallet(settings, shop, deed.member):
            first = asyncio.create_task(impatient.send("POST", deed.path, deed.body, key="once"))
            await until(lambda: _waiting(shop, 1))
            duplicates = [asyncio.create_task(shop.send("POST", deed.path, deed.body, key="once")) for _ in range(4)]
            # Once the group of the first has given up, a duplicate may have the key while it asks alone.
            assert (await first).status_code in {409, 503}
        replies = await asyncio.gather(*duplicates)
    assert outcomes(replies) == {(201, ""): 4}
    assert Counter(reply.headers.get("idempotency-replayed") for reply in replies) == {None: 1, "true": 3}
    assert (await shop.wallet(deed.member["id"]))["balance"] == deed.balance
    await shop.books_hold()


async def _waiting(shop: Shop, number: int) -> bool:
    return await lock_waiters(shop) == number
