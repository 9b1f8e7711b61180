"""Background work, first of all numbering the events that requests left behind."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from loyalty.core import clock, idempotency
from loyalty.core.db import Sessions, transaction
from loyalty.outbox import service as outbox
from loyalty.programs import queries as programs

_IDLE_SECONDS: Final = 1.0
_PRUNE_EVERY: Final = timedelta(hours=1)
_KEEP_KEYS: Final = timedelta(days=30)
_BATCH: Final = 5000

_log = logging.getLogger("loyalty.worker")


async def run(sessions: Sessions, *, stop: asyncio.Event, heartbeat: Path | None = None) -> None:
    """Work until told to stop, touching `heartbeat` after each round that did not fail.

    Each step is one bounded transaction; several workers beside each other are safe.
    """
    pruned_at = clock.now() - _PRUNE_EVERY
    while not stop.is_set():
        try:
            moved = await relay_all(sessions)
            if clock.now() - pruned_at >= _PRUNE_EVERY:
                await prune_all(sessions)
                pruned_at = clock.now()
            if heartbeat is not None:
                await asyncio.to_thread(heartbeat.touch)
        except Exception:  # noqa: BLE001 -- whatever failed, the next round must still come
            _log.exception("background work failed; it is tried again")
            moved = 0
        if not moved:
            await _wait(stop, _IDLE_SECONDS)


async def relay_all(sessions: Sessions) -> int:
    """Number waiting events, program by program; return how many."""
    return await _for_each_program(sessions, _relay)


async def prune_all(sessions: Sessions) -> int:
    """Forget idempotency keys older than thirty days of their program's own time; return how many."""
    return await _for_each_program(sessions, _prune)


async def _for_each_program(sessions: Sessions, work: Callable[[Sessions, UUID], Awaitable[int]]) -> int:
    """Do work for every program, and add up what it came to; what fails for one must not starve the others."""
    done, failed = 0, None
    async with transaction(sessions) as session:
        program_ids = await programs.list_program_ids(session)
    for program_id in program_ids:
        try:
            done += await work(sessions, program_id)
        except (DBAPIError, OSError) as error:
            failed = error
    if failed is not None:
        raise failed
    return done


async def _relay(sessions: Sessions, program_id: UUID) -> int:
    async with transaction(sessions) as session:
        return await outbox.relay(session, program_id=program_id, limit=_BATCH)


async def _prune(sessions: Sessions, program_id: UUID) -> int:
    gone = 0
    while True:
        async with transaction(sessions) as session:
            program = await programs.get_program(session, program_id=program_id)
            before = program.now(clock.now()) - _KEEP_KEYS
            batch = await idempotency.prune(session, program_id=program_id, before=before, limit=_BATCH)
        gone += batch
        if batch < _BATCH:
            return gone


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), timeout=seconds)
    except TimeoutError:
        return
