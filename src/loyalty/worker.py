"""Background work, first of all numbering the events that requests left behind."""

import asyncio
import logging
from datetime import timedelta
from pathlib import Path
from typing import Final

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
    moved = 0
    async with transaction(sessions) as session:
        program_ids = await programs.list_program_ids(session)
    for program_id in program_ids:
        async with transaction(sessions) as session:
            moved += await outbox.relay(session, program_id=program_id, limit=_BATCH)
    return moved


async def prune_all(sessions: Sessions) -> int:
    """Forget idempotency keys older than thirty days of their program's own time; return how many."""
    gone = 0
    async with transaction(sessions) as session:
        program_ids = await programs.list_program_ids(session)
    for program_id in program_ids:
        async with transaction(sessions) as session:
            program = await programs.get_program(session, program_id=program_id)
            before = program.now(clock.now()) - _KEEP_KEYS
            gone += await idempotency.prune(session, program_id=program_id, before=before)
    return gone


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), timeout=seconds)
    except TimeoutError:
        return
