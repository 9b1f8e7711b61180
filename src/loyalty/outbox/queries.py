from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids
from loyalty.core.rows import insert_rows
from loyalty.outbox import models
from loyalty.outbox.rules import Event


async def append_events(session: AsyncSession, *, program_id: UUID, events: Sequence[Event]) -> None:
    await insert_rows(
        session,
        models.Event,
        [
            {
                "program_id": program_id,
                "id": ids.new(),
                "type": event.type,
                "subject_id": event.subject_id,
                "member_id": event.member_id,
                "customer_id": event.customer_id,
                "version": event.version,
                "occurred_at": event.occurred_at,
                "recorded_at": event.recorded_at,
            }
            for event in events
        ],
    )


async def try_lock_relay(session: AsyncSession, *, program_id: UUID) -> bool:
    """Let only one transaction at a time number this program's events; False if another does, released with it."""
    key = int.from_bytes(program_id.bytes[8:], signed=True)
    return bool((await session.execute(select(func.pg_try_advisory_xact_lock(key)))).scalar_one())


async def number_events(session: AsyncSession, *, program_id: UUID, limit: int) -> int:
    """Give the next numbers to unnumbered events, oldest id first; return how many got one."""
    numbered = await session.execute(
        text(
            """
            WITH last AS (
                SELECT greatest(
                    (SELECT max(number) FROM events WHERE program_id = :program_id AND number IS NOT NULL),
                    (SELECT number FROM event_floors WHERE program_id = :program_id),
                    0
                ) AS number
            ), next AS (
                SELECT id, row_number() OVER (ORDER BY id) AS position FROM (
                    SELECT id FROM events WHERE program_id = :program_id AND number IS NULL ORDER BY id LIMIT :limit
                ) AS oldest
            )
            UPDATE events SET number = last.number + next.position
            FROM last, next
            WHERE events.program_id = :program_id AND events.id = next.id AND events.number IS NULL
            RETURNING 1
            """
        ),
        {"program_id": program_id, "limit": limit},
    )
    return len(numbered.all())


async def list_events(session: AsyncSession, *, program_id: UUID, after: int, limit: int) -> list[models.Event]:
    found = await session.execute(
        select(models.Event)
        .where(models.Event.program_id == program_id, models.Event.number > after)
        .order_by(models.Event.number)
        .limit(limit)
    )
    return list(found.scalars())


async def has_unnumbered(session: AsyncSession, *, partition: str) -> bool:
    query = text(f"SELECT EXISTS (SELECT FROM {partition} WHERE number IS NULL)")  # noqa: S608 -- from the catalogue
    return bool((await session.execute(query)).scalar_one())


async def raise_floors(session: AsyncSession, *, partition: str) -> None:
    """Remember the highest number that each program has in a partition of the events."""
    await session.execute(
        text(
            f"""
            INSERT INTO event_floors (program_id, number)
            SELECT program_id, max(number) FROM {partition} GROUP BY program_id
            ON CONFLICT (program_id) DO UPDATE SET number = greatest(event_floors.number, excluded.number)
            """  # noqa: S608 -- a name from the catalogue
        )
    )
