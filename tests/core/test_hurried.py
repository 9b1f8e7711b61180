"""A unit of work that is begun and ended past SQLAlchemy fails as any other does."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from litestar import Litestar
from sqlalchemy.exc import DBAPIError

from loyalty.core.db import Sessions, create_hurried, sqlstate_of
from loyalty.core.idempotency import IdempotencyKey
from loyalty.core.rows import fetch, hurried, insert_rows

KEPT = "SELECT FROM idempotency_keys WHERE program_id = $1"


@pytest.fixture
def sessions(app: Litestar) -> Sessions:
    return create_hurried(app.state.sessions.kw["bind"])


def row(program_id: Any, key: str) -> dict[str, Any]:
    named = {"program_id": program_id, "operation": "test", "key": key, "resource_id": program_id}
    return {**named, "fingerprint": b"", "status": 201, "recorded_at": datetime.now(UTC)}


async def test_what_is_refused_at_the_end_is_heard_as_from_the_database(sessions: Sessions) -> None:
    own = uuid4()
    with pytest.raises(DBAPIError) as refused:
        async with hurried(sessions, lock_timeout_ms=250) as session:
            await insert_rows(session, IdempotencyKey, [row(own, "one"), row(own, "one")])
    assert sqlstate_of(refused.value) == "23505"
    async with hurried(sessions, lock_timeout_ms=250) as session:
        assert await fetch(session, KEPT, own) == []


async def test_what_the_database_did_not_keep_is_an_error(sessions: Sessions) -> None:
    own = uuid4()
    with pytest.raises(DBAPIError):
        await _pass_over_a_failure(sessions, own)
    async with hurried(sessions, lock_timeout_ms=250) as session:
        assert await fetch(session, KEPT, own) == []


async def _pass_over_a_failure(sessions: Sessions, program_id: Any) -> None:
    async with hurried(sessions, lock_timeout_ms=250) as session:
        await insert_rows(session, IdempotencyKey, [row(program_id, "one")])
        with suppress(DBAPIError):
            await fetch(session, "SELECT 1 / 0")
