from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.rows import as_stored
from loyalty.quotes import models, queries
from loyalty.quotes.errors import QuoteDiffers, QuoteExpired, QuoteIsForOther, QuoteNotFound
from loyalty.quotes.rules import Figures

VALID_FOR: Final = timedelta(minutes=15)


@dataclass(frozen=True)
class Told:
    """To whom a quote was given, for what, and what it came to."""

    customer_id: UUID | None
    content_digest: bytes
    figures: Figures


async def record(
    session: AsyncSession,
    *,
    program_id: UUID,
    customer_id: UUID | None,
    content_digest: bytes,
    figures: Figures,
    now: datetime,
) -> models.Quote:
    """Remember what a storefront was told."""
    told = Told(customer_id, content_digest, figures)
    return (await record_many(session, program_id=program_id, told=[told], now=now))[0]


async def record_many(
    session: AsyncSession, *, program_id: UUID, told: Sequence[Told], now: datetime
) -> list[models.Quote]:
    """Remember what storefronts were told."""
    rows = [
        {
            "program_id": program_id,
            "id": ids.new(),
            "customer_id": own.customer_id,
            "content_digest": own.content_digest,
            "figures": own.figures.written(),
            "quoted_at": now,
            "valid_until": now + VALID_FOR,
        }
        for own in told
    ]
    await queries.insert_quotes(session, rows)
    return [as_stored(models.Quote, row) for row in rows]


async def check(
    session: AsyncSession,
    *,
    program_id: UUID,
    quote_id: UUID,
    customer_id: UUID | None,
    content_digest: bytes,
    figures: Figures,
    now: datetime,
) -> None:
    """Refuse an order that does not come to what was quoted.

    Raises QuoteNotFound, QuoteIsForOther, QuoteExpired, QuoteDiffers.
    """
    quote = (await listed(session, program_id=program_id, quote_ids=[quote_id])).get(quote_id)
    if quote is None:
        raise QuoteNotFound
    if quote.content_digest != content_digest or quote.customer_id not in (None, customer_id):
        raise QuoteIsForOther
    if quote.valid_until <= now:
        raise QuoteExpired(valid_until=rfc3339(quote.valid_until))
    if differences := list(Figures(**quote.figures).differ(figures)):
        raise QuoteDiffers(differences=differences)


async def listed(session: AsyncSession, *, program_id: UUID, quote_ids: Collection[UUID]) -> dict[UUID, models.Quote]:
    """Return those of these quotes that are there."""
    if not quote_ids:
        return {}
    return {own.id: own for own in await queries.list_quotes(session, program_id=program_id, quote_ids=quote_ids)}


def is_for(quote: models.Quote, *, content_digest: bytes, now: datetime) -> bool:
    """Tell whether a quote was given for this content, and is valid still."""
    return quote.content_digest == content_digest and now < quote.valid_until


def is_kept(quote: models.Quote, *, customer_id: UUID | None, figures: Figures) -> bool:
    """Tell whether this buyer gets what the quote told."""
    return quote.customer_id in (None, customer_id) and not list(Figures(**quote.figures).differ(figures))


async def forget(session: AsyncSession, *, program_id: UUID, before: datetime, limit: int) -> int:
    """Forget quotes that no order can name any more; return how many."""
    return await queries.delete_quotes(session, program_id=program_id, before=before, limit=limit)
