from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import paging
from loyalty.core.paging import Page
from loyalty.outbox import models, queries
from loyalty.outbox.errors import EventsNotNumbered
from loyalty.outbox.rules import Event


async def tell(session: AsyncSession, *, program_id: UUID, events: Sequence[Event]) -> None:
    """Record effects to be told, in this transaction."""
    if events:
        await queries.append_events(session, program_id=program_id, events=events)


async def relay(session: AsyncSession, *, program_id: UUID, limit: int = 1000) -> int:
    """Number up to `limit` waiting events of a program; return how many, none while another relay is at it."""
    if not await queries.try_lock_relay(session, program_id=program_id):
        return 0
    return await queries.number_events(session, program_id=program_id, limit=limit)


async def let_go(session: AsyncSession, *, partition: str) -> None:
    """Let a past month of events be detached: numbers go on above its own. Raises EventsNotNumbered."""
    if await queries.has_unnumbered(session, partition=partition):
        raise EventsNotNumbered(partition)
    await queries.raise_floors(session, partition=partition)


async def page(session: AsyncSession, *, program_id: UUID, cursor: str | None, limit: int) -> Page[models.Event]:
    """List numbered events, oldest first."""
    after = paging.last_number(cursor) or 0
    rows = await queries.list_events(session, program_id=program_id, after=after, limit=limit + 1)
    return paging.page(rows, limit=limit, key=lambda event: str(event.number))
