"""What an operation costs in a larger program, beside many others, and for a member with a long history.

`make flat`, or `python -m benchmarks.flat --help`. What is loaded stays; measuring again begins at once.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import uvloop

from benchmarks import plans, servers, town
from benchmarks.cost import read_usage
from benchmarks.load import Clients, Script
from benchmarks.operations import OPERATIONS, Operation
from benchmarks.plans import Plan, Read
from benchmarks.report import interpreter
from benchmarks.servers import Running
from benchmarks.shop import Shop, do
from benchmarks.town import Sizes, Town, alone_url
from loyalty.core import migrate
from loyalty.core.embedded import Server, serve

HOME = Path(".loyalty/flat")
TEXT = Path(__file__).with_name("flat.txt")
MEASURED = [own for own in OPERATIONS if own.name in {"order", "redemption", "spend with hold", "wallet"}]
ALONE, SMALL, MIDDLE, LARGE, MANY, HOT, AGED = "alone", "small", "middle", "large", "many", "hot", "hot, long history"
ACTIVE = "active of the large"
COMPARED = (
    (SMALL, ALONE),
    (MIDDLE, SMALL),
    (LARGE, SMALL),
    (ACTIVE, SMALL),
    (MANY, SMALL),
    (HOT, ACTIVE),
    (AGED, HOT),
)
"""Each is compared with the other, which differs from it in one thing."""
_CLIENTS = 32
_WARM_SECONDS, _WINDOW_SECONDS = 0.4, 1.6
_WARM_TIMES = 3_000
"""So many orders before the first round: most of the members that are few have been looked at then."""
_COUNTED, _EXPLAINED = 300, 10
_FLUSH_SECONDS = 1.2
"""A session of the database tells what it has read at most once a second."""


@dataclass(frozen=True)
class Group:
    """Whom an operation is done for: any member of any of these shops."""

    name: str
    port: int
    shops: Sequence[Shop]

    def script(self, operation: Operation) -> Callable[[], Script]:
        return lambda: operation.product(random.choice(self.shops))


@dataclass(frozen=True)
class Pages:
    """What one operation by one client touched in the database, references' checks included."""

    buffers: float
    rows: float


@dataclass
class Seen:
    """Rates and database CPU of each round by operation and group, pages, and plans by operation, group and text."""

    rates: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu_ms: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: int = 0
    refusal: str = ""
    pages: dict[tuple[str, str], Pages] = field(default_factory=dict)
    reads: dict[tuple[str, str], dict[str, list[Read]]] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Figure:
    """How a group's operation compares: rates over rates of the same round; the shape of an element of `flat.json`."""

    operation: str
    group: str
    against: str
    rate_ratio: float
    lowest: float
    highest: float
    database_cpu_ratio: float
    buffers: float
    buffers_against: float
    rows: float
    rows_against: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flat", description=__doc__)
    parser.add_argument("--home", type=Path, default=HOME, help="where the data is kept")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only-load", action="store_true")
    for size in fields(Sizes):
        parser.add_argument(f"--{size.name}", type=int, default=size.default)
    asked = parser.parse_args()
    kept = asked.home / "loaded.json"
    asked.home.mkdir(parents=True, exist_ok=True)
    _give_memory(asked.home)
    with serve(asked.home) as server:
        if not kept.exists():
            sizes = Sizes(**{size.name: getattr(asked, size.name) for size in fields(Sizes)})
            town.write(asyncio.run(town.settle(server, sizes)), kept)
        if asked.only_load:
            return
        there = town.read(kept)
        for url in (server.url, alone_url(server)):
            migrate.upgrade(url)
        seen, load = Seen(), os.getloadavg()[0]
        uvloop.run(_measure(server, there, seen, rounds=asked.rounds))
        heading = uvloop.run(_heading(server, there, load=load, rounds=asked.rounds))
    found = figures(seen)
    lines = [*heading, "", *_table(found), "", *_statements(seen)]
    rows = ",\n".join(f"  {json.dumps(asdict(figure))}" for figure in found)
    TEXT.with_suffix(".json").write_text(f"[\n{rows}\n]\n")
    TEXT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _give_memory(home: Path) -> None:
    """Let the server, from its next start on, cache as much as PostgreSQL's documentation advises: a quarter of RAM.

    Its log may grow so far that few checkpoints fall into what is measured.
    """
    quarter_mib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4 // 2**20
    with serve(home) as server:
        settings = f"shared_buffers = '{quarter_mib}MB'\nmax_wal_size = '8GB'\n"
        (server.data_folder / "postgresql.auto.conf").write_text(settings)


