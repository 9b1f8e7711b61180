"""Programs of every size on one server, loaded once and measured often; what was loaded is kept beside the data."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from benchmarks import copying, servers
from benchmarks.copying import Connections
from benchmarks.crowd import Crowd, Names
from benchmarks.shop import Shop, found_shop
from loyalty.access import service as access
from loyalty.access.rules import ALL_KEY_SCOPES, KeyKind
from loyalty.core import clock, migrate
from loyalty.core.db import Sessions, create_engine, create_sessions, transaction
from loyalty.core.embedded import Server
from loyalty.core.settings import Settings
from loyalty.points import service as points
from loyalty.programs import queries as programs

_ALONE_DATABASE = "alone"
_FEW = 50
_KEYED = 100
"""So many of the clones get keys, and so traffic."""


@dataclass(frozen=True)
class Sizes:
    """Members of the small, the middle and the large program, entries of the long history, and how many programs."""

    small: int = 1_000
    middle: int = 100_000
    large: int = 5_000_000
    history: int = 20_000
    programs: int = 2_000


@dataclass(frozen=True)
class Settled:
    """A program as it was loaded: how to be let in, and who is there."""

    key: str
    rewards: list[str]
    crowd: Crowd

    def shop(self, port: int) -> Shop:
        return Shop(port, self.key, Names("mem", self.crowd), Names("cus", self.crowd), rewards=self.rewards)


@dataclass(frozen=True)
class Town:
    """What is there: `alone` in a database of its own, all others in one; `aged` is the member with a long history."""

    sizes: Sizes
    alone: Settled
    small: Settled
    middle: Settled
    large: Settled
    aged: Settled
    many: list[Settled]
    told: list[str]


def alone_url(server: Server) -> str:
    return f"{server.url.rpartition('/')[0]}/{_ALONE_DATABASE}"


def read(kept: Path) -> Town:
    found = json.loads(kept.read_text())
    many = [_settled(own) for own in found.pop("many")]
    sizes, told = Sizes(**found.pop("sizes")), found.pop("told")
    return Town(sizes, **{name: _settled(own) for name, own in found.items()}, many=many, told=told)


def write(town: Town, kept: Path) -> None:
    kept.write_text(json.dumps(asdict(town), default=str, indent=1))


async def settle(server: Server, sizes: Sizes) -> Town:
    """Load every program, and prove the books of all that are not huge."""
    alone_at, told = alone_url(server), []

    def tell(what: str) -> None:
        told.append(what)
        print(what, flush=True)

    async with _connected(server.url) as (_, admin):
        await admin.execute(f"CREATE DATABASE {_ALONE_DATABASE}")
    for url in (server.url, alone_at):
        await asyncio.to_thread(migrate.upgrade, url)
    with servers.product(alone_at, processes=1) as (running,):
        alone = await _found(alone_at, running.port, sizes.small)
    with servers.product(server.url, processes=1) as (running,):
        few, small, middle, large = [
            await _found(server.url, running.port, members)
            for members in (_FEW, sizes.small, sizes.middle, sizes.large)
        ]
    async with _connected(alone_at) as both:
        await copying.load(both, [alone.crowd])
        await both[1].execute("VACUUM (ANALYZE)")
    own = large.crowd
    aged = Settled(
        large.key, large.rewards, Crowd(own.program_id, own.rule_id, 1, rounds=sizes.history, first=own.members)
    )
    async with _connected(server.url) as both:
        await copying.load(both, [few.crowd, small.crowd])
        tell(f"into indexed tables: {await copying.load(both, [middle.crowd])}")
        began = time.perf_counter()
        await copying.clone(both[1], few.crowd.program_id, times=sizes.programs)
        tell(f"{sizes.programs} programs of {_FEW} members each: {time.perf_counter() - began:.0f} s")
        tell(f"into bare tables: {await copying.load_bare(both, [own, aged.crowd])}")
        began = time.perf_counter()
        await both[1].execute("VACUUM (ANALYZE)")
        tell(f"vacuum and analyze: {time.perf_counter() - began:.0f} s")
    many = await _keys(server.url, few)
    proven = {server.url: [small, middle, many[0]], alone_at: [alone]}
    for url, settled in proven.items():
        async for line in _proofs(url, settled):
            tell(line)
    return Town(sizes, alone, small, middle, large, aged, many, told)


async def _found(url: str, port: int, members: int) -> Settled:
    shop = await found_shop(url, port=port)
    async with _connected(url) as (_, admin):
        program_id = await admin.fetchval("SELECT id FROM programs ORDER BY created_at DESC LIMIT 1")
        rule_id = await admin.fetchval(
            "SELECT rule_id FROM earning_rule_versions WHERE program_id = $1 AND number = 1", program_id
        )
    return Settled(shop.key, shop.rewards, Crowd(program_id, rule_id, members))


async def _keys(url: str, model: Settled) -> list[Settled]:
    """Give clones of a program keys of their own."""
    found = []
    async with _sessions(url) as sessions, _connected(url) as (_, admin):
        rows = await admin.fetch(
            """
            SELECT clone.id FROM programs AS clone JOIN programs AS model ON model.id = $1
            WHERE clone.slug LIKE model.slug || '-%' ORDER BY clone.id LIMIT $2
            """,
            model.crowd.program_id,
            _KEYED,
        )
        for row in rows:
            async with transaction(sessions) as session:
                program = await programs.get_program(session, program_id=row["id"])
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
            found.append(Settled(key, model.rewards, Crowd(program.id, model.crowd.rule_id, model.crowd.members)))
    return found


async def _proofs(url: str, settled: list[Settled]) -> AsyncIterator[str]:
    async with _sessions(url) as sessions:
        for own in settled:
            async with transaction(sessions) as session:
                found = await points.verify(session, program_id=own.crowd.program_id)
            assert not found.differences, found.differences[:5]
            assert found.wallets == own.crowd.members
            yield f"proven: {found.wallets} wallets hold, {found.entries} entries"


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Connections]:
    plain = url.replace("+asyncpg", "")
    both = await asyncpg.connect(plain), await asyncpg.connect(plain)
    try:
        yield both
    finally:
        for connection in both:
            await connection.close()


@asynccontextmanager
async def _sessions(url: str) -> AsyncIterator[Sessions]:
    engine = create_engine(Settings(database_url=url, secret_key=servers.SECRET, statement_timeout_ms=600_000))  # type: ignore[arg-type]
    yield create_sessions(engine)
    await engine.dispose()


def _settled(found: dict[str, Any]) -> Settled:
    own = found["crowd"]
    program_id, rule_id = (UUID(own.pop(name)) for name in ("program_id", "rule_id"))
    return Settled(found["key"], found["rewards"], Crowd(program_id, rule_id, **own))
