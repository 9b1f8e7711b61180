from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.programs import models
from loyalty.programs.errors import ProgramNotFound
from loyalty.programs.rules import Mode, Program, read_rules


def select_program(*extra: Any) -> Select[Any]:
    """Select a program with the settings in force; other columns may ride along behind them."""
    return select(models.Program, models.ProgramSettings.document, *extra).join(
        models.ProgramSettings,
        (models.ProgramSettings.program_id == models.Program.id)
        & (models.ProgramSettings.version == models.Program.settings_version),
    )


def read_program(row: Any) -> Program:
    """Read a row of `select_program`."""
    program, document = row[0], row[1]
    return Program(
        id=program.id,
        slug=program.slug,
        name=program.name,
        mode=Mode(program.mode),
        clock_at=program.clock_at,
        settings_version=program.settings_version,
        rules=read_rules(document),
    )


async def get_program(session: AsyncSession, *, program_id: UUID) -> Program:
    row = (await session.execute(select_program().where(models.Program.id == program_id))).first()
    if row is None:
        raise ProgramNotFound
    return read_program(row)


async def find_program(session: AsyncSession, *, slug: str) -> Program | None:
    row = (await session.execute(select_program().where(models.Program.slug == slug))).first()
    return None if row is None else read_program(row)


async def list_program_ids(session: AsyncSession) -> list[UUID]:
    return list((await session.execute(select(models.Program.id).order_by(models.Program.id))).scalars())


async def insert_program(session: AsyncSession, program: Program, *, now: datetime) -> bool:
    """Add a program; False if its slug is taken."""
    added = await session.execute(
        insert(models.Program)
        .values(
            id=program.id,
            slug=program.slug,
            name=program.name,
            mode=program.mode,
            clock_at=program.clock_at,
            settings_version=program.settings_version,
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=["slug"])
        .returning(models.Program.id)
    )
    return added.first() is not None


async def append_settings(session: AsyncSession, program: Program, *, actor: str, now: datetime) -> None:
    await session.execute(
        insert(models.ProgramSettings).values(
            program_id=program.id,
            version=program.settings_version,
            document=asdict(program.rules),
            actor=actor,
            created_at=now,
        )
    )


async def lock_program(session: AsyncSession, *, program_id: UUID) -> Program:
    await session.execute(
        select(models.Program.id).where(models.Program.id == program_id).with_for_update(key_share=True)
    )
    return await get_program(session, program_id=program_id)


async def update_program(session: AsyncSession, program: Program) -> None:
    await session.execute(
        update(models.Program)
        .where(models.Program.id == program.id)
        .values(name=program.name, settings_version=program.settings_version, clock_at=program.clock_at)
    )
