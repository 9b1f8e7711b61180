"""The command line: `loyalty --help`."""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Final, TypeVar

import click
import uvicorn
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import Progress
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty import local, worker
from loyalty.access import service as access
from loyalty.access.passwords import Passwords
from loyalty.access.rules import ALL_KEY_SCOPES, KeyKind, Role, Scope
from loyalty.adjustments import bulk
from loyalty.app import create_app
from loyalty.books import service as books
from loyalty.core import clock, ids, migrate
from loyalty.core.clock import rfc3339
from loyalty.core.db import Sessions, create_engine, create_sessions, transaction
from loyalty.core.embedded import EmbeddedRefused
from loyalty.core.errors import Fault, LoyaltyError, ValidationFailed
from loyalty.core.fields import Currency, Email, Unit
from loyalty.core.reference import openapi_json
from loyalty.core.settings import Settings
from loyalty.demo import command as demonstration
from loyalty.imports import service as imports
from loyalty.imports.rules import Record
from loyalty.imports.schemas import MAX_RECORDS, EnrolmentRecord, OrderRecord, RecordIn
from loyalty.jobs import service as jobs
from loyalty.points import service as points
from loyalty.programs import service as programs
from loyalty.programs.rules import Mode, ProgramRules
from loyalty.programs.schemas import Slug, TimeZone
from loyalty.schedule.schemas import JobList, job_list

T = TypeVar("T")

_ACTOR: Final = "cli"
_UNHURRIED_MS: Final = 600_000
"""A statement at a terminal may take longer than one that a shopper waits for."""


class _OneOf(click.Choice[StrEnum]):
    """A choice of an enum's values; click would ask for their Python names."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:  # noqa: ARG002 -- as click calls it
        return str(choice)


class _Commands(click.Group):
    """Turns what cannot be started into a sentence instead of a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (EmbeddedRefused, local.SettingsRefused) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands)
def main() -> None:
    """An engine for loyalty and referral programs."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    signal.signal(signal.SIGTERM, _leave)


@main.command("migrate")
def migrate_database() -> None:
    """Bring the database to this release's schema."""
    with local.settings() as settings:
        migrate.upgrade(settings.database_url)
    click.echo("The schema is up to date.")


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True)
def serve(host: str, port: int) -> None:
    """Serve the API."""
    with local.settings() as settings:
        uvicorn.run(create_app(settings), host=host, port=port, log_level="warning", server_header=False)


@main.command("worker")
@click.option(
    "--heartbeat", type=click.Path(dir_okay=False, path_type=Path), help="A file to touch after each good round."
)
def run_worker(heartbeat: Path | None) -> None:
    """Do the background work."""
    with local.settings() as settings:
        asyncio.run(_work(settings, heartbeat=heartbeat))


@main.command()
@click.option("--once", is_flag=True, help="Load, print and end, without serving.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True)
def demo(*, once: bool, host: str, port: int) -> None:
    """Load real purchases into a demonstration program, show its reports, and serve it."""
    with local.settings() as settings:
        migrate.upgrade(settings.database_url)
        demonstration.run(settings, once=once, host=host, port=port)


@main.group("programs")
def programs_group() -> None:
    """Programs."""


@programs_group.command("create")
@click.argument("slug")
@click.option("--name", required=True)
@click.option("--mode", type=_OneOf(Mode), default=Mode.TEST, show_default=True)
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
        currencies=tuple(_checked(Currency, currency) for currency in currencies),
        time_zone=_checked(TimeZone, time_zone),
        unit=_checked(Unit, unit),
    )
    short = _checked(Slug, slug)
    begins = _checked(datetime, clock_at) if clock_at else None

    async def create(session: AsyncSession) -> str:
        program = await programs.create(
            session,
            slug=short,
            name=name,
            mode=mode,
            rules=rules,
            clock_at=begins,
            actor=_ACTOR,
            now=clock.now(),
        )
        return ids.public("prg", program.id)

    click.echo(_in_transaction(create))


@main.group("keys")
def keys_group() -> None:
    """Keys."""


@keys_group.command("create")
@click.option("--program", "slug", required=True)
@click.option("--name", required=True)
@click.option("--kind", type=_OneOf(KeyKind), default=KeyKind.SECRET, show_default=True)
@click.option(
    "--scope", "scopes", type=_OneOf(sorted(ALL_KEY_SCOPES)), multiple=True, help="For restricted keys; repeat."
)
def create_key(slug: str, name: str, kind: KeyKind, scopes: tuple[Scope, ...]) -> None:
    """Make a key and print it, this once."""

    async def create(session: AsyncSession) -> str:
        _, secret = await access.create_key(
            session,
            program=await programs.get_by_slug(session, slug=slug),
            kind=kind,
            name=name,
            scopes=frozenset(scopes),
            maker_scopes=ALL_KEY_SCOPES,
            expires_at=None,
            real_now=clock.now(),
        )
        return secret

    click.echo(_in_transaction(create))


@main.group("managers")
def managers_group() -> None:
    """Managers."""


