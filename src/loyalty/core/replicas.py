"""A replica that reports are read from, and how far it has come."""

import logging
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.db import release
from loyalty.core.errors import Unavailable

_log = logging.getLogger("loyalty.replicas")


class ReportsUnavailable(Unavailable):
    """The database that reports are read from does not answer; all else works."""


async def known_until(session: AsyncSession) -> datetime:
    """Return the instant up to which a replica has what was committed; raises ReportsUnavailable.

    Asked before the snapshot is taken, which therefore knows that much or more. A quiet primary makes a replica look
    older than it is; never younger.
    """
    try:
        told: datetime | None = (await session.execute(text(_KNOWN_UNTIL))).scalar_one()
    except (DBAPIError, OSError) as error:
        _log.warning("the reports' database does not answer: %s", type(error).__name__)
        raise ReportsUnavailable from error
    if told is None:
        _log.warning("the reports' database has received nothing since its start")
        raise ReportsUnavailable
    await release(session)
    return told


_KNOWN_UNTIL: Final = """
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_xact_replay_timestamp() ELSE clock_timestamp() END
"""
