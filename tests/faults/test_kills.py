"""Servers, workers and the database itself are killed in mid-work: nothing is lost, nothing happens twice."""

import asyncio
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import asyncpg
import httpx
from litestar import Litestar
from tests.faults.carts import STEPS, Carts, fill_carts
from tests.faults.servers import application, database, lock_waiters, loyalty, number_of, server, until
from tests.shop import Json, Shop, open_shop

from loyalty.core import migrate
from loyalty.core.embedded import serve
from loyalty.core.embedded.postmaster import is_serving
from loyalty.core.settings import Settings

_log = logging.getLogger("tests.faults")
_CARTS = 40
_DUE = 600
_BATCH = 200
_EXPIRED = "SELECT count(*) FROM entries WHERE program_id = :id AND kind = 'expire'"


async def test_a_server_killed_again_and_again_amid_mixed_writes_loses_and_doubles_nothing(
    settings: Settings, app: Litestar, client: httpx.AsyncClient
) -> None:
    carts = await fill_carts(await open_shop(client, app), number=_CARTS)
    for share in (0.3, 0.7):
        async with server(settings) as (process, remote):
            await _run_until(carts, remote, share=share, fault=process.kill)
        assert await carts.recorded(list(carts.heard)) == len(carts.heard)
    began = time.monotonic()
    async with server(settings) as (_, remote):
        _log.info("a server is ready %.2f s after its start", time.monotonic() - began)
        await carts.run(remote)
    assert carts.refused == []
    await carts.assert_each_happened_once()


async def test_a_worker_killed_amid_six_hundred_due_wallets_leaves_each_lot_to_expire_exactly_once(
    server_url: str, settings: Settings
) -> None:
    async with database(server_url, settings) as own, application(own) as (client, app):
        shop = await open_shop(client, app)
        await _fill_due_wallets(shop)
        holder = await asyncpg.connect(own.database_url.replace("+asyncpg", ""))
        try:
            stuck = holder.transaction()
            await stuck.start()
            # The third batch locks its first hundred wallets and then waits: there the worker dies.
            await holder.execute(
                "SELECT 1 FROM wallets WHERE program_id = $1 AND member_id ="
                " (SELECT member_id FROM wallets WHERE program_id = $1 ORDER BY next_due_at, member_id OFFSET 500"
                " LIMIT 1) FOR UPDATE",
                shop.program.id,
            )
            with loyalty(own, "worker") as first:
                await until(lambda: _waits_for_a_lock(shop))
                first.kill()
                first.wait()
            assert await number_of(shop, _EXPIRED) == 2 * _BATCH
            await stuck.rollback()
        finally:
            await holder.close()
        await until(lambda: _nobody_else_is_connected(shop))
        assert await number_of(shop, _EXPIRED) == 2 * _BATCH
        await shop.books_hold()

        await _end_leases(shop)
        with loyalty(own, "worker"), loyalty(own, "worker"):
            await until(lambda: _all_expired(shop))
        assert await number_of(shop, _EXPIRED) == _DUE
        once = (
            "SELECT count(DISTINCT member_id) FROM entries WHERE program_id = :id AND kind = 'expire' AND points = 10"
        )
        assert await number_of(shop, once) == _DUE
        allocated = "SELECT count(DISTINCT lot_id) FROM allocations WHERE program_id = :id AND points = -10"
        assert await number_of(shop, allocated) == _DUE
        assert await number_of(shop, "SELECT sum(available)::bigint FROM wallets WHERE program_id = :id") == 0
        await shop.books_hold()


async def _fill_due_wallets(shop: Shop) -> None:
    """Make six hundred members with ten points each that have ended, while no job looked."""
    await shop.send("PATCH", "/v1/program", {"expiry": {"kind": "after", "days": 1}}, expect=200)
    lines = [{"sku": "shirt", "total": {"amount": 1000, "currency": "EUR"}}]
    for begin in range(0, _DUE, 300):
        records: list[Json] = []
        for number in range(begin, begin + 300):
            who = {"external_customer_id": f"due-{number}", "at": "2026-01-01T12:00:00Z"}
            records += [
                {"kind": "enrolment", **who},
                {"kind": "order", "external_id": f"due-{number}", **who, "currency": "EUR", "lines": lines},
            ]
        await shop.post("/v1/imports", {"records": records})
    await number_of(shop, "UPDATE programs SET clock_at = '2026-02-01Z' WHERE id = :id RETURNING 1")


