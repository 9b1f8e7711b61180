"""Background work: numbering the events that requests left behind, and the jobs of every program."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from loyalty.core import clock, months, statistics
from loyalty.core.db import Sessions, transaction
from loyalty.jobs import service as jobs
from loyalty.outbox import service as outbox
from loyalty.programs import queries as programs
from loyalty.schedule.service import JOBS, Moment
from loyalty.schema import BY_MONTH

_IDLE_SECONDS: Final = 1.0
_BATCH: Final = 5000
_MOST_ERROR: Final = 500
_MONTHS_EVERY: Final = timedelta(hours=1)
_STATISTICS_EVERY: Final = timedelta(seconds=5)
_TURN: Final = timedelta(seconds=5)

_log = logging.getLogger("loyalty.worker")


async def run(sessions: Sessions, *, stop: asyncio.Event, heartbeat: Path | None = None) -> None:
    """Work until told to stop, touching `heartbeat` after each round that did not fail.

    Each step is one bounded transaction; several workers beside each other are safe.
    """
    months_at = statistics_at = clock.now()
    while not stop.is_set():
        try:
            if months_at <= clock.now():
                await make_months(sessions)
                months_at = clock.now() + _MONTHS_EVERY
            if statistics_at <= clock.now():
                statistics_at = clock.now() + _STATISTICS_EVERY
                await statistics.refresh(sessions)
            moved = await relay_all(sessions) + await run_due_jobs(sessions)
            if heartbeat is not None:
                await asyncio.to_thread(heartbeat.touch)
        except Exception:  # noqa: BLE001 -- whatever failed, the next round must still come
            _log.exception("background work failed; it is tried again")
            moved = 0
        if not moved:
            await _wait(stop, _IDLE_SECONDS)


async def make_months(sessions: Sessions) -> int:
    """Make the months ahead of tables that are divided; who may not, leaves it to the operator, and says so."""
    made = 0
    for table in BY_MONTH:
        try:
            async with transaction(sessions) as session:
                if await months.is_divided(session, table):
                    made += len(await months.extend(session, table, now=clock.now()))
        except DBAPIError:
            _log.exception("no months could be made ahead", extra={"table": table})
    return made


async def relay_all(sessions: Sessions) -> int:
    """Number waiting events, program by program; return how many."""
    return await _for_each_program(sessions, _relay)


async def run_due_jobs(sessions: Sessions) -> int:
    """Run every job that is due and nobody else's, program by program; return how many things they did."""
    return await _for_each_program(sessions, _run_jobs)


async def _for_each_program(sessions: Sessions, work: Callable[[Sessions, UUID], Awaitable[int]]) -> int:
    """Do work for every program, and add up what it came to; what fails for one must not starve the others."""
    done, failed = 0, None
    async with transaction(sessions) as session:
        program_ids = await programs.list_program_ids(session)
    for program_id in program_ids:
        try:
            done += await work(sessions, program_id)
        except (DBAPIError, OSError) as error:
            failed = error
    if failed is not None:
        raise failed
    return done


async def _relay(sessions: Sessions, program_id: UUID) -> int:
    async with transaction(sessions) as session:
        return await outbox.relay(session, program_id=program_id, limit=_BATCH)


async def _run_jobs(sessions: Sessions, program_id: UUID) -> int:
    async with transaction(sessions) as session:
        await jobs.introduce(session, program_id=program_id, names=JOBS, now=clock.now())
    done = 0
    for _ in JOBS:
        started_at = clock.now()
        async with transaction(sessions) as session:
            job = await jobs.take(session, program_id=program_id, names=JOBS, now=started_at)
        if job is None:
            break
        try:
            did, is_done = await _do(sessions, program_id, job.name)
        except Exception as error:  # noqa: BLE001 -- whatever it was is kept with the job, and tried again
            _log.exception("job failed", extra={"job": job.name, "program_id": str(program_id)})
            async with transaction(sessions) as session:
                await jobs.fail(
                    session,
                    program_id=program_id,
                    name=job.name,
                    started_at=started_at,
                    attempts=job.attempts + 1,
                    error=f"{type(error).__name__}: {error}"[:_MOST_ERROR],
                    now=clock.now(),
                )
            continue
        async with transaction(sessions) as session:
            await jobs.succeed(
                session,
                program_id=program_id,
                name=job.name,
                started_at=started_at,
                done=did,
                every=JOBS[job.name].every if is_done else timedelta(),
                now=clock.now(),
            )
        done += did
    return done


async def _do(sessions: Sessions, program_id: UUID, name: str) -> tuple[int, bool]:
    """Work in bounded transactions until one finds less than it may do, or until others should have a turn.

    Returns how many things were done, and whether none is left. A turn is far shorter than a lease.
    """
    job, done, ends_at = JOBS[name], 0, clock.now() + _TURN
    while True:
        async with transaction(sessions) as session:
            program = await programs.get_program(session, program_id=program_id)
            real = clock.now()
            batch = await job.work(session, program, Moment(program.now(real), real), job.batch)
        done += batch
        if batch < job.batch or real >= ends_at:
            return done, batch < job.batch


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), timeout=seconds)
    except TimeoutError:
        return
