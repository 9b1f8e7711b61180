"""A streaming replica of a server of the test's own."""

import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from loyalty.core.embedded import Server
from loyalty.core.embedded.binaries import Binaries, environment, find_binaries
from loyalty.core.embedded.cluster import SUPERUSER
from loyalty.core.embedded.keeper import MAX_CONNECTIONS
from loyalty.core.embedded.place import Place, find_place
from loyalty.core.embedded.postmaster import find_postmaster, stop

_START_SECONDS: Final = 60


@dataclass(frozen=True)
class Replica:
    url: str
    port: int
    data: Path
    place: Place

    @asynccontextmanager
    async def superuser(self) -> AsyncIterator[asyncpg.Connection]:
        password = self.place.superuser_password.read_text()
        admin = await asyncpg.connect(
            host="127.0.0.1", port=self.port, user=SUPERUSER, password=password, database="loyalty", ssl=False
        )
        try:
            yield admin
        finally:
            await admin.close()

    def stop(self) -> None:
        if running := find_postmaster(self.data):
            stop(running.pid, self.data)


@contextmanager
def replica(home: Path, primary: Server) -> Iterator[Replica]:
    """Copy the server of this home, and follow it for as long as the block lasts."""
    place = find_place(home)
    binaries = find_binaries(place.account)
    if not Path(binaries.command("pg_basebackup")).exists():
        pytest.skip("these PostgreSQL binaries cannot copy a server")
    data = place.cluster / "replica"
    data.mkdir(mode=0o700)
    place.account.own(data)
    _copy(place, binaries=binaries, data=data)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    origin = place.port.read_text().strip()
    follower = Replica(primary.url.replace(f":{origin}/", f":{port}/"), port, data, place)
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": ""}
    options = [f"-c{name}={value}" for name, value in {**settings, "max_connections": MAX_CONNECTIONS}.items()]
    process = _run(place, [binaries.command("postgres"), "-D", str(data), *options])
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not ((running := find_postmaster(data)) and running.is_ready):
            assert process.poll() is None, "the replica ended"
            assert time.monotonic() < deadline, "the replica does not start"
            time.sleep(0.05)
        yield follower
    finally:
        follower.stop()
        process.wait()
        shutil.rmtree(data)


def _copy(place: Place, *, binaries: Binaries, data: Path) -> None:
    port = place.port.read_text().strip()
    where = ["-h", "127.0.0.1", "-p", port, "-U", SUPERUSER, "-D", str(data)]
    copied = _run(place, [binaries.command("pg_basebackup"), *where, "-R", "-X", "stream", "-c", "fast"]).wait()
    assert copied == 0


def _run(place: Place, command: list[str]) -> subprocess.Popen[bytes]:
    password = place.superuser_password.read_text()
    return subprocess.Popen(
        command,
        user=place.account.user,
        group=place.account.group,
        extra_groups=place.account.extra_groups,
        env={**environment(), "PGPASSWORD": password},
        cwd=place.cluster,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
