"""Requests that wait at the same time are worked on together: no timer, and nothing waits for company."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Final, Generic, TypeVar

from loyalty.core.errors import Unavailable

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
R = TypeVar("R")

_MOST_TOGETHER: Final = 100
_ABREAST: Final = 2
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

    load: Load
    waiting: deque[tuple[T, asyncio.Future[R]]] = field(default_factory=deque)
    groups: int = 0
    beginning: bool = False
    busy: int = 0

    @property
    def may_begin(self) -> bool:
        """Tell whether to begin another group: at once where there is none.

        Else with (all but) as many as are busy, and where nothing else keeps the server busy.
        """
        enough = not self.groups or (self.load.groups < _ABREAST and len(self.waiting) + 1 >= self.busy)
        return bool(self.waiting) and enough and not self.beginning

    def take(self) -> list[tuple[T, asyncio.Future[R]]]:
        """Take all who wait; where two groups may go abreast, a half of all, so that they are of one size."""
        alone = self.load.groups == self.groups
        share = ceil((len(self.waiting) + self.busy) / (_ABREAST if alone else 1))
        return [self.waiting.popleft() for _ in range(min(len(self.waiting), share, _MOST_TOGETHER))]


class Groups(Generic[K, T, R]):
    """Works on items of one key (a program) a group at a time, each group as large as what came meanwhile.

    While one group waits for the database the next is worked on: two are abreast, unless others keep the server busy.
    `work` gets a key and its items and returns a result for each, in order. What it raises is raised to each of them,
    and Unavailable to all who wait. Who waits holds no connection.
    """

    def __init__(self, work: Callable[[K, Sequence[T]], Awaitable[Sequence[R]]], load: Load) -> None:
        self._work = work
        self._load = load
        self._queues: dict[K, _Queue[T, R]] = {}
        self._runs: set[asyncio.Task[None]] = set()

    async def submit(self, key: K, item: T) -> R:
        """Return what became of an item. Raises TooManyWaiting."""
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue(self._load)
        if len(queue.waiting) >= _MOST_WAITING:
            raise TooManyWaiting
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        queue.waiting.append((item, result))
        if queue.may_begin:
            self._begin(key, queue)
        return await result

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
        group = queue.take()
        queue.busy += len(group)
        if queue.may_begin:
            self._begin(key, queue)
        try:
            await self._do(key, group, queue)
        finally:
            # A run that is cancelled leaves nobody waiting for it.
            for _, result in group:
                result.cancel()
            queue.busy -= len(group)
            queue.groups -= 1
            self._load.groups -= 1
            if queue.may_begin:
                self._begin(key, queue)
            elif not queue.groups:
                del self._queues[key]

    async def _do(self, key: K, group: Sequence[tuple[T, asyncio.Future[R]]], queue: _Queue[T, R]) -> None:
        try:
            results = await self._work(key, [item for item, _ in group])
        except Unavailable as error:
            # Nothing can be worked on just now: who waits behind would hear the same, only later.
            for _, result in (*group, *queue.waiting):
                _tell(result, error)
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
