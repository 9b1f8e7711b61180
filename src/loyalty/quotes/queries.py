from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import fetch_rows, insert_rows
from loyalty.quotes import models


async def insert_quotes(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    await insert_rows(session, models.Quote, rows)


async def list_quotes(session: AsyncSession, *, program_id: UUID, quote_ids: Collection[UUID]) -> list[models.Quote]:
    ending = "WHERE program_id = $1 AND id = ANY($2::uuid[])"
    return await fetch_rows(session, models.Quote, ending, program_id, list(quote_ids))


async def delete_quotes(session: AsyncSession, *, program_id: UUID, before: datetime, limit: int) -> int:
    """Delete at most so many quotes that were valid until before an instant; return how many."""
    own = models.Quote
    old = select(own.id).where(own.program_id == program_id, own.valid_until < before).limit(limit)
    deleted = await session.execute(delete(own).where(own.program_id == program_id, own.id.in_(old)).returning(own.id))
    return len(deleted.all())
