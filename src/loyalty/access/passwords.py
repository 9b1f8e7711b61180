"""Argon2id in a bounded thread pool: one hash costs tens of milliseconds of CPU and must never hold up the loop."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from loyalty.core.errors import Unavailable

T = TypeVar("T")

_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
"""OWASP's minimum for argon2id: 19 MiB, two passes, one lane."""

_UNKNOWN: Final = "$argon2id$v=19$m=19456,t=2,p=1$ZG9lcyBub3QgZXhpc3Q$3zo+sUQLzb0aH0LBKO0nZ9x2xQOsB0TzXJnBmQyZgRc"
"""Checked when there is no such account, so that the answer takes as long as when there is."""


_MOST_WAITING: Final = 32


class TooManySignIns(Unavailable):
    """Too many passwords are being checked just now."""


class Passwords:
    """Hashes and checks passwords. At most `_MOST_WAITING` wait at once: a queue without end would be a weapon."""

    def __init__(self) -> None:
        self._waiting = 0
        self._pool = ThreadPoolExecutor(max_workers=max(1, (os.cpu_count() or 1) // 2), thread_name_prefix="argon2")

    async def hash(self, password: str) -> str:
        return await self._run(_HASHER.hash, password)

    async def verify(self, password: str, *, stored: str | None) -> bool:
        """Check a password; with nothing stored, do the same work and say no."""
        fits = await self._run(_fits, stored or _UNKNOWN, password)
        return fits and stored is not None

    async def _run(self, work: Callable[..., T], *arguments: str) -> T:
        if self._waiting >= _MOST_WAITING:
            raise TooManySignIns
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _fits(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
