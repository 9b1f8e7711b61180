from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import idempotency
from loyalty.points import service as points
from loyalty.programs import service as programs
from loyalty.programs.rules import Program

_KEEP_KEYS: Final = timedelta(days=30)

Batch = Callable[[AsyncSession, Program, datetime, int], Awaitable[int]]
"""Does at most so many things that are due by now in a program, in one transaction; returns how many."""


@dataclass(frozen=True)
class Job:
    """A recurring job: how often to look, how much to do in one transaction. It goes on until a batch is not full."""

    every: timedelta
    batch: int
    work: Batch


async def settle(session: AsyncSession, program: Program, now: datetime, limit: int) -> int:
    """Activate, expire and release what is due in wallets."""
    return await points.settle_due(session, program=program, now=now, limit=limit)


async def forget_keys(session: AsyncSession, program: Program, now: datetime, limit: int) -> int:
    """Forget idempotency keys older than thirty days of the program's own time."""
    return await idempotency.prune(session, program_id=program.id, before=now - _KEEP_KEYS, limit=limit)


JOBS: Final = {
    "settle_wallets": Job(timedelta(seconds=10), 200, settle),
    "forget_keys": Job(timedelta(hours=1), 5_000, forget_keys),
}


async def advance_clock(session: AsyncSession, *, program: Program, to: datetime, real_now: datetime) -> Program:
    """Move a test program's clock forward, and do everything on the way that would have happened, in order.

    Raises LiveProgramHasNoTestClock, ClockWouldRunBackwards.
    """
    moved = await programs.advance_clock(session, program_id=program.id, to=to, real_now=real_now)
    while (due := await points.next_due(session, program_id=program.id)) is not None and due <= to:
        at = max(due, program.now(real_now))
        while await settle(session, program, at, JOBS["settle_wallets"].batch):
            pass
    return moved
