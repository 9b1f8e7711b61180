"""Whether this process may trust its database with writes, and the other way round."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.errors import Unavailable

MOST_SKEW: Final = timedelta(seconds=5)


class SchemaOutOfDate(Unavailable):
    """The database has not this release's schema; run `loyalty migrate`."""


@dataclass(eq=False)
class DatabaseForgets(Unavailable):
    """The database may lose what it has confirmed: turn these of its settings on."""

    settings: list[str]


@dataclass(eq=False)
class ClocksDiffer(Unavailable):
    """The clocks of this process and of its database are more than five seconds apart."""

    seconds: float


async def check_durability(session: AsyncSession) -> None:
    """Raise DatabaseForgets."""
    if forgetful := (await session.execute(text(_FORGETFUL))).scalar_one():
        raise DatabaseForgets(settings=forgetful)


async def check_clocks(session: AsyncSession, *, clock: Callable[[], datetime]) -> None:
    """Raise ClocksDiffer."""
    before = clock()
    told = (await session.execute(text("SELECT clock_timestamp()"))).scalar_one()
    apart = max(before - told, told - clock())
    if apart > MOST_SKEW:
        raise ClocksDiffer(seconds=apart.total_seconds())


async def check_schema(session: AsyncSession, *, expected: str) -> None:
    """Raise SchemaOutOfDate."""
    try:
        version = (await session.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
    except ProgrammingError as error:
        raise SchemaOutOfDate from error
    if version != expected:
        raise SchemaOutOfDate


async def is_superuser(session: AsyncSession) -> bool:
    """Tell whether append-only rights do not bind the role that this session has."""
    found = await session.execute(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
    return bool(found.scalar_one())


_FORGETFUL: Final = """
SELECT array(
    SELECT name FROM pg_settings
    WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name
)
"""
