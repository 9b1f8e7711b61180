from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.activities import birthdays
from loyalty.books import service as books
from loyalty.core import idempotency
from loyalty.points import service as points
from loyalty.programs import service as programs
from loyalty.programs.rules import Program
from loyalty.quotes import service as quotes
from loyalty.rewards import coupons
from loyalty.simulations import service as simulations

_KEEP_KEYS: Final = timedelta(days=30)
_KEEP_QUOTES: Final = timedelta(days=1)
_KEEP_SIMULATIONS: Final = timedelta(days=90)


@dataclass(frozen=True)
class Moment:
    """The program's present, which its test clock may set, and the real world's."""

    now: datetime
    real: datetime


Batch = Callable[[AsyncSession, Program, Moment, int], Awaitable[int]]
"""Does at most so many things that are due in a program, in one transaction; returns how many."""


@dataclass(frozen=True)
class Job:
    """A recurring job: how often to look, how much to do in one transaction. It goes on until a batch is not full."""

    every: timedelta
    batch: int
    work: Batch


async def settle(session: AsyncSession, program: Program, moment: Moment, limit: int) -> int:
    """Activate, expire and release what is due in wallets."""
    return await points.settle_due(session, program=program, now=moment.now, limit=limit)


async def forget_keys(session: AsyncSession, program: Program, moment: Moment, limit: int) -> int:
    """Forget idempotency keys older than thirty days of the program's own time."""
    return await idempotency.prune(session, program_id=program.id, before=moment.now - _KEEP_KEYS, limit=limit)


async def forget_quotes(session: AsyncSession, program: Program, moment: Moment, limit: int) -> int:
    """Forget quotes that have not been valid for a day."""
    return await quotes.forget(session, program_id=program.id, before=moment.now - _KEEP_QUOTES, limit=limit)


async def expire_coupons(session: AsyncSession, program: Program, moment: Moment, limit: int) -> int:
    """Tell of coupons whose time is over."""
    return await coupons.expire(session, program_id=program.id, now=moment.now, limit=limit)


async def celebrate(session: AsyncSession, program: Program, moment: Moment, limit: int) -> int:
    """Record birthdays up to today, and let them earn."""
    return await birthdays.celebrate(session, program=program, now=moment.now, limit=limit)


async def seal(session: AsyncSession, program: Program, moment: Moment, _: int) -> int:
    """Seal the next closed day of the ledger."""
    return int(await books.seal_next(session, program=program, now=moment.now, real_now=moment.real))


async def simulate(session: AsyncSession, program: Program, moment: Moment, limit: int) -> int:
    """Try rules on the next past orders."""
    return await simulations.go_on(session, program=program, now=moment.now, limit=limit)


async def forget_simulations(session: AsyncSession, program: Program, moment: Moment, limit: int) -> int:
    """Forget simulations asked for ninety days ago, and of each that has ended what it needed only till then."""
    return await simulations.forget(session, program_id=program.id, before=moment.now - _KEEP_SIMULATIONS, limit=limit)


JOBS: Final = {
    "settle_wallets": Job(timedelta(seconds=10), 200, settle),
    "forget_keys": Job(timedelta(hours=1), 5_000, forget_keys),
    "forget_quotes": Job(timedelta(hours=1), 5_000, forget_quotes),
    "expire_coupons": Job(timedelta(minutes=1), 500, expire_coupons),
    "celebrate_birthdays": Job(timedelta(minutes=10), 1, celebrate),
    "simulate": Job(timedelta(seconds=10), 500, simulate),
    "forget_simulations": Job(timedelta(hours=1), 1_000, forget_simulations),
    "seal_ledger": Job(timedelta(hours=1), 1, seal),
}


async def advance_clock(session: AsyncSession, *, program: Program, to: datetime, real_now: datetime) -> Program:
    """Move a test program's clock forward, and do everything on the way that would have happened, in order.

    Raises LiveProgramHasNoTestClock, ClockWouldRunBackwards.
    """
    await birthdays.introduce(session, program=program, now=program.now(real_now))
    moved = await programs.advance_clock(session, program_id=program.id, to=to, real_now=real_now)
    born = await birthdays.lock(session, program=program, until=to)
    await points.lock_due(session, program_id=program.id, until=to, members=born)
    done_at = None
    while (due := await _next_due(session, program=program, after=done_at)) is not None and due <= to:
        done_at = max(due, program.now(real_now))
        for name in ("settle_wallets", "expire_coupons", "celebrate_birthdays"):
            await _do_all(session, name, program, Moment(done_at, real_now))
    await _do_all(session, "celebrate_birthdays", program, Moment(to, real_now))
    return moved


async def _do_all(session: AsyncSession, name: str, program: Program, moment: Moment) -> None:
    while await JOBS[name].work(session, program, moment, JOBS[name].batch):
        pass


async def _next_due(session: AsyncSession, *, program: Program, after: datetime | None) -> datetime | None:
    """Return when something is due next. A coupon that somebody holds is passed by, and left to the job."""
    found = (
        await points.next_due(session, program_id=program.id),
        await coupons.next_expiry(session, program_id=program.id, after=after),
        await birthdays.next_due(session, program=program),
    )
    return min((due for due in found if due is not None), default=None)
