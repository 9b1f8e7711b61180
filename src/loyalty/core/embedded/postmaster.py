"""The running server as its own files and the system's process table describe it."""

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

FAST_STOP_SECONDS = 15
IMMEDIATE_STOP_SECONDS = 7
_PID_LINE, _PORT_LINE, _STATUS_LINE = 0, 3, 7  # of postmaster.pid


@dataclass(frozen=True)
class Postmaster:
    pid: int
    port: int
    is_ready: bool


def find_postmaster(data: Path) -> Postmaster | None:
    """Find the server that runs on this data folder; postmaster.pid is believed only about a live postgres."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid, port = int(lines[_PID_LINE]), int(lines[_PORT_LINE])
    except (OSError, ValueError, IndexError):
        return None
    if not is_serving(pid, data):
        return None
    return Postmaster(pid=pid, port=port, is_ready="ready" in (line.strip() for line in lines[_STATUS_LINE:]))


def is_serving(pid: int, data: Path) -> bool:
    """Whether this process is a postgres on this very folder, and not a stranger that got its number."""
    if Path("/proc/self/cmdline").exists():
        # Of /proc's files only cmdline may be read by a container's root about other accounts.
        try:
            program, *arguments = os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
        except OSError:
            return False
        return Path(program).name == "postgres" and str(data) in arguments
    listed = subprocess.run(  # noqa: S603 -- a number and fixed words
        ["/bin/ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False, timeout=10
    ).stdout
    return "postgres" in listed and str(data) in listed


def clear_stale_pid_file(data: Path) -> None:
    """Remove a postmaster.pid whose number a stranger has by now: PostgreSQL would take it for a server.

    A number that nobody has is left to PostgreSQL, which then also looks for survivors of that server.
    """
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, 0)
    except (OSError, ValueError, IndexError):
        return
    if not is_serving(pid, data):
        (data / "postmaster.pid").unlink(missing_ok=True)


def stop(pid: int, data: Path) -> None:
    """Fast shutdown, then an immediate one; both leave data that the next start can use."""
    for number, patience_seconds in (
        (signal.SIGINT, FAST_STOP_SECONDS),
        (signal.SIGQUIT, IMMEDIATE_STOP_SECONDS),
    ):
        if not is_serving(pid, data):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience_seconds
        while is_serving(pid, data) and time.monotonic() < deadline:
            time.sleep(0.02)
