"""Requests that wait at the same time are worked on together: no timer, and nothing waits for company."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Final, Generic, TypeVar

from loyalty.core.errors import Unavailable

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
R = TypeVar("R")

_MOST_TOGETHER: Final = 100
_MOST_WAITING: Final = 2_000


class TooManyWaiting(Unavailable):
    """Too many requests are waiting; try again in a moment."""


class Groups(Generic[K, T, R]):
    """Works on items of one key (a program) a group at a time, each group as large as what came during the last one.

    `work` gets a key and its items and returns a result for each, in order. What it raises is raised to each of them,
    and Unavailable to all who wait. Who waits holds no connection.
    """

    def __init__(self, work: Callable[[K, Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        self._work = work
        self._waiting: dict[K, deque[tuple[T, asyncio.Future[R]]]] = {}
        self._runs: set[asyncio.Task[None]] = set()

    async def submit(self, key: K, item: T) -> R:
        """Return what became of an item. Raises TooManyWaiting."""
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = deque()
            run = asyncio.create_task(self._run(key, waiting))
            self._runs.add(run)
            run.add_done_callback(self._runs.discard)
        if len(waiting) >= _MOST_WAITING:
            raise TooManyWaiting
        waiting.append((item, result))
        return await result

    async def _run(self, key: K, waiting: deque[tuple[T, asyncio.Future[R]]]) -> None:
        group: list[tuple[T, asyncio.Future[R]]] = []
        try:
            while waiting:
                group = [waiting.popleft() for _ in range(min(len(waiting), _MOST_TOGETHER))]
                try:
                    results = await self._work(key, [item for item, _ in group])
                except Unavailable as error:
                    # Nothing can be worked on just now: who waits behind would hear the same, only later.
                    for _, result in (*group, *waiting):
                        _tell(result, error)
                    waiting.clear()
                    continue
                except Exception as error:  # noqa: BLE001 -- told to everyone who waits, and to nobody else
                    for _, result in group:
                        _tell(result, error)
                    continue
                for (_, result), own in zip(group, results, strict=True):
                    _tell(result, own)
        finally:
            # A run that is cancelled leaves nobody waiting for it, and who comes next begins another.
            del self._waiting[key]
            for _, result in (*group, *waiting):
                result.cancel()


def _tell(result: asyncio.Future[R], own: R | Exception) -> None:
    """Answer who still waits; a caller may have gone."""
    if result.done():
        return
    if isinstance(own, Exception):
        result.set_exception(own)
    else:
        result.set_result(own)
