from datetime import datetime

import msgspec

from loyalty.core.clock import rfc3339
from loyalty.jobs.models import Job
from loyalty.jobs.rules import state_of


class JobOut(msgspec.Struct):
    """A recurring job. `state` is waiting, running, retrying or failing; instants are the real world's.

    `attempts` counts failures in a row, `last_done` what the last run that succeeded did.
    """

    name: str
    state: str
    next_run_at: str
    attempts: int
    last_started_at: str | None
    last_finished_at: str | None
    last_done: int | None
    last_error: str | None


class JobList(msgspec.Struct):
    data: list[JobOut]


def job_list(jobs: list[Job], *, real_now: datetime) -> JobList:
    return JobList([_job_out(job, real_now) for job in jobs])


def _job_out(job: Job, real_now: datetime) -> JobOut:
    is_leased = job.leased_until is not None and job.leased_until > real_now
    return JobOut(
        name=job.name,
        state=state_of(is_leased=is_leased, attempts=job.attempts),
        next_run_at=rfc3339(job.run_at),
        attempts=job.attempts,
        last_started_at=rfc3339(job.last_started_at) if job.last_started_at else None,
        last_finished_at=rfc3339(job.last_finished_at) if job.last_finished_at else None,
        last_done=job.last_done,
        last_error=job.last_error,
    )
