"""What the planner knows of the tables, kept up while they grow faster than PostgreSQL itself looks.

Plans of prepared statements and of foreign keys are kept. One made while a table was nearly empty may read all rows of
a program for each that it looks for, and is only made anew once the table has been analysed.
"""

import logging
from typing import Final

from sqlalchemy.exc import DBAPIError

from loyalty.core.db import Sessions, sqlstate_of, transaction
from loyalty.core.rows import fetch

_log: Final = logging.getLogger("loyalty.statistics")
_FEW: Final = 500
"""So many rows may be read through without anybody noticing."""


async def refresh(sessions: Sessions) -> list[str]:
    """Analyse the tables that have tripled since they were, each by itself; return their names.

    The database counts rows a second late. Tables that this program may not analyse, and those that somebody else is
    at, are passed over; what fails is told in the log, and keeps nobody from other work.
    """
    async with transaction(sessions) as session:
        outgrown = [row[0] for row in await fetch(session, _OUTGROWN, _FEW)]
    for table in outgrown:
        try:
            async with transaction(sessions) as session:
                await fetch(session, f"ANALYZE (SKIP_LOCKED) {table}")
        except DBAPIError as error:
            _log.warning("a table could not be analysed", extra={"table": table, "sqlstate": sqlstate_of(error)})
    return outgrown


_OUTGROWN: Final = """
    SELECT relid::regclass::text FROM pg_stat_user_tables JOIN pg_class ON pg_class.oid = relid
    WHERE schemaname = current_schema() AND pg_has_role(relowner, 'USAGE')
        AND n_live_tup > $1 + 3 * greatest(reltuples, 0)
    ORDER BY relid
    """
