"""Two memberships of one person become one: who is known by what, and who points to whom."""

from collections.abc import Collection, Hashable, Mapping
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.members import customer_queries, identifier_queries, queries
from loyalty.members.errors import MemberAlreadyMerged, MemberClosed, MergedJustNow, MergeIntoOneself
from loyalty.members.rules import Status
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event

N = TypeVar("N", bound=Hashable)


async def merge(
    session: AsyncSession,
    *,
    program_id: UUID,
    giver: UUID,
    receiver: UUID,
    reason: str,
    actor: str,
    now: datetime,
) -> None:
    """Close one membership for another: its identifiers go over where the other has none of their kind.

    The rest stay where they are and lead on to the other. Locks both customers and members. Raises MergeIntoOneself,
    MemberNotFound, MemberClosed, MemberAlreadyMerged.
    """
    if giver == receiver:
        raise MergeIntoOneself
    pair = sorted((giver, receiver))
    there = await customer_queries.lock_customers(session, program_id=program_id, customer_ids=pair)
    members = {own: await queries.lock_member(session, program_id=program_id, member_id=own) for own in pair}
    if any(there.values()):
        raise MemberAlreadyMerged
    if members[receiver].status == Status.CLOSED:
        raise MemberClosed
    known = await identifier_queries.list_identifiers(session, program_id=program_id, customer_ids=pair)
    free = known[giver].keys() - known[receiver].keys()
    await identifier_queries.hand_over_identifiers(
        session, program_id=program_id, giver=giver, receiver=receiver, kinds=list(free)
    )
    await customer_queries.set_merged(session, program_id=program_id, customer_id=giver, into=receiver)
    if members[giver].status != Status.CLOSED:
        await queries.change_status(
            session,
            program_id=program_id,
            member_id=giver,
            status=Status.CLOSED,
            suspends=None,
            reason=reason,
            actor=actor,
            now=now,
        )
    event = Event("member.merged", giver, occurred_at=now, recorded_at=now, member_id=receiver)
    await outbox.tell(session, program_id=program_id, events=[event])


async def refuse_merged(session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]) -> None:
    """Lock customers, so that no merge comes between; raises MemberAlreadyMerged for those merged into another."""
    there = await customer_queries.lock_customers(session, program_id=program_id, customer_ids=member_ids)
    if any(there.values()):
        raise MemberAlreadyMerged


async def find_heir(session: AsyncSession, *, program_id: UUID, customer_id: UUID) -> UUID:
    """Return who stands for a customer as things are: the one they were merged into, or themselves."""
    found = await customer_queries.find_merged(session, program_id=program_id, customer_ids=[customer_id])
    return found.get(customer_id, customer_id)


async def heirs(session: AsyncSession, *, program_id: UUID, customer_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Return who stands for each of these customers as things are."""
    found = await customer_queries.find_merged(session, program_id=program_id, customer_ids=customer_ids)
    return {own: found.get(own, own) for own in customer_ids}


async def lock_heirs(session: AsyncSession, *, program_id: UUID, customers: Mapping[str, UUID]) -> dict[str, UUID]:
    """Lock who stands for these customers now, and return them by the same names; who is nobody is left out.

    Raises MergedJustNow.
    """
    ids = list(customers.values())
    merged = await customer_queries.find_merged(session, program_id=program_id, customer_ids=ids)
    heirs = {name: merged.get(customer_id, customer_id) for name, customer_id in customers.items()}
    there = await customer_queries.lock_customers(session, program_id=program_id, customer_ids=list(heirs.values()))
    if any(there.values()):
        raise MergedJustNow
    return {name: heir for name, heir in heirs.items() if heir in there}


async def lock_unmerged(session: AsyncSession, *, program_id: UUID, customers: Mapping[N, UUID]) -> dict[N, UUID]:
    """Lock those of these customers who stand for themselves, and return them by the same names."""
    there = await customer_queries.lock_customers(session, program_id=program_id, customer_ids=list(customers.values()))
    return {name: own for name, own in customers.items() if own in there and there[own] is None}


async def lock_heir(session: AsyncSession, *, program_id: UUID, customer_id: UUID) -> UUID | None:
    """Lock who stands for a customer now: the one they were merged into, or themselves; None if there is nobody.

    Raises MergedJustNow for who was merged while their lock was waited for.
    """
    heir = await find_heir(session, program_id=program_id, customer_id=customer_id)
    # Nobody else is locked, since merges lock customers in order of id.
    there = await customer_queries.lock_customers(session, program_id=program_id, customer_ids=[heir])
    if any(there.values()):
        raise MergedJustNow
    return heir if there else None
