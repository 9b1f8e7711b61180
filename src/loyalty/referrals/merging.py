"""Referrals of two memberships that become one: the earliest binding stays, nobody refers themselves."""

from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.referrals import code_queries, models, queries
from loyalty.referrals.errors import MergeWouldMakeACycle

_MOST_GENERATIONS: Final = 1000


async def merge(session: AsyncSession, *, program_id: UUID, giver: UUID, receiver: UUID, now: datetime) -> None:
    """Make one member's referrals and codes another's. Locks the referrals of both. Raises MergeWouldMakeACycle."""
    rows = await queries.lock_referrals_of(session, program_id=program_id, member_ids=[giver, receiver])
    own = [row for row in rows if row.referee_id in (giver, receiver) and row.ended_at is None]
    own.sort(key=lambda row: (row.attributed_at, row.id))
    kept = next((row for row in own if row.advocate_id not in (giver, receiver)), None)
    if kept is not None:
        await _refuse_cycle(session, program_id=program_id, start=kept.advocate_id, members=(giver, receiver))
    for row in own:
        if row is not kept:
            reason = "self_referral" if row.advocate_id in (giver, receiver) else "later_binding_of_a_merged_member"
            await _void(session, row, reason=reason, now=now)
    if kept is not None and kept.referee_id == giver:
        await queries.set_referee(session, program_id=program_id, referral_id=kept.id, referee_id=receiver)
    await queries.hand_over_advocacy(session, program_id=program_id, giver=giver, receiver=receiver)
    await code_queries.hand_over_codes(session, program_id=program_id, giver=giver, receiver=receiver)


async def _refuse_cycle(session: AsyncSession, *, program_id: UUID, start: UUID, members: Collection[UUID]) -> None:
    """Follow the advocates of an advocate; they must not lead to the members."""
    at: UUID | None = start
    for _ in range(_MOST_GENERATIONS):
        if at is None:
            return
        if at in members:
            raise MergeWouldMakeACycle
        found = await queries.list_live_referrals(session, program_id=program_id, referee_ids=[at])
        at = found[0].advocate_id if found else None
    raise MergeWouldMakeACycle


async def _void(session: AsyncSession, row: models.Referral, *, reason: str, now: datetime) -> None:
    await queries.void_referral(session, program_id=row.program_id, referral_id=row.id, reason=reason, now=now)
    event = Event("referral.voided", row.id, occurred_at=now, recorded_at=now, member_id=row.advocate_id)
    await outbox.tell(session, program_id=row.program_id, events=[event])
