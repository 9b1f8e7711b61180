"""Programs, and how their jobs stand."""

from datetime import datetime

import click
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.cli.terminal import ACTOR, OneOf, checked, in_transaction
from loyalty.core import clock, ids
from loyalty.core.fields import Currency, Unit
from loyalty.jobs import service as jobs
from loyalty.programs import service as programs
from loyalty.programs.rules import Mode, ProgramRules
from loyalty.programs.schemas import Slug, TimeZone
from loyalty.schedule.schemas import JobList, job_list


@click.group("programs")
def programs_group() -> None:
    """Programs."""


@programs_group.command("create")
@click.argument("slug")
@click.option("--name", required=True)
@click.option("--mode", type=OneOf(Mode), default=Mode.TEST, show_default=True)
@click.option(
    "--currency", "currencies", multiple=True, required=True, help="ISO 4217; repeat for more, the main one first."
)
@click.option("--time-zone", required=True, help="IANA, such as Europe/Berlin.")
@click.option("--unit", default="points", show_default=True)
@click.option("--clock-at", help="RFC 3339: where a test program's clock begins; it follows the real one unless given.")
def create_program(
    slug: str, name: str, mode: Mode, currencies: tuple[str, ...], time_zone: str, unit: str, clock_at: str | None
) -> None:
    """Create a program."""
    rules = ProgramRules(
        currencies=tuple(checked(Currency, currency) for currency in currencies),
        time_zone=checked(TimeZone, time_zone),
        unit=checked(Unit, unit),
    )
    short = checked(Slug, slug)
    begins = checked(datetime, clock_at) if clock_at else None

    async def create(session: AsyncSession) -> str:
        program = await programs.create(
            session,
            slug=short,
            name=name,
            mode=mode,
            rules=rules,
            clock_at=begins,
            actor=ACTOR,
            now=clock.now(),
        )
        return ids.public("prg", program.id)

    click.echo(in_transaction(create))


@click.command("jobs")
@click.option("--program", "slug", required=True)
def show_jobs(slug: str) -> None:
    """Show a program's jobs: how each stands, when it ran last and runs next, and why it failed."""

    async def listing(session: AsyncSession) -> JobList:
        program = await programs.get_by_slug(session, slug=slug)
        return job_list(await jobs.listing(session, program_id=program.id), real_now=clock.now())

    for job in in_transaction(listing).data:
        did = "" if job.last_done is None else f", {job.last_done} done"
        click.echo(f"{job.name}: {job.state}, last {job.last_finished_at or 'never'}{did}, next {job.next_run_at}")
        if job.last_error is not None:
            click.echo(f"  failed {job.attempts} times: {job.last_error}")
