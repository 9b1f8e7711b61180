"""What a savepoint undoes."""

from contextlib import suppress

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.db import savepoint
from loyalty.core.rows import fetch


async def test_what_goes_past_sqlalchemy_is_undone_too(session: AsyncSession) -> None:
    await session.execute(text("CREATE TEMPORARY TABLE tried (n int) ON COMMIT DROP"))
    async with savepoint(session):
        await fetch(session, "INSERT INTO tried VALUES (1)")
    async with savepoint(session) as attempt:
        await fetch(session, "INSERT INTO tried VALUES (2)")
        await attempt.rollback()
    with suppress(DBAPIError):
        async with savepoint(session):
            await fetch(session, "INSERT INTO tried VALUES (3)")
            await fetch(session, "SELECT 1 / 0")
    await fetch(session, "INSERT INTO tried VALUES (4)")
    assert [row[0] for row in await fetch(session, "SELECT n FROM tried ORDER BY n")] == [1, 4]
