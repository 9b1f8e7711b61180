"""The processes under test, each on a port of its own."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

SECRET = "a secret for a benchmark, worth nothing at all"  # noqa: S105
_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Running:
    pid: int
    port: int


def product_environment(database_url: str) -> dict[str, str]:
    return {**os.environ, "LOYALTY_DATABASE_URL": database_url, "LOYALTY_SECRET_KEY": SECRET}


@contextmanager
def product(database_url: str, *, processes: int) -> Iterator[list[Running]]:
    """Run the product by its own command, each process on a port of its own."""
    command, environment = ["-m", "loyalty", "serve", "--port"], product_environment(database_url)
    with ExitStack() as stack:
        launched = [stack.enter_context(_launched(command, environment)) for _ in range(processes)]
        yield [_ready(process, port, health="/health/ready") for process, port in launched]


@contextmanager
def baseline(database_url: str) -> Iterator[Running]:
    """Run what a team writes by hand, under one uvicorn worker."""
    command = ["-m", "uvicorn", "--factory", "benchmarks.baseline:create_app", "--log-level", "warning", "--port"]
    with _launched(command, {**os.environ, "BASELINE_DATABASE_URL": database_url}) as (process, port):
        yield _ready(process, port, health="/health")


@contextmanager
def watched(module: str, database_url: str, *, kept: Path, **settings: str) -> Iterator[Running]:
    """Run the product as a module of ours watches it; what was seen is kept in a file at the end."""
    environment = {**product_environment(database_url), "SAMPLING_FILE": str(kept), **settings}
    with _launched(["-m", f"benchmarks.{module}"], environment) as (process, port):
        yield _ready(process, port, health="/health/ready")


@contextmanager
def _launched(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start a Python server whose last argument is its port, and stop it at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen([sys.executable, *command, str(port)], env=dict(environment))
    try:
        yield process, port
    finally:
        process.terminate()
        try:
            process.wait(timeout=_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(process: subprocess.Popen[bytes], port: int, *, health: str) -> Running:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{health}", timeout=5):
                return Running(process.pid, port)
        except OSError:  # not there yet, or not ready
            time.sleep(0.05)
    raise AssertionError("the server did not start")
