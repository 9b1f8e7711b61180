"""Programs, and how their jobs stand."""

from datetime import datetime
from pathlib import Path

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.cli.terminal import ACTOR, OneOf, checked, in_transaction
from loyalty.configuration import service as configuration
from loyalty.configuration.rules import Action, Change, LeftAlone, Part, Result, Why
from loyalty.configuration.schemas import ConfigurationIn, configuration_out, configuration_yaml
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


@programs_group.command("export")
@click.argument("slug")
def export_program(slug: str) -> None:
    """Print a program's configuration as YAML: settings, earning rules, rewards, referral campaign."""

    async def read(session: AsyncSession) -> str:
        program = await programs.get_by_slug(session, slug=slug)
        found = await configuration.read(session, program_id=program.id, now=program.now(clock.now()))
        return configuration_yaml(configuration_out(found))

    click.echo(in_transaction(read), nl=False)


@programs_group.command("import")
@click.argument("slug")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
def import_program(slug: str, file: Path, dry_run: bool) -> None:
    """Make a program's configuration what FILE says, as `export` printed it, and say what that changes.

    All of it or nothing. What is not in FILE ends, unless a whole part is not: that stays.
    """
    content = file.read_bytes()

    async def apply(session: AsyncSession) -> Result:
        program = await programs.get_by_slug(session, slug=slug)
        now = program.now(clock.now())
        wish = ConfigurationIn.read(content).wish(program.rules, now=now)
        result = await configuration.apply(session, program_id=program.id, wish=wish, actor=ACTOR, now=now)
        if dry_run:
            await session.rollback()
        return result

    result = in_transaction(apply)
    for line in [*map(_change, result.changes), *map(_left_alone, result.left_alone)] or ["Nothing changes."]:
        click.echo(line)


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


def _change(change: Change) -> str:
    thing = _thing(change.part, change.name)
    fields = ", ".join(f"{own.field} {_value(own.before)} → {_value(own.after)}" for own in change.fields)
    match change.action:
        case Action.CREATE:
            return f"+ {thing}"
        case Action.CHANGE:
            return f"~ {thing}: {fields}"
        case Action.REPLACE:
            return f"~ {thing} retired and made anew: {fields}"
        case Action.RETIRE:
            return f"- {thing} retired"


def _left_alone(left: LeftAlone) -> str:
    said = {
        Why.OVER: "had ended by now",
        Why.DRAFT: "keeps a draft that is not in the file",
        Why.STOCK: "keeps what is left of it",
    }
    return f"= {_thing(left.part, left.name)} {said[left.why]}"


def _thing(part: Part, name: str | None) -> str:
    word = part.removeprefix("earning_").replace("_", " ")
    return word if name is None else f'{word} "{name}"'


def _value(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
