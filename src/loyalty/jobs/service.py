from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.jobs import models, queries, rules


async def take(session: AsyncSession, *, program_id: UUID, names: Collection[str], now: datetime) -> models.Job | None:
    """Take a job that is due, for as long as the lease; None if there is none. Several workers never take the same."""
    job = await queries.lock_due_job(session, program_id=program_id, names=names, now=now)
    if job is not None:
        await queries.lease_job(session, program_id=program_id, name=job.name, now=now, until=now + rules.LEASE)
    return job


async def introduce(session: AsyncSession, *, program_id: UUID, names: Collection[str], now: datetime) -> None:
    """Give a program the jobs that it has not yet; they are due at once."""
    known = {job.name for job in await queries.list_jobs(session, program_id=program_id)}
    if missing := set(names) - known:
        await queries.insert_jobs(session, program_id=program_id, names=missing, run_at=now)


async def succeed(
    session: AsyncSession,
    *,
    program_id: UUID,
    name: str,
    started_at: datetime,
    done: int,
    every: timedelta,
    now: datetime,
) -> None:
    """Write that a run did its work, and when the next is due."""
    await queries.end_run(
        session,
        program_id=program_id,
        name=name,
        started_at=started_at,
        now=now,
        run_at=now + every,
        attempts=0,
        done=done,
        error=None,
    )


async def fail(
    session: AsyncSession,
    *,
    program_id: UUID,
    name: str,
    started_at: datetime,
    attempts: int,
    error: str,
    now: datetime,
) -> None:
    """Write that a run failed, and why; it is tried again after a while."""
    await queries.end_run(
        session,
        program_id=program_id,
        name=name,
        started_at=started_at,
        now=now,
        run_at=now + rules.pause_after(attempts),
        attempts=attempts,
        done=None,
        error=error,
    )


async def listing(session: AsyncSession, *, program_id: UUID) -> list[models.Job]:
    return await queries.list_jobs(session, program_id=program_id)
