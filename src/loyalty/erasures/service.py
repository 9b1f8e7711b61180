from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.activities import service as activities
from loyalty.members import erasing as members
from loyalty.orders import service as orders
from loyalty.redemptions import service as redemptions


async def erase(
    session: AsyncSession, *, program_id: UUID, member_id: UUID, reason: str, actor: str, now: datetime
) -> None:
    """Forget who a member was, once; entries, orders and redemptions stay without a name. Raises MemberNotFound."""
    if await members.erase(session, program_id=program_id, member_id=member_id, reason=reason, actor=actor, now=now):
        await orders.forget(session, program_id=program_id, customer_id=member_id)
        await activities.forget(session, program_id=program_id, member_id=member_id)
        await redemptions.forget(session, program_id=program_id, member_id=member_id)
