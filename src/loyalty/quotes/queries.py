from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.quotes import models
from loyalty.quotes.errors import QuoteNotFound


async def insert_quote(session: AsyncSession, quote: models.Quote) -> None:
    session.add(quote)
    await session.flush()


async def get_quote(session: AsyncSession, *, program_id: UUID, quote_id: UUID) -> models.Quote:
    own = models.Quote
    found = await session.execute(select(own).where(own.program_id == program_id, own.id == quote_id))
    row = found.scalar_one_or_none()
    if row is None:
        raise QuoteNotFound
    return row


async def delete_quotes(session: AsyncSession, *, program_id: UUID, before: datetime, limit: int) -> int:
    """Delete at most so many quotes that were valid until before an instant; return how many."""
    own = models.Quote
    old = select(own.id).where(own.program_id == program_id, own.valid_until < before).limit(limit)
    deleted = await session.execute(delete(own).where(own.program_id == program_id, own.id.in_(old)).returning(own.id))
    return len(deleted.all())