async def _measure(server: Server, there: Town, seen: Seen, *, rounds: int) -> None:
    with ExitStack() as stack:
        (inner,) = stack.enter_context(servers.product(server.url, processes=1))
        (outer,) = stack.enter_context(servers.product(alone_url(server), processes=1))
        running = {group.name: (group, own) for group, own in _groups(there, inner, outer)}
        for group, _ in running.values():
            for operation in MEASURED:
                times = _WARM_TIMES if operation.name == "order" else 100
                await do(group.shops[0], group.script(operation), times=times, clients=10, port=group.port)
        for _ in range(rounds):
            for operation in MEASURED:
                for group, own in running.values():
                    await _window(seen, operation, group, server=server, running=own)
        for operation in MEASURED:
            for group, _ in running.values():
                url = alone_url(server) if group.name == ALONE else server.url
                seen.pages[operation.name, group.name] = await _pages(url, operation, group)
    for name in (SMALL, LARGE, AGED):
        for operation in MEASURED:
            await _explain(server, there, seen, operation, name)


def _groups(there: Town, inner: Running, outer: Running) -> Iterator[tuple[Group, Running]]:
    large = there.large.shop(inner.port)
    anybody = len(large.members) // 2
    hot = Shop(inner.port, large.key, [large.members[anybody]], [large.customers[anybody]], rewards=large.rewards)
    yield Group(ALONE, outer.port, [there.alone.shop(outer.port)]), outer
    for name, own in ((SMALL, there.small), (MIDDLE, there.middle), (LARGE, there.large)):
        yield Group(name, inner.port, [own.shop(inner.port)]), inner
    some = random.sample(range(len(large.members)), len(there.small.shop(inner.port).members))
    members, customers = [large.members[one] for one in some], [large.customers[one] for one in some]
    yield Group(ACTIVE, inner.port, [Shop(inner.port, large.key, members, customers, rewards=large.rewards)]), inner
    yield Group(MANY, inner.port, [own.shop(inner.port) for own in there.many]), inner
    yield Group(HOT, inner.port, [hot]), inner
    yield Group(AGED, inner.port, [there.aged.shop(inner.port)]), inner


async def _window(seen: Seen, operation: Operation, group: Group, *, server: Server, running: Running) -> None:
    used = []

    def snapshot() -> None:
        used.append(read_usage(servers=[running.pid], postmaster=server.pid))

    clients = Clients(group.script(operation), ports=[group.port], clients=_CLIENTS)
    sample = await clients.closed(warm=_WARM_SECONDS, seconds=_WINDOW_SECONDS, snapshot=snapshot)
    done = len(sample.latencies_ms)
    seen.rates[operation.name, group.name].append(done / sample.seconds)
    seen.cpu_ms[operation.name, group.name].append(1000 * used[1].since(used[0]).database / max(done, 1))
    seen.errors += sample.errors
    seen.refusal = sample.refusal or seen.refusal


async def _pages(url: str, operation: Operation, group: Group) -> Pages:
    """Count what the database touches; a session tells of it with the first transaction a second later."""
    admin = await asyncpg.connect(url.replace("+asyncpg", ""))

    async def some(times: int) -> None:
        await do(group.shops[0], group.script(operation), times=times, clients=1, port=group.port)

    async def told() -> asyncpg.Record:
        await asyncio.sleep(_FLUSH_SECONDS)
        await some(_EXPLAINED * 2)  # on each connection
        return await admin.fetchrow(_TOUCHED)

    before = await told()
    await some(_COUNTED)
    after = await told()
    await admin.close()
    done = _COUNTED + _EXPLAINED * 2
    return Pages(*(round(float(now - then) / done, 1) for now, then in zip(after, before, strict=True)))


_TOUCHED = """
SELECT blks_hit + blks_read, tup_returned FROM pg_stat_database WHERE datname = current_database()
"""


async def _explain(server: Server, there: Town, seen: Seen, operation: Operation, name: str) -> None:
    with TemporaryDirectory() as folder:
        kept = Path(folder) / "seen.json"
        with servers.watched("plans", server.url, kept=kept, LOYALTY_POOL_SIZE="1") as running:
            group = next(group for group, _ in _groups(there, running, running) if group.name == name)
            await do(group.shops[0], group.script(operation), times=_EXPLAINED, clients=1)
            os.kill(running.pid, signal.SIGUSR1)
            await asyncio.sleep(0.1)
            await do(group.shops[0], group.script(operation), times=_EXPLAINED, clients=1)
        found: dict[str, list[Plan]] = json.loads(kept.read_text())
    seen.reads[operation.name, name] = {text: [Read.of(plan) for plan in own] for text, own in found.items()}
    admin = await asyncpg.connect(server.url.replace("+asyncpg", ""))
    generic = await plans.generic(admin, list(found))
    await admin.close()
    for text, own in found.items():
        for plan in (*own, *([generic[text]] if text in generic else ())):
            seen.whole |= {f"{table}: {text}" for table in plans.whole_tables(plan)}


def figures(seen: Seen) -> list[Figure]:
    """Compare each group with the one that differs from it in one thing."""
    found = []
    for operation in dict.fromkeys(name for name, _ in seen.rates):
        for group, against in COMPARED:
            own, other = (operation, group), (operation, against)
            ratios = [rate / with_ for rate, with_ in zip(seen.rates[own], seen.rates[other], strict=True)]
            cpu = statistics.median(seen.cpu_ms[own]) / statistics.median(seen.cpu_ms[other])
            pages, with_pages = seen.pages[own], seen.pages[other]
            found.append(
                Figure(
                    operation,
                    group,
                    against,
                    round(statistics.median(ratios), 3),
                    round(min(ratios), 3),
                    round(max(ratios), 3),
                    round(cpu, 3),
                    pages.buffers,
                    with_pages.buffers,
                    pages.rows,
                    with_pages.rows,
                )
            )
    return found


