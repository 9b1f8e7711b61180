"""One run: every operation on every system, taking turns on one PostgreSQL."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import asyncpg
from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from benchmarks import baseline, limit, servers
from benchmarks.cost import Usage, folder_of, read_usage, resident_mib
from benchmarks.limit import Database, Limit, find_pgbench
from benchmarks.load import Clients, Sample
from benchmarks.operations import OPERATIONS, ORDER, QUOTE, BaselineScript, Operation
from benchmarks.report import BASELINE, LIMIT, OPEN_LOOP, PRODUCT, Cell, Run, read_run
from benchmarks.servers import Running
from benchmarks.shop import Shop, do, open_shop
from loyalty.core import statistics
from loyalty.core.db import Sessions
from loyalty.core.embedded import Server

CORES = os.cpu_count() or 1
MANY = 100
"""From so many clients on, the first replies come late, and the window is longer."""
_OPEN_CLIENTS = 64
_OPEN_LIMIT_CLIENTS = 32
_OPEN_SHARE = 0.5
_RETURNABLE = 100
_WARM_CLIENTS = 10  # as many as a server has connections
_WARM_TIMES = 20


@dataclass(frozen=True)
class Plan:
    """How much is measured; seconds of warming and of a window, with few clients and with many."""

    rounds: int
    clients: tuple[int, ...]
    few: tuple[float, float]
    many: tuple[float, float]
    open_seconds: float
    members: int
    imports: bool

    def window(self, clients: int) -> tuple[float, float]:
        return self.many if clients >= MANY else self.few


FULL = Plan(
    rounds=3, clients=(1, 8, 32, 128), few=(0.3, 1.4), many=(0.6, 2.1), open_seconds=10.0, members=1000, imports=True
)
QUICK = Plan(rounds=1, clients=(32,), few=(0.3, 1.4), many=(0.6, 2.1), open_seconds=2.5, members=100, imports=False)


@dataclass
class Bench:
    """The systems, all running."""

    plan: Plan
    server: Server
    database: Database
    alone: Running
    pair: tuple[Running, Running]
    by_hand: Running
    shop: Shop
    analysts: Sequence[Sessions]
    resident_at_first: float
    runs: list[tuple[Cell, Run]] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)

    async def turns(self) -> None:
        """Measure all closed loops, the systems of an operation one right after the other."""
        for _ in range(self.plan.rounds):
            for wanted in self.plan.clients:
                for operation in OPERATIONS:
                    clients = min(wanted, operation.most_clients)
                    if clients < wanted and clients in self.plan.clients:
                        continue
                    await self._limit(operation.name, operation.limit, clients=clients)
                    if operation.baseline:
                        await self._baseline(operation.name, operation.baseline, clients=clients)
                    await self._product(operation, [self.alone], clients=clients)
                    if clients > 1:
                        await self._product(operation, self.pair, clients=clients)

    async def arrivals(self) -> None:
        """Measure open loops at half of each system's own most."""
        for operation in (QUOTE, ORDER):
            name = operation.name + OPEN_LOOP
            if self.database.pgbench:
                rate = self._half_of_most(operation.name, LIMIT)
                await self._limit(name, operation.limit, clients=_OPEN_LIMIT_CLIENTS, rate=rate)
            if operation.baseline:
                rate = self._half_of_most(operation.name, BASELINE)
                await self._baseline(name, operation.baseline, clients=_OPEN_CLIENTS, rate=rate)
            rate = self._half_of_most(operation.name, PRODUCT, workers=1)
            await self._product(operation, [self.alone], clients=_OPEN_CLIENTS, rate=rate, name=name)

    async def _limit(self, name: str, least: Limit, *, clients: int, rate: float | None = None) -> None:
        warm, seconds = self._window(clients, rate)
        meter = _Meter(self.server.pid, [])
        sample = await self.database.run(
            least, clients=clients, warm=warm, seconds=seconds, snapshot=meter.read, rate=rate
        )
        self._keep(Cell(name, LIMIT, clients), sample, meter, serves=False)

    async def _baseline(self, name: str, script: BaselineScript, *, clients: int, rate: float | None = None) -> None:
        cell = Cell(name, BASELINE, clients, 1)
        await self._load(cell, Clients(script, ports=[self.by_hand.port], clients=clients), [self.by_hand], rate)

    async def _product(
        self,
        operation: Operation,
        on: Sequence[Running],
        *,
        clients: int,
        rate: float | None = None,
        name: str | None = None,
    ) -> None:
        cell = Cell(name or operation.name, PRODUCT, clients, len(on))
        ports = [server.port for server in on]
        script, needed = partial(operation.product, self.shop), clients + _RETURNABLE
        while True:
            if operation.uses_orders and (lacking := needed - len(self.shop.returnable)) > 0:
                await do(self.shop, partial(ORDER.product, self.shop), times=lacking)
            if await self._load(cell, Clients(script, ports=ports, clients=clients), on, rate, operation.times):
                return
            needed *= 4

    async def _load(
        self, cell: Cell, clients: Clients, on: Sequence[Running], rate: float | None, times: int = 1
    ) -> bool:
        """Measure; false, and nothing kept, where there was too little to do for a whole window."""
        for sessions in self.analysts:
            await statistics.refresh(sessions)
        warm, seconds = self._window(cell.clients, rate)
        meter = _Meter(self.server.pid, [server.pid for server in on])
        if rate is None:
            sample = await clients.closed(warm=warm, seconds=seconds, snapshot=meter.read)
        else:
            sample = await clients.open(rate=rate, warm=warm, seconds=seconds, snapshot=meter.read)
        if clients.exhausted:
            return False
        self._keep(cell, sample, meter, serves=True, times=times)
        return True

    def _window(self, clients: int, rate: float | None) -> tuple[float, float]:
        return self.plan.window(clients) if rate is None else (self.plan.few[0], self.plan.open_seconds)

    def _half_of_most(self, operation: str, system: str, *, workers: int | None = None) -> float:
        """Return half of the most that a system did of an operation, whatever the number of clients."""
        return _OPEN_SHARE * max(
            run.rps
            for cell, run in self.runs
            if (cell.operation, cell.system) == (operation, system) and workers in (None, cell.workers)
        )

    def _keep(self, cell: Cell, sample: Sample, meter: "_Meter", *, serves: bool, times: int = 1) -> None:
        if sample.refusal:
            self.refusals[cell.operation] = f"{cell.system}: {sample.refusal}"
        self.runs.append((cell, read_run(sample, meter.used, cores=CORES, serves=serves, times=times)))