async def _waits_for_a_lock(shop: Shop) -> bool:
    return await lock_waiters(shop) == 1


async def _nobody_else_is_connected(shop: Shop) -> bool:
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        " AND state <> 'idle' AND pid <> pg_backend_pid() AND CAST(:id AS uuid) IS NOT NULL"
    )
    return await number_of(shop, query) == 0


async def _end_leases(shop: Shop) -> None:
    """Let five minutes pass for the job that the dead worker had taken."""
    past = "UPDATE jobs SET leased_until = now() WHERE program_id = :id AND name = 'settle_wallets' RETURNING 1"
    assert await number_of(shop, past) == 1


async def _all_expired(shop: Shop) -> bool:
    return await number_of(shop, _EXPIRED) == _DUE


async def test_a_killed_postgresql_keeps_what_was_acknowledged_and_the_server_recovers_without_a_restart(
    home: Path, settings: Settings
) -> None:
    with serve(home) as postgres:
        own = settings.model_copy(update={"database_url": postgres.url})
        await asyncio.to_thread(migrate.upgrade, postgres.url)
        async with application(own) as (client, app), server(own) as (_, remote):
            carts = await fill_carts(await open_shop(client, app), number=_CARTS)
            visitor = await carts.shop.enrol()
            await _run_until(carts, remote, share=0.4, fault=lambda: _kill(postgres.pid, postgres.data_folder))
            killed = time.monotonic()
            answers = asyncio.create_task(_knock(carts.shop, remote, visitor))
            with serve(home) as again:
                _log.info("PostgreSQL answers %.2f s after its death", time.monotonic() - killed)
                assert (again.url, again.pid == postgres.pid) == (postgres.url, False)
                refused = await asyncio.wait_for(answers, timeout=60)
                _log.info("the first write is taken %.2f s after it", time.monotonic() - killed)
                await until(lambda: _is_ready(client))
                assert await carts.recorded(list(carts.heard)) == len(carts.heard)
                carts.refused.extend(refused)
                assert Counter((reply.status_code, reply.json()["code"]) for reply in carts.refused).keys() == {
                    (503, "busy")
                }
                assert {reply.headers["retry-after"] for reply in carts.refused} == {"1"}
                async with asyncio.timeout(60):
                    while not carts.finished:
                        await carts.run(remote)
                await carts.assert_each_happened_once()
                assert (await carts.shop.wallet(visitor["id"]))["balance"] == 1


async def _run_until(carts: Carts, remote: httpx.AsyncClient, *, share: float, fault: Callable[[], None]) -> None:
    """Send carts until this share of their steps was heard of, then let the fault happen in mid-stream."""
    wanted, cut = share * _CARTS * STEPS, asyncio.Event()
    stream = asyncio.create_task(carts.run(remote, enough=lambda: len(carts.heard) >= wanted, cut=cut))
    stream.add_done_callback(lambda _: cut.set())
    await cut.wait()
    assert not stream.done(), [reply.text for reply in carts.refused]
    fault()
    await stream
    assert wanted <= len(carts.heard) < _CARTS * STEPS


def _kill(postmaster: int, data: Path) -> None:
    """Kill the postmaster and every process that it has started, all at once."""
    children = [
        int(folder.name)
        for folder in Path("/proc").iterdir()
        if folder.name.isdigit() and _parent_of(folder) == postmaster
    ]
    assert is_serving(postmaster, data)
    for pid in (postmaster, *children):
        os.kill(pid, signal.SIGKILL)


def _parent_of(folder: Path) -> int | None:
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


async def _knock(shop: Shop, remote: httpx.AsyncClient, member: Json) -> list[httpx.Response]:
    """Send one write again and again under one key until it is taken; return the refusals before that."""
    refused: list[httpx.Response] = []
    body = {"member_id": member["id"], "points": 1, "reason": "knock"}
    headers = {"Authorization": f"Bearer {shop.key}", "Idempotency-Key": "knock"}
    while True:
        reply = await remote.post("/v1/adjustments", json=body, headers=headers)
        if reply.status_code == 201:
            return refused
        refused.append(reply)
        await asyncio.sleep(0.02)


async def _is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/health/ready")).status_code == 200
