"""What the planner knows of the tables, kept up while they grow faster than PostgreSQL itself looks.

Plans of prepared statements and of foreign keys are kept. One made while a table was nearly empty may read all rows of
a program for each that it looks for, and is only made anew once the table has been analysed.
"""

from typing import Final

from loyalty.core.db import Sessions, transaction
from loyalty.core.rows import fetch

_FEW: Final = 500
"""So many rows may be read through without anybody noticing."""


async def refresh(sessions: Sessions) -> list[str]:
    """Analyse the tables that have tripled since they were; return their names.

    The database counts changes a second late. Tables that this program may not analyse, and those that somebody else is
    at, are passed over.
    """
    async with transaction(sessions) as session:
        outgrown = [row[0] for row in await fetch(session, _OUTGROWN, _FEW)]
        if outgrown:
            await fetch(session, f"ANALYZE (SKIP_LOCKED) {', '.join(outgrown)}")
    return outgrown


_OUTGROWN: Final = """
    SELECT relid::regclass::text FROM pg_stat_user_tables JOIN pg_class ON pg_class.oid = relid
    WHERE pg_has_role(relowner, 'USAGE') AND n_mod_since_analyze > $1 + 2 * greatest(reltuples, 0) ORDER BY relid
    """
