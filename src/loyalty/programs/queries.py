from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import fetch
from loyalty.programs import models
from loyalty.programs.errors import ProgramNotFound
from loyalty.programs.rules import Mode, Program, ProgramRules, read_rules


def select_program(condition: str, *, extra: str = "") -> str:
    """Write what selects programs with the settings in force; other columns may ride along, of tables joined before."""
    return f"""
        SELECT programs.id, slug, programs.name, mode, clock_at, settings_version, document::text{extra}
        FROM programs
        JOIN program_settings ON program_settings.program_id = programs.id AND version = settings_version {condition}
        """  # noqa: S608 -- the parts are our own


def read_program(row: Any) -> Program:
    """Read a row of `select_program`."""
    program_id, slug, name, mode, clock_at, settings_version, document = row
    return Program(program_id, slug, name, Mode(mode), clock_at, settings_version, _read_rules(document))


@lru_cache(maxsize=1000)
def _read_rules(document: str) -> ProgramRules:
    return read_rules(msgspec.json.decode(document))


async def get_program(session: AsyncSession, *, program_id: UUID) -> Program:
    found = await fetch(session, select_program("WHERE programs.id = $1"), program_id)
    if not found:
        raise ProgramNotFound
    return read_program(found[0])


async def find_program(session: AsyncSession, *, slug: str) -> Program | None:
    found = await fetch(session, select_program("WHERE slug = $1"), slug)
    return read_program(found[0]) if found else None


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
