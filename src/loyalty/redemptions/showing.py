"""Redemptions as they are shown: each with what became of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids, paging
from loyalty.core.paging import Page
from loyalty.core.rows import at_once
from loyalty.points import history as points_history
from loyalty.redemptions import models, queries
from loyalty.redemptions.errors import RedemptionNotFound
from loyalty.rewards import coupons
from loyalty.rewards import models as reward_models


@dataclass(frozen=True)
class View:
    """A redemption with its coupon, its cancellation, the balance its entry left, or who granted it, as there is."""

    redemption: models.Redemption
    coupon: reward_models.Coupon
    cancellation: models.RedemptionCancellation | None
    balance_after: int | None
    grant: models.RewardGrant | None


async def get(session: AsyncSession, *, program_id: UUID, redemption_id: UUID, member_id: UUID | None = None) -> View:
    """Return one redemption; with a member named, only that member's own. Raises RedemptionNotFound."""
    found = (await listed(session, program_id=program_id, redemption_ids=[redemption_id])).get(redemption_id)
    if found is None or (member_id is not None and found.redemption.member_id != member_id):
        raise RedemptionNotFound
    return found


async def listed(session: AsyncSession, *, program_id: UUID, redemption_ids: Collection[UUID]) -> dict[UUID, View]:
    """Return those of these redemptions that are there."""
    rows = await queries.list_redemptions_by_id(session, program_id=program_id, redemption_ids=redemption_ids)
    return {view.redemption.id: view for view in await _views(session, program_id=program_id, rows=rows)}


async def page(
    session: AsyncSession, *, program_id: UUID, member_id: UUID, cursor: str | None, limit: int
) -> Page[View]:
    """List a member's redemptions, the newest first."""
    before = paging.last_id(cursor)
    rows = await queries.list_redemptions(
        session, program_id=program_id, member_id=member_id, before=before, limit=limit + 1
    )
    cut = paging.page(rows, limit=limit, key=lambda row: ids.encode(row.id))
    return Page(await _views(session, program_id=program_id, rows=cut.data), cut.has_more, cut.next_cursor)


async def _views(session: AsyncSession, *, program_id: UUID, rows: Sequence[models.Redemption]) -> list[View]:
    keys = [row.id for row in rows]
    granted = [row.id for row in rows if row.entry_id is None]
    named = [row.entry_id for row in rows if row.entry_id is not None]
    issued, cancelled, entries, grants = await at_once(
        session,
        coupons.listed(session, program_id=program_id, coupon_ids=keys),
        queries.list_cancellations(session, program_id=program_id, redemption_ids=keys),
        points_history.entries_by_id(session, program_id=program_id, entry_ids=named),
        queries.list_grants(session, program_id=program_id, redemption_ids=granted),
    )
    return [
        View(
            row,
            issued[row.id],
            cancelled.get(row.id),
            entries[row.entry_id].balance_after if row.entry_id in entries else None,
            grants.get(row.id),
        )
        for row in rows
    ]
