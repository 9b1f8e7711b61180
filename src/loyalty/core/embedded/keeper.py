"""The process that owns the server: starts it as its child, and stops it when nobody is left."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from loyalty.core.embedded.binaries import Binaries, environment, find_binaries
from loyalty.core.embedded.cluster import ensure_cluster
from loyalty.core.embedded.errors import EmbeddedRefused
from loyalty.core.embedded.lifeline import tie
from loyalty.core.embedded.locks import Lock
from loyalty.core.embedded.place import Place, find_place
from loyalty.core.embedded.postmaster import (
    Postmaster,
    clear_stale_pid_file,
    find_postmaster,
    is_serving,
    stop,
)

READY = "ready"
POLL_SECONDS = 0.25
SETTLE_SECONDS = 0.3
START_SECONDS = 60
START_ATTEMPTS = 5
REAP_SECONDS = 5
MAX_CONNECTIONS = 200
LOG_LIMIT_BYTES = 10_000_000


def main(home: Path, *, lock_descriptor: int) -> None:
    """Keep a server for this home. The reply on standard output is READY or a refusal."""
    # Whoever started this process waits only for its first half, and never has to reap the second.
    if os.fork():
        os._exit(0)
    os.set_inheritable(lock_descriptor, False)
    os.chdir("/")
    os.ftruncate(lock_descriptor, 0)
    os.pwrite(lock_descriptor, f"{os.getpid()}\n".encode(), 0)
    asked_to_end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.set())
    place = find_place(home)
    try:
        pid = _start(place)
        _reply(READY)
        _watch(place, pid, asked_to_end=asked_to_end)
    except EmbeddedRefused as refused:
        _reply(str(refused))
    finally:
        _stop(place)


def _start(place: Place) -> int:
    """Bring up a server, or adopt one left behind by a killed keeper; the process number of one that is ready."""
    if left_behind := _adopt(place):
        return left_behind.pid
    binaries = find_binaries(place.account)
    ensure_cluster(place, binaries=binaries)
    clear_stale_pid_file(place.data)
    _prepare_log(place.server_log)
    for _ in range(START_ATTEMPTS):
        port = _find_free_port(place)
        child = _launch(place, binaries=binaries, port=port)
        if _becomes_ready(child, place):
            place.port.write_text(f"{port}\n")
            return child.pid
        # The port was taken meanwhile, or parts of a killed server are still on their way out.
        time.sleep(POLL_SECONDS)
    raise EmbeddedRefused(
        f"PostgreSQL does not start; mend what {place.server_log} complains of, or set LOYALTY_DATABASE_URL"
        f" to a PostgreSQL that you run. Its last lines: {_tail(place.server_log)}"
    )


def _watch(place: Place, pid: int, *, asked_to_end: threading.Event) -> None:
    """Return when the server is gone, nobody uses it any more, or somebody wants this process to end.

    When nobody uses it, the users' lock stays taken until this process ends: a newcomer waits for it
    and then starts the server again, instead of joining one on its way down.
    """
    users = Lock(place.users_lock)  # never closed: leaving this function must not give it back
    while is_serving(pid, place.data) and not asked_to_end.is_set() and not users.try_exclusive():
        time.sleep(POLL_SECONDS)


def _stop(place: Place) -> None:
    if running := find_postmaster(place.data):
        stop(running.pid, place.data)
    with contextlib.suppress(ChildProcessError):  # none was started, or it was adopted
        deadline = time.monotonic() + REAP_SECONDS
        while os.waitpid(-1, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.02)


def _adopt(place: Place) -> Postmaster | None:
    deadline = time.monotonic() + START_SECONDS
    while (running := find_postmaster(place.data)) and time.monotonic() < deadline:
        # Its keeper was killed; where the system announces that, it stops within this time.
        time.sleep(SETTLE_SECONDS)
        if running.is_ready and find_postmaster(place.data) == running:
            return running
    return None


def _launch(place: Place, *, binaries: Binaries, port: int) -> subprocess.Popen[bytes]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": str(MAX_CONNECTIONS),
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with place.server_log.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 -- a program that `binaries` has looked at
            [binaries.command("postgres"), "-D", str(place.data), *options],
            user=place.account.user,
            group=place.account.group,
            extra_groups=place.account.extra_groups,
            preexec_fn=tie(signal.SIGINT),  # noqa: PLW1509 -- this process has a single thread
            env=environment(),
            cwd=place.cluster,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _becomes_ready(child: subprocess.Popen[bytes], place: Place) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        running = find_postmaster(place.data)
        if running and running.pid == child.pid and running.is_ready:
            return True
        time.sleep(0.02)
    if child.poll() is None:
        stop(child.pid, place.data)
    return False


def _find_free_port(place: Place) -> int:
    """Prefer the port of last time, so that addresses handed out before a crash stay good."""
    try:
        wanted = int(place.port.read_text())
        return _bind(wanted)
    except (OSError, ValueError, OverflowError):
        return _bind(0)


def _bind(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does
        probe.bind(("127.0.0.1", port))
        return int(probe.getsockname()[1])


def _prepare_log(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.1"))
    log.touch(mode=0o600)  # PostgreSQL logs failed statements with the values in them


def _tail(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace").splitlines()[-5:])


def _reply(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # who asked may be gone
        os.write(sys.stdout.fileno(), text.encode())
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