def _table(found: Sequence[Figure]) -> list[str]:
    heads = f"{'':<38}{'rate':>7}{'least':>8}{'most':>8}{'db CPU':>8}{'pages':>9}{'to':>9}{'rows':>9}{'to':>9}"
    lines = [heads]
    for operation in dict.fromkeys(own.operation for own in found):
        lines += ["", operation]
        lines += [
            f"  {own.group + ' / ' + own.against:<36}{own.rate_ratio:>7.2f}{own.lowest:>8.2f}{own.highest:>8.2f}"
            f"{own.database_cpu_ratio:>8.2f}{own.buffers_against:>9.1f}{own.buffers:>9.1f}"
            f"{own.rows_against:>9.1f}{own.rows:>9.1f}"
            for own in found
            if own.operation == operation
        ]
    return lines


def _statements(seen: Seen) -> list[str]:
    lines = [
        "Statements: how often in an operation; at most how many pages, rows looked at, and rows of these kept,",
        "each in the small program, in the large one, and for the long history; below, indexes in the large program",
    ]
    for operation in MEASURED:
        lines += ["", operation.name]
        small, large, aged = (seen.reads[operation.name, name] for name in (SMALL, LARGE, AGED))
        for text, reads in large.items():
            columns = [_most(own.get(text, []), what) for what in _COLUMNS for own in (small, large, aged)]
            used = ", ".join(dict.fromkeys(way for read in reads for way in read.ways)) or "no table"
            each = len(reads) / _EXPLAINED
            lines += [f"{each:5.1f} " + "".join(f"{own:>6}" for own in columns) + f"  {text[:100]}", f"{'':>62}{used}"]
    whole = sorted(seen.whole) or ["none, nor would plans for any parameters"]
    return [*lines, "", "tenants' tables read whole:", *(f"  {line[:200]}" for line in whole)]


_COLUMNS: tuple[Callable[[Read], int], ...] = (
    lambda read: read.buffers,
    lambda read: read.looked_at,
    lambda read: read.kept,
)


def _most(reads: Sequence[Read], what: Callable[[Read], int]) -> str:
    return str(max(map(what, reads))) if reads else "-"


async def _heading(server: Server, there: Town, *, load: float, rounds: int) -> list[str]:
    admin = await asyncpg.connect(server.url.replace("+asyncpg", ""))
    version = await admin.fetchval("SHOW server_version")
    assert await admin.fetchval("SHOW synchronous_commit") == "on"
    tables, moved = await admin.fetch(_SIZES), await admin.fetch(_MOVED)
    idle = await admin.fetch(_UNUSED)
    cached = await admin.fetchval("SHOW shared_buffers")
    await admin.close()
    sizes = there.sizes
    return [
        f"{interpreter()}; PostgreSQL {version}, synchronous_commit on, shared_buffers {cached}",
        f"{os.cpu_count()} cores for clients, servers and database together; load {load:.1f} at first",
        f"small, middle and large: {sizes.small}, {sizes.middle} and {sizes.large} members",
        f"{there.large.crowd.rounds} entries each; one more in the large program has {sizes.history}",
        f"{sizes.programs} programs beside them; a small one once more, alone in a database",
        *there.told,
        "",
        *_columns("table rows table_mib indexes_mib", tables),
        "",
        *_columns("updates hot_share dead table", moved),
        "",
        f"indexes never used since: {', '.join(row[0] for row in idle) or 'none'}",
        "",
        f"{_CLIENTS} clients, {rounds} rounds, windows of {_WINDOW_SECONDS} s, groups one right after the other",
        "rate: divided by that of the same round, median, least, most; db CPU: medians divided",
        "pages, rows: what the database touches for an operation by one client, of the other group, to this one's",
    ]


def _columns(heads: str, rows: Sequence[asyncpg.Record]) -> Iterator[str]:
    for row in [heads.split(), *rows]:
        yield "  ".join(str(value).ljust(20) if place == 0 else str(value).rjust(12) for place, value in enumerate(row))


_SIZES = """
SELECT relname, reltuples::bigint, pg_table_size(oid) >> 20, pg_indexes_size(oid) >> 20 FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples > 10000
ORDER BY pg_total_relation_size(oid) DESC
"""
_MOVED = """
SELECT relname, n_tup_upd, round(n_tup_hot_upd::numeric / n_tup_upd, 3), n_dead_tup FROM pg_stat_user_tables
WHERE n_tup_upd > 100 ORDER BY n_tup_upd DESC
"""
_UNUSED = """
SELECT indexrelname FROM pg_stat_user_indexes WHERE idx_scan = 0 AND schemaname = 'public' ORDER BY 1
"""

if __name__ == "__main__":
    main()
