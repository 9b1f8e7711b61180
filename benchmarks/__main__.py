"""Measure the product against the limit and a hand-written baseline: `make bench`, or `python -m benchmarks --help`."""

import argparse
import os
import time
from pathlib import Path

import uvloop

from benchmarks import report
from benchmarks.bench import CORES, FULL, MANY, QUICK, Bench, Plan, assembled
from benchmarks.cost import resident_mib
from benchmarks.imports import import_purchases
from benchmarks.memory import after_orders
from benchmarks.operations import OPERATIONS
from benchmarks.report import Figure
from loyalty.core import migrate
from loyalty.core.embedded import Server, remove, serve

HOME = Path(".loyalty/bench")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer clients, one short round: under 3 minutes")
    parser.add_argument("--orders", type=int, help="only place so many orders and tell what the server's memory is")
    asked = parser.parse_args()
    remove(HOME)  # left behind by a run that was killed
    (HOME / "demo.json").unlink(missing_ok=True)
    with serve(HOME) as server:
        migrate.upgrade(server.url)
        if asked.orders:
            uvloop.run(_remember(server, asked.orders))
        else:
            uvloop.run(_measure(server, QUICK if asked.quick else FULL))
    (HOME / "demo.json").unlink(missing_ok=True)
    remove(HOME)


async def _measure(server: Server, plan: Plan) -> None:
    began, load = time.monotonic(), os.getloadavg()[0]
    async with assembled(server, plan) as bench:
        await bench.turns()
        await bench.arrivals()
        resident = resident_mib(bench.alone.pid)
        version = await bench.database.admin.fetchval("SHOW server_version")
    found, brought = report.figures(bench.runs), "import: left out of a quick run"
    if plan.imports:
        imported = import_purchases(server.url, home=HOME)
        found.append(Figure("import", report.PRODUCT, 1, 1, round(imported.rps, 1), None, None, 0, None, None))
        brought = f"import of {imported.orders} orders: {imported.rps:.0f}/s, peak {imported.peak_mib} MiB"
    lines = [
        *_heading(bench, plan, version=version, load=load),
        "",
        *report.table(bench.runs),
        "",
        brought,
        f"memory of a server process: {bench.resident_at_first:.0f} MiB at first, {resident:.0f} MiB at the end",
        *(f"refused, {name}: {why}" for name, why in bench.refusals.items()),
        f"{time.monotonic() - began:.0f} s in all",
    ]
    report.write(found, lines)
    print("\n".join(lines))


def _heading(bench: Bench, plan: Plan, *, version: str, load: float) -> list[str]:
    others = sorted(run.others_share for _, run in bench.runs)
    median, most = (100 * (report.percentile(others, share) or 0.0) for share in (0.5, 1.0))
    rounds = (
        f"{plan.rounds} rounds, medians" if plan.rounds > 1 else "one round (quick: fewer clients, shorter windows)"
    )
    limit = "pgbench -M prepared" if bench.database.pgbench else "no pgbench found: asyncpg, whose own cost is in it"
    windows = f"windows of {plan.few[1]} s ({plan.many[1]} s from {MANY} clients on), {plan.open_seconds} s open loop"
    return [
        f"{report.interpreter()}; PostgreSQL {version}, synchronous_commit on",
        f"{CORES} cores for clients, servers and database together; load {load:.1f} at first",
        f"others used {median:.0f} % of the machine in the median window, {most:.0f} % at most",
        f"{rounds}; {windows}",
        f"{len(OPERATIONS)} operations, clients {', '.join(map(str, plan.clients))}",
        f"limit: {limit}; baseline x1: FastAPI and the ORM, one worker; product xN: N server processes",
        "server, database, clients: CPU ms an operation; open loop: Poisson arrivals at half of the system's most",
    ]


async def _remember(server: Server, orders: int) -> None:
    print(f"{report.interpreter()}, load {os.getloadavg()[0]:.1f}")
    async for done, resident, rate in after_orders(server, orders):
        print(f"{done:>9} orders {resident:>8.1f} MiB {rate:>7.0f}/s", flush=True)


if __name__ == "__main__":
    main()
