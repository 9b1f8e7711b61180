"""What a completed referral pays: decided in the book of the order that completes it, and written with it."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.points.book import Book
from loyalty.points.rules import EntryKind, Source, SourceKind, WalletKey
from loyalty.referrals import models, queries, reward_queries
from loyalty.referrals.rules import Completed, PaidSide, Side, State, Waiting


async def lock_waiting(
    session: AsyncSession, *, program_id: UUID, referee_ids: Collection[UUID]
) -> dict[UUID, Waiting]:
    """Lock the referrals of these referees that wait for their order. Comes before any wallet is locked."""
    rows = await reward_queries.lock_waiting_referrals(session, program_id=program_id, referee_ids=referee_ids)
    if not rows:
        return {}
    campaigns = await queries.get_campaigns(
        session, program_id=program_id, campaign_ids={campaign_id for *_, campaign_id in rows}
    )
    return {
        referee_id: Waiting(id_, referee_id, advocate_id, attributed_at, campaigns[campaign_id])
        for id_, referee_id, advocate_id, attributed_at, campaign_id in rows
    }


class Settlement:
    """Referrals that orders of one transaction completed, decided in the book and still to be written."""

    def __init__(self) -> None:
        self._completed: list[Completed] = []
        self._sides: list[PaidSide] = []
        self._events: list[Event] = []

    def reward(
        self, book: Book, waiting: Waiting, *, program_id: UUID, order_id: UUID, at: datetime, barred: Collection[UUID]
    ) -> None:
        """Pay both sides of a referral that an order qualified.

        A member barred from earning gets nothing, which is kept as such; if neither side may earn, it is rejected.
        """
        campaign = waiting.campaign
        sides = (
            (Side.ADVOCATE, waiting.advocate_id, campaign.advocate_points),
            (Side.REFEREE, waiting.referee_id, campaign.referee_points),
        )
        for side, member_id, points in sides:
            entry_id = None
            if points > 0 and member_id not in barred:
                entry_id = book.award(
                    WalletKey(program_id, member_id, campaign.unit),
                    points=points,
                    kind=EntryKind.REFERRAL,
                    source=Source(SourceKind.REFERRAL, waiting.id),
                    occurred_at=at,
                ).id
            paid = points if entry_id else 0
            refused = "may_not_earn" if member_id in barred else None
            self._sides.append(PaidSide(waiting.id, side, member_id, entry_id, paid, refused))
        state = State.REJECTED if len(set(barred)) == len(sides) else State.REWARDED
        self._completed.append(Completed(waiting.id, order_id, state, at, book.now))
        self._events.append(
            Event(f"referral.{state}", waiting.id, occurred_at=at, recorded_at=book.now, member_id=waiting.advocate_id)
        )

    def by_order(self) -> dict[UUID, tuple[UUID, int]]:
        """Return, by the order that completed it, each referral and the points of who was referred."""
        paid = {side.referral_id: side.points for side in self._sides if side.side is Side.REFEREE}
        return {own.order_id: (own.referral_id, paid[own.referral_id]) for own in self._completed}

    async def write(self, session: AsyncSession, *, program_id: UUID) -> None:
        await reward_queries.set_completed(session, program_id=program_id, completed=self._completed)
        await reward_queries.insert_rewards(session, program_id=program_id, sides=self._sides)
        await outbox.tell(session, program_id=program_id, events=self._events)


async def qualified_by(
    session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]
) -> dict[UUID, tuple[models.Referral, list[models.ReferralReward]]]:
    """Return the referral that each of these orders completed, if any, with what it paid."""
    found = await reward_queries.list_referrals_qualified_by(session, program_id=program_id, order_ids=order_ids)
    return {referral.qualifying_order_id: (referral, paid) for referral, paid in found if referral.qualifying_order_id}
