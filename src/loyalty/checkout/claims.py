"""A guest's order that a member claims later: it is counted as if it had been theirs when it was placed."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.checkout import counting
from loyalty.checkout.service import GUEST_EMAIL
from loyalty.core import idempotency
from loyalty.core.idempotency import Call, Claim
from loyalty.core.signing import Keyring
from loyalty.members import customers
from loyalty.members import service as members
from loyalty.members.errors import MemberClosed
from loyalty.members.rules import IdentifierKind, Status
from loyalty.orders import models as order_models
from loyalty.orders import service as orders
from loyalty.orders.rules import Line, NewOrder
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.programs.rules import Program

_EXISTED: Final = 200


async def claim(
    session: AsyncSession,
    *,
    program: Program,
    call: Call,
    order_id: UUID,
    member_id: UUID,
    keyring: Keyring,
    now: datetime,
) -> Claim:
    """Make a guest's order a member's, once; it earns if it was placed at or after they joined.

    Locks customer, order, referral, wallets. Raises MemberNotFound, MemberClosed, OrderNotFound, OrderCancelled,
    OrderHasABuyer, ClaimNotProven.
    """
    taken = await idempotency.claim(session, call=call, resource_id=order_id, now=now)
    if taken.replayed:
        return taken
    await customers.lock(session, program_id=program.id, customer_ids=[member_id])
    member = await members.get(session, program_id=program.id, member_id=member_id)
    if member.member.status == Status.CLOSED:
        raise MemberClosed
    email = member.identifiers.get(IdentifierKind.EMAIL)
    claimed = await orders.claim(
        session,
        program_id=program.id,
        order_id=order_id,
        customer_id=member_id,
        email_digests=keyring.digests(GUEST_EMAIL, email) if email else (),
    )
    if claimed is None:
        await idempotency.repoint(session, taken, resource_id=order_id, status=_EXISTED)
        return Claim(call, order_id, _EXISTED, replayed=False)
    await counting.count(session, program=program, order=_counted(*claimed, member_id=member_id, now=now), now=now)
    event = Event("order.claimed", order_id, occurred_at=now, recorded_at=now, customer_id=member_id)
    await outbox.tell(session, program_id=program.id, events=[event])
    return taken


def _counted(order: order_models.Order, lines: list[Line], *, member_id: UUID, now: datetime) -> NewOrder:
    """Return the order as it is counted: with its buyer, and with what has not gone back."""
    return NewOrder(
        id=order.id,
        external_id=order.external_id,
        customer_id=member_id,
        email_digest=order.email_digest,
        content_digest=order.content_digest,
        currency=order.currency,
        lines=tuple(lines),
        channel=order.channel,
        placed_at=order.placed_at,
        recorded_at=now,
        paid=order.paid_at is not None,
        delivered=order.delivered_at is not None,
        paid_at=order.paid_at,
        store=order.store,
        payment_method=order.payment_method,
    )
