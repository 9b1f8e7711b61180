"""What is brought in by the file: a program's history, and points for many members."""

import sys
from itertools import islice
from pathlib import Path

import click
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import Progress
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.adjustments import bulk
from loyalty.cli.terminal import ACTOR, in_transaction, with_sessions
from loyalty.core import clock, statistics
from loyalty.core.db import Sessions, transaction
from loyalty.imports import service as imports
from loyalty.imports.rules import Record
from loyalty.imports.schemas import MAX_RECORDS, EnrolmentRecord, OrderRecord, RecordIn
from loyalty.programs import service as programs


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--program", "slug", required=True)
def import_history(file: Path, slug: str) -> None:
    """Import enrolments and orders from FILE: one JSON record a line, in order of time. Safe to run again."""
    adapter: TypeAdapter[EnrolmentRecord | OrderRecord] = TypeAdapter(RecordIn)

    async def bring_in(sessions: Sessions) -> imports.Result:
        done = imports.Result(0, 0, 0, 0)
        with file.open("rb") as lines, Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("Importing", total=None)
            numbered = enumerate(lines, start=1)
            while batch := [_record(adapter, line, number=number) for number, line in islice(numbered, MAX_RECORDS)]:
                async with transaction(sessions) as session:
                    program = await programs.get_by_slug(session, slug=slug)
                    now = program.now(clock.now())
                    done += await imports.apply(session, program=program, records=batch, now=now)
                await statistics.refresh(sessions)
                progress.advance(task, len(batch))
        return done

    done = with_sessions(bring_in)
    click.echo(f"{done.orders} orders, {done.enrolments} enrolments, {done.referrals} referrals.")
    click.echo(f"{done.skipped} records were there already.")


@click.command("adjust")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--program", "slug", required=True)
@click.option("--dry-run", is_flag=True, help="Say what would happen, and do nothing.")
def adjust_many(file: Path, slug: str, dry_run: bool) -> None:
    """Give or take points from FILE, a CSV of external_id,member,points,reason; exits 1 if a row is refused.

    Safe to run again: a row is known by its external id.
    """
    text = file.read_text(encoding="utf-8", errors="replace")

    async def apply(session: AsyncSession) -> list[bulk.Outcome]:
        rows = bulk.read(text)
        program = await programs.get_by_slug(session, slug=slug)
        outcomes = await bulk.apply(session, program=program, rows=rows, actor=ACTOR, now=program.now(clock.now()))
        if dry_run:
            await session.rollback()
        return outcomes

    outcomes = in_transaction(apply)
    for outcome in outcomes:
        click.echo(
            f"{outcome.row}: {outcome.external_id}: {outcome.outcome}{f' ({outcome.code})' if outcome.code else ''}"
        )
    if any(outcome.outcome == "refused" for outcome in outcomes):
        sys.exit(1)


def _record(adapter: TypeAdapter[EnrolmentRecord | OrderRecord], line: bytes, *, number: int) -> Record:
    try:
        return adapter.validate_json(line).record()
    except ValidationError as error:
        faults = [f"  {'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
        raise click.ClickException("\n".join([f"Line {number} cannot be read:", *faults])) from error