@asynccontextmanager
async def assembled(server: Server, plan: Plan) -> AsyncIterator[Bench]:
    """Run every system on this database, each with as many members of its own."""
    admin = await asyncpg.connect(server.url.replace("+asyncpg", ""))
    assert await admin.fetchval("SHOW synchronous_commit") == "on"
    await admin.execute(limit.TABLES)
    await _make_baseline(server.url)
    with ExitStack() as stack:
        alone, *pair = stack.enter_context(servers.product(server.url, processes=3))
        by_hand = stack.enter_context(servers.baseline(server.url))
        at_first = resident_mib(alone.pid)
        shop = await open_shop(server.url, port=alone.port, members=plan.members)
        database = Database(server.url, find_pgbench(folder_of(server.pid)), admin)
        await _warm(shop, [alone, *pair])
        await admin.execute("ANALYZE")
        analysts = [_in_schema(server.url, schema) for schema in ("public", baseline.SCHEMA)]
        yield Bench(plan, server, database, alone, (pair[0], pair[1]), by_hand, shop, analysts, at_first)
    await admin.close()


def _in_schema(url: str, schema: str) -> Sessions:
    """Let tables be analysed as a worker does, those of the baseline too; no connection is kept meanwhile."""
    settings = {"server_settings": {"search_path": schema}}
    return async_sessionmaker(create_async_engine(url, poolclass=NullPool, connect_args=settings))


async def _warm(shop: Shop, servers: Sequence[Running]) -> None:
    """Open every connection and prepare every statement on it, so that the first window is like the others."""
    for operation in OPERATIONS:
        for running in servers:
            await do(
                shop,
                partial(operation.product, shop),
                times=max(1, _WARM_TIMES // operation.times),
                clients=_WARM_CLIENTS,
                port=running.port,
            )


async def _make_baseline(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"CREATE SCHEMA {baseline.SCHEMA}")
        await connection.run_sync(baseline.Row.metadata.create_all)
        members = f"generate_series(1, {limit.MEMBERS})"
        await connection.exec_driver_sql(f"INSERT INTO {baseline.SCHEMA}.wallets SELECT n, {2**30}, 0 FROM {members} n")
    await engine.dispose()


class _Meter:
    """CPU used between the two moments at which it is read."""

    def __init__(self, postmaster: int, servers: Sequence[int]) -> None:
        self._postmaster = postmaster
        self._servers = servers
        self._seen: list[Usage] = []

    def read(self, clients: int | None = None) -> None:
        self._seen.append(read_usage(servers=self._servers, postmaster=self._postmaster, clients=clients))

    @property
    def used(self) -> Usage:
        *_, first, last = self._seen  # of the last try
        return last.since(first)
