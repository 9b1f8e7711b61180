"""Reports are read from a streaming replica: they say how far it has come, and nothing else depends on it."""

import asyncio
from datetime import datetime
from pathlib import Path

import pytest
from litestar import Litestar
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.faults.replicas import Replica, replica
from tests.faults.servers import application, number_of, until
from tests.shop import Shop, open_shop

from loyalty.core import clock, migrate
from loyalty.core.clock import rfc3339
from loyalty.core.embedded import serve
from loyalty.core.settings import Settings

_METRIC = "/v1/metrics/repeat-purchase-rate"


async def test_reports_are_as_of_what_the_replica_has_and_all_else_works_without_it(
    home: Path, settings: Settings
) -> None:
    with serve(home) as primary:
        await asyncio.to_thread(migrate.upgrade, primary.url)
        with replica(home, primary) as follower:
            urls = {"database_url": primary.url, "reports_database_url": follower.url}
            async with application(settings, **urls) as (client, app):
                shop = await open_shop(client, app)
                follows_the_real_clock = "UPDATE programs SET clock_at = NULL WHERE id = :id RETURNING 1"
                assert await number_of(shop, follows_the_real_clock) == 1
                await _reads_there_and_writes_nothing(app, follower)
                await _tells_how_far_the_replica_has_come(shop, follower)
                await _answers_all_else_while_it_is_away(shop, follower)


async def _reads_there_and_writes_nothing(app: Litestar, follower: Replica) -> None:
    async with app.state.reports() as session:
        shown = await session.execute(text("SELECT inet_server_port(), pg_is_in_recovery()"))
        assert tuple(shown.one()) == (follower.port, True)
        with pytest.raises(DBAPIError, match="read-only transaction"):
            await session.execute(text("DELETE FROM programs"))


async def _tells_how_far_the_replica_has_come(shop: Shop, follower: Replica) -> None:
    member = await shop.enrol()
    revoked = await shop.post("/v1/keys", {"kind": "secret", "name": "manager"})
    await shop.order(100, customer_id=member["customer_id"])
    await until(lambda: _issues(shop, 100))
    assert (await shop.get(_METRIC, bearer=revoked["secret"]))["denominator"] == 0

    async with follower.superuser() as admin:
        await admin.execute("SELECT pg_wal_replay_pause()")
        await until(lambda: _is_paused(follower))
        paused = clock.now()
        await shop.order(50, customer_id=member["customer_id"])
        assert (await shop.wallet(member["id"]))["balance"] == 150
        for path in ("/v1/ledger/roll-forward", "/v1/ledger/cohorts", _METRIC):
            assert datetime.fromisoformat((await shop.get(path))["as_of"]) <= paused, path
        first = await shop.get("/v1/ledger/roll-forward")
        assert (first["months"][-1]["issued"], first["holds"]) == (100, True)
        later = rfc3339(clock.now()).replace("+", "%2B")
        refused = await shop.send("GET", f"{_METRIC}?as_of={later}")
        assert (refused.status_code, refused.json()["code"]) == (400, "as_of_not_available")
        assert refused.json()["data"]["now"] <= first["as_of"]

        await shop.post(f"/v1/keys/{revoked['key']['id']}/ending", {}, expect=200)
        assert (await shop.send("GET", _METRIC, bearer=revoked["secret"])).status_code == 401
        await admin.execute("SELECT pg_wal_replay_resume()")
    await until(lambda: _issues(shop, 150))


async def _answers_all_else_while_it_is_away(shop: Shop, follower: Replica) -> None:
    await asyncio.to_thread(follower.stop)
    for path in ("/v1/ledger/roll-forward", "/v1/ledger/cohorts", _METRIC):
        reply = await shop.send("GET", path)
        assert (reply.status_code, reply.json()["code"]) == (503, "reports_unavailable")
        assert reply.headers["retry-after"] == "1"
    assert (await shop.client.get("/health/ready")).status_code == 200
    await shop.order()
    assert (await shop.get("/v1/ledger/seals/verification"))["holds"]
    await shop.books_hold()


async def _issues(shop: Shop, points: int) -> bool:
    reply = await shop.send("GET", "/v1/ledger/roll-forward")
    return reply.status_code == 200 and bool(reply.json()["months"][-1]["issued"] == points)


async def _is_paused(follower: Replica) -> bool:
    async with follower.superuser() as admin:
        return bool(await admin.fetchval("SELECT pg_get_wal_replay_pause_state()") == "paused")
