"""What was bought over time, for who counts it again."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.orders import history_queries
from loyalty.orders.rules import Line, Placed, Stretch
from loyalty.orders.service import line_of


async def count(session: AsyncSession, stretch: Stretch, *, program_id: UUID) -> int:
    """Return how many orders of customers there are that were not cancelled."""
    return await history_queries.count_placed(session, stretch, program_id=program_id)


async def placed(
    session: AsyncSession, stretch: Stretch, *, program_id: UUID, after: tuple[datetime, UUID], limit: int
) -> list[Placed]:
    """Return orders of customers that were not cancelled, in order of time and id, from after these on."""
    rows = await history_queries.list_placed(session, stretch, program_id=program_id, after=after, limit=limit)
    lines: defaultdict[UUID, list[Line]] = defaultdict(list)
    for line in await history_queries.list_lines(session, program_id=program_id, order_ids=[row.id for row in rows]):
        lines[line.order_id].append(line_of(line))
    return [
        Placed(
            row.id,
            row.customer_id,
            row.placed_at,
            row.currency,
            row.channel,
            row.store,
            row.payment_method,
            tuple(lines[row.id]),
        )
        for row in rows
        if row.customer_id is not None
    ]


async def numbers(
    session: AsyncSession, *, program_id: UUID, customer_ids: Collection[UUID], order_ids: Collection[UUID]
) -> dict[UUID, int]:
    """Return which of its customer's orders each of these is, by when they were placed, the cancelled left out."""
    return await history_queries.rank_orders(
        session, program_id=program_id, customer_ids=customer_ids, order_ids=order_ids
    )
