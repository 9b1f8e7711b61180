"""Requests that wait at the same time are worked on together: no timer, and nothing waits for company."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from math import ceil
from time import perf_counter
from typing import Final, Generic, TypeVar

from loyalty.core.errors import Unavailable

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
R = TypeVar("R")

_MOST_TOGETHER: Final = 100
_ABREAST: Final = 2
_QUICK_SECONDS: Final = 0.1
"""What one of two groups holds the other is to get long before it gives up waiting for it."""
_MOST_WAITING: Final = 2_000


class TooManyWaiting(Unavailable):
    """Too many requests are waiting; try again in a moment."""


@dataclass
class Load:
    """How many groups a server works on, of whatever kind: what is idle is only known of all together."""

    groups: int = 0


@dataclass
class _Queue(Generic[T, R]):
    """Who waits for one key's work, how many groups are about to begin or being worked on, and how many are in them."""

    waiting: deque[tuple[T, asyncio.Future[R]]] = field(default_factory=deque)
    groups: int = 0
    beginning: bool = False
    busy: int = 0


class Groups(Generic[K, T, R]):
    """Works on items of one key (a program) a group at a time, each group as large as what came meanwhile.

    While one group waits for the database the next is worked on: two are abreast, unless they are slow or others keep
    the server busy. `work` gets a key and its items and returns a result for each, in order. What it raises is raised
    to each of them, and Unavailable to all who wait. Who waits holds no connection.
    """

    def __init__(self, work: Callable[[K, Sequence[T]], Awaitable[Sequence[R]]], load: Load) -> None:
        self._work = work
        self._load = load
        self._took = _QUICK_SECONDS  # the last group; none goes abreast before one was quick
        self._queues: dict[K, _Queue[T, R]] = {}
        self._runs: set[asyncio.Task[None]] = set()

    async def submit(self, key: K, item: T) -> R:
        """Return what became of an item. Raises TooManyWaiting."""
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue()
        if len(queue.waiting) >= _MOST_WAITING:
            raise TooManyWaiting
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        queue.waiting.append((item, result))
        if self._may_begin(queue):
            self._begin(key, queue)
        return await result

    def _may_begin(self, queue: _Queue[T, R]) -> bool:
        """Tell whether to begin another group: at once where there is none.

        Else with (all but) as many as are busy, where groups are quick and nothing else keeps the server busy.
        """
        if not queue.waiting or queue.beginning:
            return False
        may_go_abreast = self._load.groups < _ABREAST and self._took < _QUICK_SECONDS
        return not queue.groups or (may_go_abreast and len(queue.waiting) + 1 >= queue.busy)

    def _take(self, queue: _Queue[T, R]) -> list[tuple[T, asyncio.Future[R]]]:
        """Take all who wait; where two groups may go abreast, a half of all, so that they are of one size."""
        may_go_abreast = self._load.groups == queue.groups and self._took < _QUICK_SECONDS
        share = ceil((len(queue.waiting) + queue.busy) / (_ABREAST if may_go_abreast else 1))
        return [queue.waiting.popleft() for _ in range(min(len(queue.waiting), share, _MOST_TOGETHER))]

    def _begin(self, key: K, queue: _Queue[T, R]) -> None:
        """Begin a group a moment later, so that who comes in the same moment is in it."""
        queue.beginning = True
        queue.groups += 1
        self._load.groups += 1
        run = asyncio.create_task(self._run(key, queue))
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)

    async def _run(self, key: K, queue: _Queue[T, R]) -> None:
        queue.beginning = False
        group = self._take(queue)
        queue.busy += len(group)
        if self._may_begin(queue):
            self._begin(key, queue)
        began = perf_counter()
        try:
            await self._do(key, group, queue)
        finally:
            self._took = perf_counter() - began
            # A run that is cancelled leaves nobody waiting for it.
            for _, result in group:
                result.cancel()
            queue.busy -= len(group)
            queue.groups -= 1
            self._load.groups -= 1
            if self._may_begin(queue):
                self._begin(key, queue)
            elif not queue.groups:
                del self._queues[key]

    async def _do(self, key: K, group: Sequence[tuple[T, asyncio.Future[R]]], queue: _Queue[T, R]) -> None:
        try:
            results = await self._work(key, [item for item, _ in group])
        except Unavailable as error:
            # Nothing can be worked on just now. Who waits behind would hear the same, only later, unless a group beside
            # this one is worked on, and takes them next.
            waiting = [] if queue.groups > 1 else list(queue.waiting)
            for _, result in (*group, *waiting):
                _tell(result, error)
            if waiting:
                queue.waiting.clear()
        except Exception as error:  # noqa: BLE001 -- told to everyone of the group, and to nobody else
            for _, result in group:
                _tell(result, error)
        else:
            for (_, result), own in zip(group, results, strict=True):
                _tell(result, own)


def _tell(result: asyncio.Future[R], own: R | Exception) -> None:
    """Answer who still waits; a caller may have gone."""
    if result.done():
        return
    if isinstance(own, Exception):
        result.set_exception(own)
    else:
        result.set_result(own)
