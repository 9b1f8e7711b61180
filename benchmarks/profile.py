"""Where each microsecond of an operation goes: CPU by library, room and function, and every statement.

`python -m benchmarks.profile [operation [clients]]`, an order of one client unless told; written to `profile.txt`.
"""

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import uvloop

from benchmarks.__main__ import HOME
from benchmarks.cost import read_usage
from benchmarks.limit import MEMBERS
from benchmarks.load import Clients, Sample
from benchmarks.operations import OPERATIONS, ORDER, Operation
from benchmarks.report import interpreter, percentile
from benchmarks.servers import Running, watched
from benchmarks.shop import Shop, do, open_shop
from loyalty.core import migrate
from loyalty.core.embedded import Server, remove, serve

TEXT = Path(__file__).with_name("profile.txt")
SECONDS = 20.0
_WARM_TIMES = 300
_FUNCTIONS = 40
_STATEMENT_WIDTH = 150


def main(name: str, clients: int) -> None:
    operation = next(own for own in OPERATIONS if own.name == name)
    remove(HOME)
    with serve(HOME) as server, TemporaryDirectory() as folder:
        migrate.upgrade(server.url)
        kept = Path(folder) / "seen.json"
        with watched("sampling", server.url, kept=kept) as running:
            sample, database_ms = uvloop.run(_drive(server, running, operation, clients=clients))
        heading = (
            f"{operation.name}: {len(sample.latencies_ms)} times by {clients} {'client' if clients == 1 else 'clients'}"
        )
        lines = [heading, *_written(sample, json.loads(kept.read_text()), database_ms=database_ms)]
    remove(HOME)
    TEXT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


async def _drive(server: Server, running: Running, operation: Operation, *, clients: int) -> tuple[Sample, float]:
    """Let clients do it. What waits for one client waits for the database; many show what is done for a group."""
    shop: Shop = await open_shop(server.url, port=running.port, members=MEMBERS)
    if operation.uses_orders:
        await do(shop, partial(ORDER.product, shop), times=5000)
    script = partial(operation.product, shop)
    await do(shop, script, times=_WARM_TIMES, clients=clients)
    await _analyse(server)
    await do(shop, script, times=1)
    os.kill(running.pid, signal.SIGUSR1)
    time.sleep(0.1)  # noqa: ASYNC251 -- nothing else runs here
    before = read_usage(servers=[], postmaster=server.pid)
    done = await Clients(script, ports=[running.port], clients=clients).closed(
        warm=0.0, seconds=SECONDS, snapshot=_nothing
    )
    used = read_usage(servers=[], postmaster=server.pid).since(before)
    assert not done.errors, done.refusal
    return done, 1000 * used.database / len(done.latencies_ms)


async def _analyse(server: Server) -> None:
    """Let plans be made for tables that are not empty, as a worker sees to."""
    connection = await asyncpg.connect(server.url.replace("+asyncpg", ""))
    await connection.execute("ANALYZE")
    await connection.close()


def _nothing() -> None:
    """Take no reading: the server tells of itself."""


def _written(sample: Sample, seen: Mapping[str, Any], *, database_ms: float) -> list[str]:
    times = len(sample.latencies_ms)
    each = 1e6 * seen["cpu_seconds"] / seen["samples"] / times
    own, within = Counter[str](seen["own"]), Counter[str](seen["within"])
    rooms: Counter[str] = Counter()
    for name, count in own.items():
        rooms[_room(name)] += count
    statements = sorted(seen["statements"].items(), key=lambda item: -item[1][1])
    ran = sum(count for _, (count, _) in statements)
    waited = sum(seconds for _, (_, seconds) in statements)
    p50 = percentile(sample.latencies_ms, 0.5)
    cpu = f"server CPU {1e6 * seen['cpu_seconds'] / times:.0f} µs each ({seen['samples']} samples)"
    database = f"database CPU {1000 * database_ms:.0f} µs"
    waits = f"{ran / times:.1f} statements, {1e6 * waited / times:.0f} µs until answered"
    machine = f"{interpreter()}; load {os.getloadavg()[0]:.1f}"
    return [
        f"p50 {p50:.2f} ms; {machine}",
        f"{cpu}, {database}; {waits}",
        "",
        "CPU by library and room, µs each, of what runs there itself",
        *(f"{each * count:9.0f}  {count / seen['samples']:5.1%}  {name}" for name, count in rooms.most_common(30)),
        "",
        "CPU of the product's functions with all that they call, µs each",
        *_top(within, each, only="loyalty."),
        "",
        "CPU of functions by themselves, µs each; what is written in C counts to its caller",
        *_top(own, each),
        "",
        "Statements, by time: times each, µs each time (until answered), µs for each operation",
        *(
            f"{count / times:7.2f} {1e6 * seconds / count:9.0f} {1e6 * seconds / times:9.0f}  {text[:_STATEMENT_WIDTH]}"
            for text, (count, seconds) in statements
            if count / times >= 0.01
        ),
    ]


def _top(found: Counter[str], each: float, *, only: str = "") -> list[str]:
    kept = [(name, count) for name, count in found.most_common() if name.startswith(only)]
    return [f"{each * count:9.0f}  {name}" for name, count in kept[:_FUNCTIONS]]


def _room(name: str) -> str:
    """Return the library, or of the product itself the room."""
    parts = name.partition(":")[0].split(".")
    return ".".join(parts[:2]) if parts[0] == "loyalty" else parts[0]


if __name__ == "__main__":
    asked = sys.argv[1:]
    main(asked[0] if asked else ORDER.name, int(asked[1]) if len(asked) > 1 else 1)
