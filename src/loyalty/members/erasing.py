"""A person asks to be forgotten: what is personal goes, what the ledger and the metrics count stays, without a name."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.access import service as access
from loyalty.members import customer_queries, queries
from loyalty.members.rules import Status
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event


async def erase(
    session: AsyncSession, *, program_id: UUID, member_id: UUID, reason: str, actor: str, now: datetime
) -> bool:
    """Forget who a member was: identifiers with their history, profile, password; the membership is closed.

    False if that was done before. Locks customer and member. Raises MemberNotFound.
    """
    await customer_queries.lock_customers(session, program_id=program_id, customer_ids=[member_id])
    member = await queries.lock_member(session, program_id=program_id, member_id=member_id)
    if not await customer_queries.set_erased(session, program_id=program_id, customer_id=member_id, now=now):
        return False
    await customer_queries.delete_personal(session, program_id=program_id, customer_id=member_id)
    await access.forget_member_password(session, program_id=program_id, member_id=member_id)
    if member.status != Status.CLOSED:
        await queries.change_status(
            session,
            program_id=program_id,
            member_id=member_id,
            status=Status.CLOSED,
            suspends=None,
            reason=reason,
            actor=actor,
            now=now,
        )
    event = Event("member.erased", member_id, occurred_at=now, recorded_at=now, member_id=member_id)
    await outbox.tell(session, program_id=program_id, events=[event])
    return True
