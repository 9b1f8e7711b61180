"""Items that wait at the same time are worked on together."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from loyalty.core import grouping
from loyalty.core.grouping import Groups, Load, TooManyWaiting


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call no group slow because the machine is."""
    monkeypatch.setattr(grouping, "_QUICK_SECONDS", 1e9)


async def quick(work: Any, load: Load | None = None) -> Groups[str, int, int]:
    """Return groups of which one was quick."""
    groups = Groups[str, int, int](_at_once, load or Load())
    await groups.submit("a", 0)
    groups._work = work
    return groups


async def _at_once(_: str, items: Sequence[int]) -> Sequence[int]:
    return items


class Work:
    def __init__(self) -> None:
        self.groups: list[tuple[str, list[int]]] = []
        self.may_go = asyncio.Event()

    async def __call__(self, key: str, items: Sequence[int]) -> list[int]:
        self.groups.append((key, list(items)))
        await self.may_go.wait()
        if 13 in items:
            raise ValueError(13)
        return [10 * item for item in items]


async def test_who_comes_during_two_groups_is_in_the_next_and_hears_their_own_result() -> None:
    work = Work()
    groups = await quick(work)
    first = [asyncio.create_task(groups.submit("a", n)) for n in (1, 2, 3)]
    await _a_moment()
    assert work.groups == [("a", [1, 2]), ("a", [3])]
    others = [asyncio.create_task(groups.submit("a", n)) for n in (4, 5, 6)]
    elsewhere = asyncio.create_task(groups.submit("b", 7))
    await _a_moment()
    assert work.groups[2:] == [("b", [7])]
    work.may_go.set()
    assert await asyncio.gather(*first, *others, elsewhere) == [10, 20, 30, 40, 50, 60, 70]
    assert sorted(item for key, items in work.groups for item in items if key == "a") == [1, 2, 3, 4, 5, 6]
    assert await groups.submit("a", 8) == 80


async def test_a_second_group_begins_once_as_many_wait_as_are_worked_on() -> None:
    work = Work()
    groups = await quick(work)
    first = [asyncio.create_task(groups.submit("a", n)) for n in range(8)]
    await _a_moment()
    assert work.groups == [("a", [0, 1, 2, 3]), ("a", [4, 5, 6, 7])]
    work.may_go.set()
    await asyncio.gather(*first)
    work.may_go.clear()
    alone = asyncio.create_task(groups.submit("a", 10))
    await _a_moment()
    beside = asyncio.create_task(groups.submit("a", 11))
    await _a_moment()
    assert work.groups[2:] == [("a", [10]), ("a", [11])]
    work.may_go.set()
    assert list(await asyncio.gather(alone, beside)) == [100, 110]


async def test_no_second_group_begins_while_others_keep_the_server_busy() -> None:
    work, load = Work(), Load()
    orders, quotes = await quick(work, load), await quick(work, load)
    elsewhere = asyncio.create_task(quotes.submit("a", 1))
    await _a_moment()
    here = [asyncio.create_task(orders.submit("a", n)) for n in (2, 3, 4)]
    await _a_moment()
    late = asyncio.create_task(orders.submit("a", 5))
    await _a_moment()
    assert work.groups == [("a", [1]), ("a", [2, 3, 4])]
    work.may_go.set()
    assert await asyncio.gather(elsewhere, *here, late) == [10, 20, 30, 40, 50]
    assert load.groups == 0


async def test_no_second_group_begins_before_one_was_quick() -> None:
    work = Work()
    groups = Groups(work, Load())
    first = [asyncio.create_task(groups.submit("a", n)) for n in (1, 2)]
    await _a_moment()
    others = [asyncio.create_task(groups.submit("a", n)) for n in (3, 4, 5)]
    await _a_moment()
    assert work.groups == [("a", [1, 2])]
    work.may_go.set()
    assert await asyncio.gather(*first, *others) == [10, 20, 30, 40, 50]
    assert [items for _, items in work.groups] == [[1, 2], [3, 4], [5]]


async def test_what_fails_is_told_to_its_group_and_the_next_goes_on() -> None:
    work = Work()
    work.may_go.set()
    groups = await quick(work)
    found = await asyncio.gather(*(groups.submit("a", n) for n in (1, 13, 2, 3)), return_exceptions=True)
    assert [type(own) for own in found] == [ValueError, ValueError, int, int]
    assert await groups.submit("a", 2) == 20


async def test_where_nothing_can_be_worked_on_everybody_who_waits_hears_so_at_once() -> None:
    may_go = asyncio.Event()

    async def work(_: str, items: Sequence[int]) -> list[int]:
        await may_go.wait()
        if 13 in items:
            raise TooManyWaiting
        return [10 * item for item in items]

    groups = await quick(work)
    first = [asyncio.create_task(groups.submit("a", n)) for n in (13, 1)]
    await _a_moment()
    others = [asyncio.create_task(groups.submit("a", n)) for n in (2, 3)]
    await asyncio.sleep(0)
    may_go.set()
    found = await asyncio.gather(*first, *others, return_exceptions=True)
    assert [type(own) for own in found] == [TooManyWaiting, int, int, int]  # by the group beside it
    alone = [asyncio.create_task(groups.submit("a", 13))]
    may_go.clear()
    await _a_moment()
    alone += [asyncio.create_task(groups.submit("a", n)) for n in (13, 2)]
    await _a_moment()
    alone += [asyncio.create_task(groups.submit("a", n)) for n in (4, 5)]
    await asyncio.sleep(0)
    may_go.set()
    refused = await asyncio.gather(*alone, return_exceptions=True)
    assert [type(own) for own in refused[:2]] == [TooManyWaiting] * 2
    assert await groups.submit("a", 3) == 30


async def test_who_goes_away_takes_nobody_along() -> None:
    work = Work()
    groups = await quick(work)
    one, other, last = [asyncio.create_task(groups.submit("a", n)) for n in (1, 2, 3)]
    await asyncio.sleep(0)
    one.cancel()
    work.may_go.set()
    assert list(await asyncio.gather(other, last)) == [20, 30]
    with pytest.raises(asyncio.CancelledError):
        await one


async def test_a_run_that_is_cancelled_leaves_nobody_waiting() -> None:
    async def work(_: str, items: Sequence[int]) -> list[int]:
        if 13 in items:
            raise asyncio.CancelledError
        return [10 * item for item in items]

    groups = await quick(work)
    found = await asyncio.gather(*(groups.submit("a", n) for n in (1, 13, 2)), return_exceptions=True)
    assert [type(own) for own in found] == [asyncio.CancelledError, asyncio.CancelledError, int]
    assert await groups.submit("a", 2) == 20


async def test_no_more_than_so_many_wait_or_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "_MOST_WAITING", 5)
    monkeypatch.setattr(grouping, "_MOST_TOGETHER", 2)
    work = Work()
    groups = await quick(work)
    waiting = [asyncio.create_task(groups.submit("a", n)) for n in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyWaiting):
        await groups.submit("a", 9)
    work.may_go.set()
    assert await asyncio.gather(*waiting) == [0, 10, 20, 30, 40]
    assert {len(items) for _, items in work.groups} <= {1, 2}


async def _a_moment() -> None:
    """Let groups begin."""
    for _ in range(4):
        await asyncio.sleep(0)
