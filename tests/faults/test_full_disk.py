"""The disk of PostgreSQL is full: what was acknowledged stays, the rest is refused, and room makes it work again."""

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg
import httpx
import pytest
from tests.faults.servers import application, superuser, until
from tests.points.test_concurrency import outcomes
from tests.shop import Json, Shop, open_shop

from loyalty.core import migrate
from loyalty.core.embedded import remove, serve
from loyalty.core.embedded.place import find_place, make_readable_folder
from loyalty.core.settings import Settings

_DISK: Final = "size=256m,mode=755"
_MOST_WRITES: Final = 1_000
_MORE_WRITES: Final = 10
_MOST_MESSAGES: Final = 300


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A home for a PostgreSQL on a small disk of its own."""
    home = tmp_path / "home"
    folder = find_place(home).folder
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    make_readable_folder(folder)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", _DISK, "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        folder.rmdir()
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield home
        remove(home)
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


async def test_full_tables_lose_nothing_acknowledged_and_once_there_is_room_every_retry_succeeds(
    small_disk: Path, settings: Settings
) -> None:
    async with _shop_on(small_disk, settings) as writes:
        await writes.begin_a_segment()
        await writes.send_new(1)
        writes.fill_disk()
        while writes.all_taken:
            await writes.send_new(1)
        await writes.send_new(_MORE_WRITES)
        assert writes.refusals == {(503, "busy")}
        writes.make_room()
        await writes.assert_retries_complete_them()


async def test_a_full_write_ahead_log_loses_nothing_acknowledged_and_once_there_is_room_every_retry_succeeds(
    small_disk: Path, settings: Settings
) -> None:
    """PostgreSQL cannot go on without its log: it ends itself, and starts again when there is room."""
    async with _shop_on(small_disk, settings) as writes:
        await writes.send_new(_MORE_WRITES)
        writes.fill_disk()
        await writes.fill_log()
        await writes.send_new(_MORE_WRITES)
        assert not writes.all_taken
        assert writes.refusals == {(503, "busy")}
        writes.make_room()
        with serve(small_disk):
            await until(writes.is_ready)
            await writes.assert_retries_complete_them()


@dataclass
class Writes:
    """Adjustments of one point in a shop on a small disk, each under a key of its own, and what they heard."""

    shop: Shop
    member: Json
    home: Path
    replies: list[httpx.Response] = field(default_factory=list)

    @property
    def _filler(self) -> Path:
        return find_place(self.home).folder / "filler"

    @property
    def all_taken(self) -> bool:
        return len(self.replies) < _MOST_WRITES and all(reply.status_code == 201 for reply in self.replies)

    @property
    def refusals(self) -> set[tuple[int, str]]:
        return set(outcomes([reply for reply in self.replies if reply.status_code != 201]))

    async def is_ready(self) -> bool:
        return (await self.shop.client.get("/health/ready")).status_code == 200

    async def send_new(self, number: int) -> None:
        self.replies.extend([await self._send(len(self.replies) + turn) for turn in range(number)])

    async def _send(self, number: int, expect: int | None = None) -> httpx.Response:
        body = {"member_id": self.member["id"], "points": 1, "reason": "r" * 500}
        return await self.shop.send("POST", "/v1/adjustments", body, key=f"write-{number}", expect=expect)

    async def assert_retries_complete_them(self) -> None:
        again = [await self._send(number, expect=201) for number in range(len(self.replies))]
        replayed = ["idempotency-replayed" in reply.headers for reply in again]
        assert replayed == [reply.status_code == 201 for reply in self.replies]
        assert 0 < sum(replayed) < len(replayed)
        assert (await self.shop.wallet(self.member["id"]))["balance"] == len(again)
        await self.shop.books_hold()

    def fill_disk(self) -> None:
        with self._filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4_096)

    def make_room(self) -> None:
        self._filler.unlink()

    async def begin_a_segment(self) -> None:
        """Begin a new file of the write-ahead log, so that only the tables need room."""
        async with superuser(self.home) as admin:
            await admin.execute("SELECT pg_switch_wal()")
            await admin.execute("CHECKPOINT")

    async def fill_log(self) -> None:
        """Write to the log until PostgreSQL gives up."""
        async with superuser(self.home) as admin:
            with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)):
                await _log_noise(admin)


async def _log_noise(admin: asyncpg.Connection) -> None:
    for _ in range(_MOST_MESSAGES):
        await admin.execute("SELECT pg_logical_emit_message(false, 'noise', repeat('x', 1000000))")


@asynccontextmanager
async def _shop_on(home: Path, settings: Settings) -> AsyncIterator[Writes]:
    with serve(home) as postgres:
        await asyncio.to_thread(migrate.upgrade, postgres.url)
        async with application(settings, database_url=postgres.url) as (client, app):
            shop = await open_shop(client, app)
            yield Writes(shop, await shop.enrol(), home)
