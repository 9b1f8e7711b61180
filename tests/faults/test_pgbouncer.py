"""PgBouncer in transaction mode stands between, with fewer connections than callers: everything works as without."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final

import asyncpg
import httpx
import pytest
from sqlalchemy.exc import DBAPIError
from tests.faults.bouncers import PROGRAM, SERVER_CONNECTIONS, bouncer
from tests.faults.carts import fill_carts
from tests.faults.deeds import prepare
from tests.faults.servers import application, command, database, locked_wallet, loyalty, number_of, server, until
from tests.shop import Json, Shop, open_shop

from loyalty.core.db import transaction
from loyalty.core.settings import Settings
from loyalty.schedule.service import JOBS

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed here")
_CARTS: Final = 16
_AT_ONCE: Final = 32


@pytest.fixture(scope="module")
def bouncer_url(server_url: str) -> Iterator[str]:
    with bouncer(server_url) as url:
        yield url


@pytest.fixture
async def pooled(bouncer_url: str, settings: Settings) -> AsyncIterator[Settings]:
    """A database made, and brought to this release's schema, through PgBouncer."""
    unprepared = settings.model_copy(update={"prepared_statements": False})
    async with database(bouncer_url, unprepared) as own:
        yield own


async def test_two_servers_and_a_worker_do_a_day_s_work_through_it(pooled: Settings) -> None:
    async with application(pooled) as (client, app), server(pooled) as (_, one), server(pooled) as (_, two):
        shop = await open_shop(client, app)
        carts = await fill_carts(shop, number=_CARTS)
        await carts.run(one)
        await asyncio.gather(carts.run(one), carts.run(two))
        assert carts.refused == []
        await carts.assert_each_happened_once()

        buyer = await shop.enrol()
        await _order_at_once(shop, buyer, [one, two])
        await _order_in_a_batch(Shop(two, shop.sessions, shop.program, shop.key, shop.numbers), buyer)
        reads = ("/v1/metrics/retention-rate", "/v1/ledger/roll-forward", "/v1/ledger/cohorts", "/v1/members")
        for path in reads:
            await shop.get(path)

        with loyalty(pooled, "worker"):
            await until(lambda: _nothing_waits(shop))
        assert (await shop.get("/v1/ledger/seals/verification"))["holds"]
        await shop.books_hold()
        said = await command(pooled, "ledger", "verify", "--program", shop.program.slug)
        assert "wallets hold" in said
        assert await _server_connections(shop) <= SERVER_CONNECTIONS


async def _order_at_once(shop: Shop, buyer: Json, servers: list[httpx.AsyncClient]) -> None:
    """Send many orders of one member at once, each to both servers under one key."""
    bodies = [shop.order_body(10, customer_id=buyer["customer_id"]) for _ in range(_AT_ONCE)]
    headers = [{"Authorization": f"Bearer {shop.key}", "Idempotency-Key": body["external_id"]} for body in bodies]
    pairs = zip(bodies, headers, strict=True)
    sends = [remote.post("/v1/orders", json=body, headers=own) for body, own in pairs for remote in servers]
    replies = await asyncio.gather(*sends)
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.json()["id"] for reply in replies}) == _AT_ONCE
    assert sum(reply.headers.get("idempotency-replayed") == "true" for reply in replies) == _AT_ONCE
    assert (await shop.wallet(buyer["id"]))["balance"] == 10 * _AT_ONCE


async def _order_in_a_batch(shop: Shop, buyer: Json) -> None:
    orders = [shop.order_body(10, customer_id=buyer["customer_id"]) for _ in range(20)]
    reply = await shop.send("POST", "/v1/orders/batch", {"orders": orders}, expect=200)
    assert [own["status"] for own in reply.json()["results"]] == [201] * 20
    assert (await shop.wallet(buyer["id"]))["balance"] == 10 * (_AT_ONCE + 20)


async def _nothing_waits(shop: Shop) -> bool:
    """Whether every event has its number, and every job has run."""
    unnumbered = "SELECT count(*) FROM events WHERE program_id = :id AND number IS NULL"
    ran = "SELECT count(*) FROM jobs WHERE program_id = :id AND last_finished_at IS NOT NULL"
    return (await number_of(shop, unnumbered), await number_of(shop, ran)) == (0, len(JOBS))


async def _server_connections(shop: Shop) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'loyalty'"
    return await number_of(shop, query)


@pytest.mark.parametrize(
    "limits",
    [
        {"lock_timeout_ms": 100, "statement_timeout_ms": 60_000},
        {"lock_timeout_ms": 60_000, "statement_timeout_ms": 300},
    ],
    ids=["lock_timeout", "statement_timeout"],
)
async def test_time_outs_hold_through_it(pooled: Settings, settings: Settings, limits: dict[str, int]) -> None:
    server_url, name = settings.database_url.rpartition("/")[0], pooled.database_url.rpartition("/")[2]
    direct = pooled.model_copy(update={"database_url": f"{server_url}/{name}"})
    async with application(pooled) as (client, app), application(pooled, **limits) as (hasty, _):
        shop = await open_shop(client, app)
        deed = await prepare(shop, "redemption")
        impatient = Shop(hasty, shop.sessions, shop.program, shop.key)
        async with asyncio.timeout(30), locked_wallet(direct, shop, deed.member):
            reply = await impatient.send("POST", deed.path, deed.body, key="once")
        assert (reply.status_code, reply.json()["code"]) == (503, "busy")
        # Whose transaction is next on the same connections has time-outs of its own.
        await shop.send("POST", deed.path, deed.body, key="once", expect=201)


async def test_a_session_s_own_time_outs_are_refused_by_it(pooled: Settings) -> None:
    """Why each transaction sets them."""
    async with application(pooled, prepared_statements=True) as (_, app):
        with pytest.raises((DBAPIError, asyncpg.PostgresError), match="unsupported startup parameter: lock_timeout"):
            async with transaction(app.state.sessions) as session:
                await session.connection()
