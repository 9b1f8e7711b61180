"""What processes use: CPU of whole trees, and resident memory."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Usage:
    """CPU seconds used so far: by the servers, the database, this process with its dead children, the whole machine."""

    server: float
    database: float
    clients: float
    machine: float

    def since(self, before: "Usage") -> "Usage":
        return Usage(
            max(0.0, self.server - before.server),
            max(0.0, self.database - before.database),
            max(0.0, self.clients - before.clients),
            max(0.0, self.machine - before.machine),
        )

    @property
    def others(self) -> float:
        """What neither the measured nor the measuring used."""
        return max(0.0, self.machine - self.server - self.database - self.clients)


def read_usage(*, servers: Sequence[int], postmaster: int, clients: int | None = None) -> Usage:
    """Read it now; `clients` is the process that asks, this one unless given."""
    busy = psutil.cpu_times()
    return Usage(
        server=sum(_tree(pid) for pid in servers),
        database=_tree(postmaster),
        clients=_tree(clients or os.getpid(), deep=False),
        machine=sum(busy) - busy.idle - getattr(busy, "iowait", 0.0) - getattr(busy, "guest", 0.0),
    )


def resident_mib(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 2**20


def folder_of(pid: int) -> Path:
    """Where the program of a process lies, by the name it was started with."""
    return Path(psutil.Process(pid).cmdline()[0]).parent


def _tree(pid: int, *, deep: bool = True) -> float:
    """Return what a process, those it has waited for, and its living descendants used."""
    try:
        root = psutil.Process(pid)
        tree = [root, *(root.children(recursive=True) if deep else ())]
    except psutil.NoSuchProcess:  # pgbench may end as the window does
        return 0.0
    total = 0.0
    for process in tree:
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:  # ended just now, and so among those waited for
            continue
        total += used.user + used.system
        total += getattr(used, "children_user", 0.0) + getattr(used, "children_system", 0.0)
    return total
