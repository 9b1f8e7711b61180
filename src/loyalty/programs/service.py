from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.programs import queries
from loyalty.programs.errors import ClockWouldRunBackwards, LiveProgramHasNoTestClock, ProgramNotFound, SlugTaken
from loyalty.programs.rules import Mode, Program, ProgramRules


async def create(
    session: AsyncSession,
    *,
    slug: str,
    name: str,
    mode: Mode,
    rules: ProgramRules,
    clock_at: datetime | None,
    actor: str,
    now: datetime,
) -> Program:
    """Create a program; a test program may begin with its clock at any instant."""
    if clock_at is not None and mode is not Mode.TEST:
        raise LiveProgramHasNoTestClock
    program = Program(ids.new(), slug, name, mode, clock_at, 1, rules)
    if not await queries.insert_program(session, program, now=now):
        raise SlugTaken(slug=slug)
    await queries.append_settings(session, program, actor=actor, now=now)
    await _tell(session, program, what="created", at=program.now(now))
    return program


async def get(session: AsyncSession, *, program_id: UUID) -> Program:
    return await queries.get_program(session, program_id=program_id)


async def lock(session: AsyncSession, *, program_id: UUID) -> None:
    """Let nobody else change a program's configuration until the transaction ends."""
    await queries.lock_program(session, program_id=program_id)


async def get_by_slug(session: AsyncSession, *, slug: str) -> Program:
    program = await queries.find_program(session, slug=slug)
    if program is None:
        raise ProgramNotFound
    return program


async def find_id(session: AsyncSession, *, slug: str) -> UUID | None:
    program = await queries.find_program(session, slug=slug)
    return None if program is None else program.id


async def change_settings(
    session: AsyncSession, *, program_id: UUID, name: str | None, changes: dict[str, object], actor: str, now: datetime
) -> Program:
    """Put a new version of the settings in force; what is not named stays."""
    program = await queries.lock_program(session, program_id=program_id)
    rules = replace(program.rules, **changes)  # type: ignore[arg-type]  # the schema has typed each of them
    named = replace(program, name=name or program.name, rules=rules)
    if named == program:
        return program
    changed = replace(named, settings_version=program.settings_version + 1)
    await queries.append_settings(session, changed, actor=actor, now=now)
    await queries.update_program(session, changed)
    await _tell(session, changed, what="updated", at=now)
    return changed


async def advance_clock(session: AsyncSession, *, program_id: UUID, to: datetime, real_now: datetime) -> Program:
    """Move a test program's clock forward; from then on it stands where it was moved to."""
    program = await queries.lock_program(session, program_id=program_id)
    if program.mode is not Mode.TEST:
        raise LiveProgramHasNoTestClock
    if to < program.now(real_now):
        raise ClockWouldRunBackwards(clock_at=rfc3339(program.now(real_now)))
    moved = replace(program, clock_at=to)
    await queries.update_program(session, moved)
    await _tell(session, moved, what="clock_advanced", at=to)
    return moved


async def _tell(session: AsyncSession, program: Program, *, what: str, at: datetime) -> None:
    event = Event(f"program.{what}", program.id, occurred_at=at, recorded_at=at)
    await outbox.tell(session, program_id=program.id, events=[event])
