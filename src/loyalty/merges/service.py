from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.activities import service as activities
from loyalty.core import idempotency, ids
from loyalty.core.idempotency import Call, Claim
from loyalty.earning import limiting
from loyalty.members import merging as members
from loyalty.merges import models, queries
from loyalty.orders import service as orders
from loyalty.points import history as points_history
from loyalty.points import models as point_models
from loyalty.points import service as points
from loyalty.points.rules import EntryKind, Source, SourceKind
from loyalty.programs.rules import Program
from loyalty.redemptions import service as redemptions
from loyalty.referrals import merging as referrals


@dataclass(frozen=True)
class View:
    """A merge, and what it moved in both wallets."""

    merge: models.MemberMerge
    entries: list[point_models.Entry]


async def merge(
    session: AsyncSession,
    *,
    program: Program,
    call: Call,
    giver: UUID,
    receiver: UUID,
    reason: str,
    actor: str,
    now: datetime,
) -> Claim:
    """Make two memberships one, once per key. Locks customers, orders, referrals, wallets, coupons.

    Raises MergeIntoOneself, MemberNotFound, MemberClosed, MemberAlreadyMerged, MergeWouldMakeACycle,
    MemberHasLiveHolds.
    """
    claim = await idempotency.claim(session, call=call, resource_id=ids.new(), now=now)
    if claim.replayed:
        return claim
    pair = {"giver": giver, "receiver": receiver}
    await members.merge(session, program_id=program.id, **pair, reason=reason, actor=actor, now=now)
    await orders.hand_over(session, program_id=program.id, buyer=giver, becomes=receiver)
    await activities.hand_over(session, program_id=program.id, **pair)
    await referrals.merge(session, program_id=program.id, **pair, now=now)
    await limiting.hand_over(session, program_id=program.id, **pair)
    stands_for = Source(SourceKind.MERGE, claim.resource_id)
    await points.merge(session, program=program, **pair, source=stands_for, now=now)
    await redemptions.hand_over(session, program_id=program.id, **pair)
    made = models.MemberMerge(
        program_id=program.id,
        id=claim.resource_id,
        from_member_id=giver,
        into_member_id=receiver,
        reason=reason,
        actor=actor,
        merged_at=now,
    )
    await queries.insert_merge(session, made)
    return claim


async def get(session: AsyncSession, *, program_id: UUID, merge_id: UUID) -> View:
    found = await queries.get_merge(session, program_id=program_id, merge_id=merge_id)
    entries = (await points_history.entries_of(session, program_id=program_id, source_ids=[merge_id]))[merge_id]
    return View(found, [entry for entry in entries if entry.kind == EntryKind.MERGE])
