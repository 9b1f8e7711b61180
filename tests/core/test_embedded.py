"""The embedded PostgreSQL, seen by its users: real servers, real kills."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from loyalty.core.embedded import EmbeddedRefused, remove, serve
from loyalty.core.embedded.binaries import environment, find_binaries
from loyalty.core.embedded.locks import Lock
from loyalty.core.embedded.place import find_place
from loyalty.core.embedded.postmaster import find_postmaster, is_serving

PATIENCE_SECONDS = 40


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    yield home
    _wait_for(lambda: _is_over(home))
    remove(home)
    assert not find_place(home).folder.exists()


def test_first_start_gives_an_ordinary_role_that_can_make_databases(home: Path) -> None:
    with serve(home) as server:
        assert _query(server.url, "SELECT current_database() || ' ' || current_user") == "loyalty loyalty"
        assert _query(server.url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        assert _query(server.url, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'loyalty'") == (
            "loyalty"
        )
        _execute(server.url, "CREATE DATABASE another")
        assert _query(server.url, "SHOW timezone") == "UTC"
        assert _query(server.url, "SHOW fsync") == "on"
        assert _query(server.url, "SHOW listen_addresses") == "127.0.0.1"
        assert (server.data_folder / "postmaster.pid").read_text().splitlines()[4] == ""  # the socket folder
        assert _query(server.url, "SHOW max_connections") == "200"
        assert _query(server.url, "SELECT upper('ä')") == "Ä"
        assert "password" not in repr(server)


def test_secrets_data_and_logged_statements_are_for_the_owner_only(home: Path) -> None:
    with serve(home) as server:
        place = find_place(home)
        for secret in (place.application_password, place.superuser_password, place.server_log):
            assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert stat.S_IMODE(server.data_folder.stat().st_mode) == 0o700
        with pytest.raises(asyncpg.InvalidPasswordError):
            _query(server.url.replace(place.application_password.read_text(), "guess"), "SELECT 1")


def test_the_last_to_leave_stops_it_and_the_data_stay(home: Path) -> None:
    with serve(home) as server:
        _execute(server.url, "CREATE TABLE kept AS SELECT 7 AS value")
    assert not is_serving(server.pid, server.data_folder)
    with serve(home) as again:
        assert _query(again.url, "SELECT value FROM kept") == 7
        assert again.pid != server.pid
        assert again.url == server.url


def test_others_attach_and_the_first_may_leave_before_them(home: Path) -> None:
    first = serve(home)
    server = first.__enter__()
    with serve(home) as second:
        assert second == server
        first.__exit__(None, None, None)
        assert _query(second.url, "SELECT 1") == 1
    assert not is_serving(server.pid, server.data_folder)


async def test_it_can_be_started_from_within_an_event_loop(home: Path) -> None:
    with serve(home) as server:
        connection = await asyncpg.connect(server.url.replace("+asyncpg", ""))
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()


def test_programs_that_start_at_once_share_one_server(home: Path) -> None:
    programs = [_hold_in_another_program(home) for _ in range(3)]
    pids = {_read_pid(program) for program in programs}
    assert len(pids) == 1
    for program in programs:
        _end(program, signal.SIGKILL)
    _wait_for(lambda: _is_over(home))


def test_a_database_that_was_dropped_is_there_at_the_next_start(home: Path) -> None:
    with serve(home) as server:
        _execute(server.url.removesuffix("loyalty") + "postgres", "DROP DATABASE loyalty")
        with serve(home) as again:
            assert _query(again.url, "SELECT 1") == 1


def test_a_killed_program_leaves_no_server_and_no_damage(home: Path) -> None:
    program = _hold_in_another_program(home)
    pid = _read_pid(program)
    with serve(home) as server:
        assert server.pid == pid
        _execute(server.url, "CREATE TABLE kept AS SELECT 7 AS value")
    assert is_serving(pid, server.data_folder)
    _end(program, signal.SIGKILL)
    _wait_for(lambda: not is_serving(pid, server.data_folder))
    with serve(home) as again:
        assert _query(again.url, "SELECT value FROM kept") == 7


def test_a_killed_postmaster_is_replaced(home: Path) -> None:
    with serve(home) as server:
        _execute(server.url, "CREATE TABLE kept AS SELECT 7 AS value")
        os.kill(server.pid, signal.SIGKILL)
        with serve(home) as again:
            assert again.pid != server.pid
            assert _query(again.url, "SELECT value FROM kept") == 7


def test_a_killed_keeper_is_replaced_and_leaves_nothing(home: Path) -> None:
    with serve(home) as server:
        _execute(server.url, "CREATE TABLE kept AS SELECT 7 AS value")
        os.kill(int(find_place(home).keeper_lock.read_text()), signal.SIGKILL)
        _wait_for(lambda: _is_over(home))
        with serve(home) as again:
            assert _query(again.url, "SELECT value FROM kept") == 7
    assert not is_serving(server.pid, server.data_folder)
    assert not is_serving(again.pid, server.data_folder)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a server outlives its keeper and is adopted")
def test_a_server_does_not_outlive_its_killed_keeper(home: Path) -> None:
    with serve(home) as server:
        os.kill(int(find_place(home).keeper_lock.read_text()), signal.SIGKILL)
        _wait_for(lambda: not is_serving(server.pid, server.data_folder))


def test_a_server_without_a_keeper_gets_one(home: Path) -> None:
    with serve(home):
        pass
    place = find_place(home)
    orphan = subprocess.Popen(
        [
            find_binaries(place.account).command("postgres"),
            "-D",
            str(place.data),
            "-cunix_socket_directories=",
            "-clisten_addresses=127.0.0.1",
            f"-cport={place.port.read_text().strip()}",
        ],
        user=place.account.user,
        group=place.account.group,
        extra_groups=place.account.extra_groups,
        env=environment(),
        cwd=place.cluster,
        stderr=subprocess.DEVNULL,
    )
    _wait_for(lambda: (running := find_postmaster(place.data)) is not None and running.is_ready)
    with serve(home) as server:
        assert server.pid == orphan.pid
        assert _query(server.url, "SELECT 1") == 1
    assert orphan.wait(timeout=PATIENCE_SECONDS) == 0


def test_a_stale_pid_file_with_the_number_of_a_stranger_does_no_harm(home: Path) -> None:
    with serve(home) as server:
        stale = (server.data_folder / "postmaster.pid").read_text()
    # The stranger runs under the server's account: PostgreSQL by itself would refuse to start.
    account = find_place(home).account
    stranger = subprocess.Popen(
        ["sleep", "600"], user=account.user, group=account.group, extra_groups=account.extra_groups, cwd="/"
    )
    (server.data_folder / "postmaster.pid").write_text(stale.replace(str(server.pid), str(stranger.pid), 1))
    with serve(home) as again:
        assert _query(again.url, "SELECT 1") == 1
    assert stranger.poll() is None
    _end(stranger, signal.SIGKILL)


def test_a_start_killed_halfway_is_begun_afresh(home: Path) -> None:
    program = _hold_in_another_program(home)
    place = find_place(home)
    _wait_for(lambda: any(place.folder.glob("making-*/cluster/data/base")))
    os.kill(int(place.keeper_lock.read_text()), signal.SIGKILL)
    _end(program, signal.SIGKILL)
    with serve(home) as server:
        assert _query(server.url, "SELECT 1") == 1
    with serve(home):
        assert not any(place.folder.glob("making-*"))


def test_a_newcomer_waits_while_the_server_is_being_stopped(home: Path) -> None:
    with serve(home) as server:
        pass
    place = find_place(home)
    with Lock(place.users_lock) as stopping:
        assert stopping.try_exclusive()
        newcomer = _hold_in_another_program(home)
        time.sleep(1)
        assert find_postmaster(server.data_folder) is None
    assert _read_pid(newcomer) != server.pid
    _end(newcomer, signal.SIGKILL)


def test_data_of_another_version_are_refused_with_the_remedy(home: Path) -> None:
    with serve(home) as server:
        pass
    (server.data_folder / "PG_VERSION").write_text("14\n")
    with (
        pytest.raises(EmbeddedRefused, match=r"made by PostgreSQL 14, .* set LOYALTY_PG_BIN to .* PostgreSQL 14"),
        serve(home),
    ):
        pass


def test_missing_binaries_are_refused_with_the_remedy(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOYALTY_PG_BIN", str(home / "nowhere"))
    with pytest.raises(EmbeddedRefused, match=r"nowhere cannot be run .* set LOYALTY_PG_BIN .*"), serve(home):
        pass


def test_removing_also_stops_a_server_whose_keeper_was_killed(home: Path) -> None:
    with serve(home) as server:
        os.kill(int(find_place(home).keeper_lock.read_text()), signal.SIGKILL)
    remove(home)
    assert not is_serving(server.pid, server.data_folder)
    assert not server.data_folder.exists()


def test_a_server_in_use_is_not_removed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loyalty.core.embedded.serving.END_SECONDS", 0.1)
    with serve(home) as server:
        with pytest.raises(EmbeddedRefused, match="in use"):
            remove(home)
        assert _query(server.url, "SELECT 1") == 1


def _query(url: str, statement: str) -> object:
    async def ask() -> object:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(ask())


def _execute(url: str, statement: str) -> None:
    _query(url, statement)


def _hold_in_another_program(home: Path) -> subprocess.Popen[str]:
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from loyalty.core.embedded import serve
        with serve(Path(sys.argv[1])) as server:
            print(server.pid, flush=True)
            time.sleep(600)
        """
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, str(home)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )


def _read_pid(program: subprocess.Popen[str]) -> int:
    assert program.stdout is not None
    return int(program.stdout.readline())


def _end(program: subprocess.Popen[str] | subprocess.Popen[bytes], number: int) -> None:
    program.send_signal(number)
    program.wait(timeout=PATIENCE_SECONDS)
    if program.stdout is not None:
        program.stdout.close()


def _is_over(home: Path) -> bool:
    """Whether no keeper is left; one that only just starts counts as left."""
    place = find_place(home)
    if not place.folder.exists():
        return True
    with Lock(place.keeper_lock) as keeper:
        return keeper.try_exclusive()


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
