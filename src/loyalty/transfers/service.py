from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import idempotency, ids
from loyalty.core.idempotency import Call, Claim
from loyalty.members import merging
from loyalty.members import service as members
from loyalty.members.errors import MemberMayNotBurn
from loyalty.members.rules import Status
from loyalty.points import history as points_history
from loyalty.points import models as point_models
from loyalty.points import service as points
from loyalty.points.rules import Account, EntryKind, Source, SourceKind, WalletKey
from loyalty.programs.rules import Program
from loyalty.transfers import models, queries
from loyalty.transfers.errors import ReceiverClosed, TransferToOneself


@dataclass(frozen=True)
class View:
    """A transfer and its entries in both wallets."""

    transfer: models.Transfer
    entries: list[point_models.Entry]


async def transfer(
    session: AsyncSession,
    *,
    program: Program,
    call: Call,
    giver: UUID,
    receiver: UUID,
    unit: str,
    amount: int,
    reason: str | None,
    actor: str,
    metadata: dict[str, str],
    now: datetime,
) -> Claim:
    """Give a member's points to another, once per key. Locks both wallets, in one order.

    Raises TransferToOneself, MemberNotFound, MemberMayNotBurn, ReceiverClosed, NotEnoughPoints.
    """
    claim = await idempotency.claim(session, call=call, resource_id=ids.new(), now=now)
    if claim.replayed:
        return claim
    if giver == receiver:
        raise TransferToOneself
    await merging.refuse_merged(session, program_id=program.id, member_ids=[giver, receiver])
    if not (await members.standing(session, program_id=program.id, member_id=giver)).may_burn:
        raise MemberMayNotBurn
    if (await members.standing(session, program_id=program.id, member_id=receiver)).status is Status.CLOSED:
        raise ReceiverClosed
    source, target = WalletKey(program.id, giver, unit), WalletKey(program.id, receiver, unit)
    book = await points.open_book(session, program=program, keys=[source, target], now=now)
    stands_for = Source(SourceKind.TRANSFER, claim.resource_id)
    taken = await points.spend(
        session,
        book,
        key=source,
        points=amount,
        source=stands_for,
        kind=EntryKind.TRANSFER,
        target=Account.TRANSFERRED,
    )
    book.give(target, book.taken_by(taken), kind=EntryKind.TRANSFER, source=stands_for)
    await points.post(session, book)
    made = models.Transfer(
        program_id=program.id,
        id=claim.resource_id,
        from_member_id=giver,
        to_member_id=receiver,
        unit=unit,
        points=amount,
        reason=reason,
        actor=actor,
        transferred_at=now,
        notes=metadata,
    )
    await queries.insert_transfer(session, made)
    return claim


async def get(session: AsyncSession, *, program_id: UUID, transfer_id: UUID) -> View:
    found = await queries.get_transfer(session, program_id=program_id, transfer_id=transfer_id)
    entries = (await points_history.entries_of(session, program_id=program_id, source_ids=[transfer_id]))[transfer_id]
    return View(found, [entry for entry in entries if entry.kind == EntryKind.TRANSFER])
