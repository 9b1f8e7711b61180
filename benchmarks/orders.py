"""Orders over HTTP, against the least that a database must do for one; both in the same run, on the same server.

The floor is one statement a transaction that leaves the least durable facts of an earn: key, entry, lot, wallet.
Figures are requests a second; only their ratio means something on a shared machine. `python -m benchmarks.orders`.
"""

import asyncio
import os
import platform
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx

from loyalty.access import service as access
from loyalty.access.rules import ALL_KEY_SCOPES, KeyKind
from loyalty.core import clock, ids, migrate
from loyalty.core.db import Sessions, create_engine, create_sessions, transaction
from loyalty.core.embedded import remove, serve
from loyalty.core.settings import Settings
from loyalty.demo import program as demo
from loyalty.demo import purchases
from loyalty.earning import authoring
from loyalty.earning.terms import PointsPerAmount, Terms
from loyalty.programs import service as programs
from loyalty.programs.rules import Mode, ProgramRules

CLIENTS = 32
ROUNDS = 3
SECONDS = 4.0
MEMBERS = 500
SECRET = "a secret for a benchmark, worth nothing at all"  # noqa: S105
HOME = Path(".loyalty/bench")

_FLOOR_TABLES = """
DROP SCHEMA IF EXISTS floor CASCADE;
CREATE SCHEMA floor;
CREATE TABLE floor.wallets (id int PRIMARY KEY, balance bigint NOT NULL) WITH (fillfactor = 70);
CREATE TABLE floor.keys (key text PRIMARY KEY);
CREATE TABLE floor.entries (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, wallet int, points bigint);
CREATE TABLE floor.lots (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, wallet int, remaining bigint);
"""
_FLOOR = """
WITH k AS (INSERT INTO floor.keys VALUES ($1)), e AS (INSERT INTO floor.entries (wallet, points) VALUES ($2, 10)),
l AS (INSERT INTO floor.lots (wallet, remaining) VALUES ($2, 10))
UPDATE floor.wallets SET balance = balance + 10 WHERE id = $2
"""


def main() -> None:
    print(f"Python {platform.python_version()} ({platform.python_compiler()}), load {os.getloadavg()[0]:.1f}")
    with serve(HOME) as server:
        migrate.upgrade(server.url)
        settings = Settings(database_url=server.url, secret_key=SECRET)  # type: ignore[arg-type]
        asyncio.run(_compare(settings))
        asyncio.run(_import(settings))
    remove(HOME)


async def _compare(settings: Settings) -> None:
    plain = settings.database_url.replace("+asyncpg", "")
    floor = await asyncpg.create_pool(plain, min_size=CLIENTS, max_size=CLIENTS)
    await floor.execute(_FLOOR_TABLES)
    await floor.execute("INSERT INTO floor.wallets SELECT n, 0 FROM generate_series(0, $1::int - 1) AS n", MEMBERS)
    engine = create_engine(settings)
    key = await _open(create_sessions(engine))
    await engine.dispose()
    port = _free_port()
    environment = {**os.environ, "LOYALTY_DATABASE_URL": settings.database_url, "LOYALTY_SECRET_KEY": SECRET}
    process = subprocess.Popen([sys.executable, "-m", "loyalty", "serve", "--port", str(port)], env=environment)  # noqa: ASYNC220
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}, timeout=60
    ) as client:
        await _ready(client)
        customers = [await _enrol(client, number) for number in range(MEMBERS)]
        least, product = [], []
        for _ in range(ROUNDS):
            least.append(await _rate(lambda n: floor.execute(_FLOOR, uuid4().hex, n % MEMBERS)))
            product.append(await _rate(lambda n: _order(client, customers[n % MEMBERS])))
    process.terminate()
    process.wait()
    await floor.close()
    low, own = statistics.median(least), statistics.median(product)
    print(f"floor, one statement     {low:8.0f}/s  (of {ROUNDS} rounds, {CLIENTS} clients)")
    print(f"order over HTTP          {own:8.0f}/s  ratio to the floor {own / low:.3f}")


async def _import(settings: Settings) -> None:
    """Import the demonstration's purchases."""
    engine = create_engine(settings)
    sessions = create_sessions(engine)
    os.environ["LOYALTY_HOME"] = str(HOME)
    began = time.perf_counter()
    await demo.prepare(sessions, progress=lambda _: None)
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"import of {purchases.ORDERS} orders  {took:6.1f} s, {purchases.ORDERS / took:.0f}/s, peak {peak} MiB")
    await engine.dispose()


async def _rate(work: Callable[[int], Awaitable[object]]) -> float:
    """Return calls a second of as many clients as there are, each waiting for its answer."""
    numbers = count()
    done = 0
    ends = time.perf_counter() + SECONDS

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < ends:
            await work(next(numbers))
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CLIENTS)))
    return done / (time.perf_counter() - began)


async def _order(client: httpx.AsyncClient, customer: str) -> None:
    lines = [{"sku": f"s{n}", "total": {"amount": 1000 + n, "currency": "EUR"}} for n in range(3)]
    body = {"external_id": uuid4().hex, "customer_id": customer, "currency": "EUR", "lines": lines}
    reply = await client.post("/v1/orders", json=body, headers={"Idempotency-Key": uuid4().hex})
    assert reply.status_code == 201, reply.text


async def _enrol(client: httpx.AsyncClient, number: int) -> str:
    body = {"external_id": f"customer-{number}"}
    reply = await client.post("/v1/members", json=body, headers={"Idempotency-Key": uuid4().hex})
    return str(reply.json()["customer_id"])


async def _open(sessions: Sessions) -> str:
    async with transaction(sessions) as session:
        program = await programs.create(
            session,
            slug=f"bench-{ids.encode(ids.new())}",
            name="Bench",
            mode=Mode.TEST,
            rules=ProgramRules(currencies=("EUR",), time_zone="UTC"),
            clock_at=None,
            actor="bench",
            now=clock.now(),
        )
        await authoring.create(
            session,
            program_id=program.id,
            name="base",
            terms=Terms("points", PointsPerAmount(1, {"EUR": 100})),
            active_from=clock.now(),
            active_until=None,
            actor="bench",
            now=clock.now(),
        )
        _, key = await access.create_key(
            session,
            program=program,
            kind=KeyKind.SECRET,
            name="bench",
            scopes=frozenset(),
            maker_scopes=ALL_KEY_SCOPES,
            expires_at=None,
            real_now=clock.now(),
        )
    return key


async def _ready(client: httpx.AsyncClient) -> None:
    for _ in range(600):
        try:
            if (await client.get("/health/ready")).status_code == 200:
                return
        except httpx.TransportError:
            await asyncio.sleep(0.05)
    raise AssertionError("the server did not start")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