@managers_group.command("add")
@click.argument("email")
@click.option("--program", "slug", required=True)
@click.option("--role", type=_OneOf(Role), default=Role.MANAGER, show_default=True)
@click.option("--password", prompt=True, hide_input=True, confirmation_prompt=True, envvar="LOYALTY_MANAGER_PASSWORD")
def add_manager(email: str, slug: str, role: Role, password: str) -> None:
    """Give a person an account and a role in a program."""
    address = _checked(Email, email)
    if len(password) < 12:  # noqa: PLR2004 -- said in the sentence below
        raise click.ClickException("A password needs at least 12 characters.")
    passwords = Passwords()

    async def add(session: AsyncSession) -> str:
        manager_id = await access.add_manager(
            session,
            program_id=(await programs.get_by_slug(session, slug=slug)).id,
            email=address,
            password=password,
            role=role,
            passwords=passwords,
            real_now=clock.now(),
        )
        return ids.public("mgr", manager_id)

    click.echo(_in_transaction(add))


@main.group("ledger")
def ledger_group() -> None:
    """The ledger."""


@ledger_group.command("verify")
@click.option("--program", "slug", required=True)
def verify_ledger(slug: str) -> None:
    """Prove a program's books, naming each wallet that differs; exits 1 if one does."""

    async def verify(session: AsyncSession) -> tuple[points.Verification, books.Proof]:
        program = await programs.get_by_slug(session, slug=slug)
        proof = await books.prove(session, program_id=program.id)
        return await points.verify(session, program_id=program.id), proof

    found, proof = _in_transaction(verify)
    for seal in proof.broken:
        counted = f"{seal.entries_sealed} entries sealed, {seal.entries_found} found"
        click.echo(f"The seal of the day before {rfc3339(seal.until)} is broken: {counted}.")
    for row in found.differences:
        member = ids.public("mem", row.member_id)
        click.echo(f"{member} {row.unit}: {row.check}: expected {row.expected}, found {row.found}")
    if found.differences or proof.broken:
        sys.exit(1)
    click.echo(f"All {found.wallets} wallets hold ({found.entries} entries).")
    if proof.head is not None:
        click.echo(f"All {proof.seals} seals hold; the newest is {proof.head.hex()}.")


@main.command("jobs")
@click.option("--program", "slug", required=True)
def show_jobs(slug: str) -> None:
    """Show a program's jobs: how each stands, when it ran last and runs next, and why it failed."""

    async def listing(session: AsyncSession) -> JobList:
        program = await programs.get_by_slug(session, slug=slug)
        return job_list(await jobs.listing(session, program_id=program.id), real_now=clock.now())

    for job in _in_transaction(listing).data:
        did = "" if job.last_done is None else f", {job.last_done} done"
        click.echo(f"{job.name}: {job.state}, last {job.last_finished_at or 'never'}{did}, next {job.next_run_at}")
        if job.last_error is not None:
            click.echo(f"  failed {job.attempts} times: {job.last_error}")


@main.command("import")
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
                progress.advance(task, len(batch))
        return done

    done = _with_sessions(bring_in)
    click.echo(f"{done.orders} orders, {done.enrolments} enrolments, {done.referrals} referrals.")
    click.echo(f"{done.skipped} records were there already.")


@main.command("adjust")
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
        outcomes = await bulk.apply(session, program=program, rows=rows, actor=_ACTOR, now=program.now(clock.now()))
        if dry_run:
            await session.rollback()
        return outcomes

    outcomes = _in_transaction(apply)
    for outcome in outcomes:
        click.echo(
            f"{outcome.row}: {outcome.external_id}: {outcome.outcome}{f' ({outcome.code})' if outcome.code else ''}"
        )
    if any(outcome.outcome == "refused" for outcome in outcomes):
        sys.exit(1)


@main.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    settings = Settings(database_url="postgresql://nowhere/none", secret_key="not used to describe anything, ever")  # type: ignore[arg-type]  # noqa: S106
    click.echo(openapi_json(create_app(settings)), nl=False)


def _record(adapter: TypeAdapter[EnrolmentRecord | OrderRecord], line: bytes, *, number: int) -> Record:
    try:
        return adapter.validate_json(line).record()
    except ValidationError as error:
        faults = [f"  {'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
        raise click.ClickException("\n".join([f"Line {number} cannot be read:", *faults])) from error


def _in_transaction(work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    async def run(sessions: Sessions) -> T:
        async with transaction(sessions) as session:
            return await work(session)

    return _with_sessions(run)


def _with_sessions(work: Callable[[Sessions], Awaitable[T]]) -> T:
    async def run(settings: Settings) -> T:
        engine = create_engine(settings.model_copy(update={"statement_timeout_ms": _UNHURRIED_MS}))
        try:
            return await work(create_sessions(engine))
        finally:
            await engine.dispose()

    with local.settings() as settings:
        try:
            return asyncio.run(run(settings))
        except LoyaltyError as error:
            raise click.ClickException("\n".join([str(error), *map(_say, _faults(error))])) from error


def _faults(error: LoyaltyError) -> list[Fault]:
    return error.errors if isinstance(error, ValidationFailed) else []


def _say(fault: Fault) -> str:
    return f"  {fault.pointer}: {fault.detail}"


async def _work(settings: Settings, *, heartbeat: Path | None) -> None:
    engine = create_engine(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await worker.run(create_sessions(engine), stop=stop, heartbeat=heartbeat)
    finally:
        await engine.dispose()


def _checked(kind: type[T], value: str) -> T:
    try:
        checked: T = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise click.ClickException("; ".join(fault["msg"] for fault in error.errors())) from error
    return checked


def _leave(_: int, __: FrameType | None) -> None:
    """Turn SIGTERM into an ordinary exit, so that everything held is let go of on the way out."""
    sys.exit(143)
