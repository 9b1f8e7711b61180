from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.jobs import models


async def insert_jobs(session: AsyncSession, *, program_id: UUID, names: Collection[str], run_at: datetime) -> None:
    """Give a program the jobs that it has not yet."""
    await session.execute(
        insert(models.Job)
        .values([{"program_id": program_id, "name": name, "run_at": run_at, "attempts": 0} for name in sorted(names)])
        .on_conflict_do_nothing()
    )


async def lock_due_job(
    session: AsyncSession, *, program_id: UUID, names: Collection[str], now: datetime
) -> models.Job | None:
    """Lock the longest waiting job that is due and nobody's; others that look at the same time skip it."""
    job = models.Job
    found = await session.execute(
        select(job)
        .where(job.program_id == program_id, job.name.in_(list(names)), job.run_at <= now)
        .where(job.leased_until.is_(None) | (job.leased_until <= now))
        .order_by(job.run_at)
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True)
    )
    return found.scalar_one_or_none()


async def lease_job(session: AsyncSession, *, program_id: UUID, name: str, now: datetime, until: datetime) -> None:
    job = models.Job
    await session.execute(
        update(job)
        .where(job.program_id == program_id, job.name == name)
        .values(leased_until=until, last_started_at=now)
    )


async def end_run(
    session: AsyncSession,
    *,
    program_id: UUID,
    name: str,
    started_at: datetime,
    now: datetime,
    run_at: datetime,
    attempts: int,
    done: int | None,
    error: str | None,
) -> None:
    """Write what became of a run, unless another worker has taken the job since."""
    job = models.Job
    await session.execute(
        update(job)
        .where(job.program_id == program_id, job.name == name, job.last_started_at == started_at)
        .values(
            leased_until=None,
            run_at=run_at,
            attempts=attempts,
            last_finished_at=now,
            last_done=done,
            last_error=error,
        )
    )


async def list_jobs(session: AsyncSession, *, program_id: UUID) -> list[models.Job]:
    job = models.Job
    return list((await session.execute(select(job).where(job.program_id == program_id).order_by(job.name))).scalars())
