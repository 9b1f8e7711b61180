"""A PostgreSQL that may lose what it has confirmed: nobody serves on it, unless told to, and then says so."""

import asyncio
import subprocess
import sys
from pathlib import Path

from tests.faults.servers import environment, server, superuser, until

from loyalty.core import migrate
from loyalty.core.embedded import serve
from loyalty.core.settings import Settings


async def test_a_server_starts_on_a_database_that_forgets_only_if_told_to_and_then_warns(
    home: Path, settings: Settings, tmp_path: Path
) -> None:
    with serve(home) as postgres:
        own = settings.model_copy(update={"database_url": postgres.url})
        await asyncio.to_thread(migrate.upgrade, postgres.url)
        async with superuser(home) as admin:
            for statement in (
                "ALTER SYSTEM SET fsync = off",
                "ALTER SYSTEM SET full_page_writes = off",
                "ALTER DATABASE loyalty SET synchronous_commit = off",
                "SELECT pg_reload_conf()",
            ):
                await admin.execute(statement)
            await until(lambda: _is_off(home))

        refused = await asyncio.to_thread(_start, own)
        assert refused.returncode != 0
        assert "not starting" in refused.stderr
        assert "['fsync', 'full_page_writes', 'synchronous_commit']" in refused.stderr

        allowed = own.model_copy(update={"allow_forgetful_database": True})
        said = tmp_path / "said"
        with said.open("wb") as stderr:
            async with server(allowed, stderr=stderr) as (_, remote):
                at_start = said.read_text()
                assert (await remote.get("/health/ready")).status_code == 200
        assert "WARNING loyalty.app the database may lose what it has confirmed, which is allowed" in at_start
        assert "['fsync', 'full_page_writes', 'synchronous_commit']" in at_start


async def _is_off(home: Path) -> bool:
    async with superuser(home) as fresh:
        return bool(await fresh.fetchval("SHOW full_page_writes") == "off")


def _start(settings: Settings) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loyalty", "serve", "--port", "0"],
        env=environment(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
