from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import idempotency, ids
from loyalty.core.idempotency import Call, Claim
from loyalty.members import customers
from loyalty.members import service as members
from loyalty.members.errors import MemberClosed
from loyalty.members.rules import Status
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.points import service as points
from loyalty.points.rules import Source, SourceKind, WalletKey
from loyalty.programs.rules import Program
from loyalty.redemptions import queries, showing
from loyalty.redemptions.errors import RedemptionAlreadyCancelled
from loyalty.rewards import coupons, offering
from loyalty.rewards import models as reward_models
from loyalty.rewards import service as rewards


async def redeem(
    session: AsyncSession,
    *,
    program: Program,
    call: Call,
    member_id: UUID,
    reward_id: UUID,
    metadata: dict[str, str],
    now: datetime,
) -> Claim:
    """Take a reward's cost from the member and give its coupon, once. Locks the customer, the wallet, the stock.

    The customer's lock makes what counts to the reward's limit stand still, and keeps merges out. Raises the first of
    `eligibility.barriers`.
    """
    program_id = program.id
    claim = await idempotency.claim(session, call=call, resource_id=ids.new(), now=now)
    if claim.replayed:
        return claim
    await customers.lock(session, program_id=program_id, customer_ids=[member_id])
    standing = await members.standing(session, program_id=program_id, member_id=member_id)
    view = await rewards.get(session, program_id=program_id, reward_id=reward_id)
    reward = view.reward
    wallet = WalletKey(program_id, member_id, reward.unit)
    book = await points.open_book(session, program=program, keys=[wallet], now=now)
    spendable = {reward.unit: book.wallets[wallet].spendable}
    (barriers,) = await offering.weigh(
        session, [view], program=program, standing=standing, spendable=spendable, now=now
    )
    if barriers:
        raise barriers[0].refusal
    source = Source(SourceKind.REDEMPTION, claim.resource_id)
    entry = await points.spend(session, book, key=wallet, points=reward.cost_points, source=source)
    await points.post(session, book)
    await coupons.issue(session, reward=reward, coupon_id=claim.resource_id, member_id=member_id, now=now)
    row = new_redemption(
        reward,
        redemption_id=claim.resource_id,
        member_id=member_id,
        points=reward.cost_points,
        entry_id=entry.id,
        metadata=metadata,
        now=now,
    )
    await queries.insert_redemptions(session, [row])
    await _tell(
        session, program_id=program_id, redemption_id=claim.resource_id, member_id=member_id, what="redeemed", now=now
    )
    return claim


async def grant(
    session: AsyncSession,
    *,
    program: Program,
    call: Call,
    member_id: UUID,
    reward_id: UUID,
    actor: str,
    reason: str,
    metadata: dict[str, str],
    now: datetime,
) -> Claim:
    """Give a reward's coupon without points, once: a redemption for none. Locks the customer, then the stock.

    The reward's own terms hold for it, too. Raises MemberNotFound, MemberClosed, what `eligibility.withheld` says, and
    OutOfStock.
    """
    program_id = program.id
    claim = await idempotency.claim(session, call=call, resource_id=ids.new(), now=now)
    if claim.replayed:
        return claim
    await customers.lock(session, program_id=program_id, customer_ids=[member_id])
    standing = await members.standing(session, program_id=program_id, member_id=member_id)
    view = await rewards.get(session, program_id=program_id, reward_id=reward_id)
    if standing.status is Status.CLOSED:
        raise MemberClosed
    await offering.check_gift(session, view, program=program, standing=standing, now=now)
    await coupons.issue(session, reward=view.reward, coupon_id=claim.resource_id, member_id=member_id, now=now)
    row = new_redemption(
        view.reward,
        redemption_id=claim.resource_id,
        member_id=member_id,
        points=0,
        entry_id=None,
        metadata=metadata,
        now=now,
    )
    await queries.insert_redemptions(session, [row])
    await queries.insert_grant(
        session, program_id=program_id, redemption_id=claim.resource_id, actor=actor, reason=reason
    )
    await _tell(
        session, program_id=program_id, redemption_id=claim.resource_id, member_id=member_id, what="granted", now=now
    )
    return claim


async def cancel(
    session: AsyncSession,
    *,
    program: Program,
    call: Call,
    redemption_id: UUID,
    member_id: UUID | None,
    actor: str,
    reason: str | None,
    now: datetime,
) -> Claim:
    """Undo a redemption whose coupon is unused.

    Its points go back into the very lots they came from, its unit to the stock. With `member_id` only that member's own
    redemption is found. Raises RedemptionAlreadyCancelled, CouponUsed, CouponExpired.
    """
    program_id = program.id
    claim = await idempotency.claim(session, call=call, resource_id=redemption_id, now=now)
    redemption = (
        await showing.get(session, program_id=program_id, redemption_id=redemption_id, member_id=member_id)
    ).redemption
    if claim.replayed:
        return claim
    # Its member may be merged into another just now: the customer's lock waits for that, and then it is known.
    await customers.lock(session, program_id=program_id, customer_ids=[redemption.member_id])
    redemption = (await showing.get(session, program_id=program_id, redemption_id=redemption_id)).redemption
    keys = set()
    if redemption.entry_id is not None:
        keys = {
            WalletKey(program_id, redemption.member_id, redemption.unit),
            await points.wallet_of(session, program_id=program_id, entry_id=redemption.entry_id),
        }
    book = await points.open_book(session, program=program, keys=keys, now=now)
    if await queries.list_cancellations(session, program_id=program_id, redemption_ids=[redemption_id]):
        raise RedemptionAlreadyCancelled
    await coupons.take_back(session, program_id=program_id, coupon_id=redemption_id, now=now)
    entry = None
    if redemption.entry_id is not None:
        entry = await points.undo_spend(
            session,
            book,
            entry_id=redemption.entry_id,
            source=Source(SourceKind.REDEMPTION, redemption_id),
            owner=redemption.member_id,
            part=None,
        )
        await points.post(session, book)
    await queries.insert_cancellation(
        session,
        program_id=program_id,
        redemption_id=redemption_id,
        entry_id=entry.id if entry else None,
        actor=actor,
        reason=reason,
        now=now,
    )
    await _tell(
        session,
        program_id=program_id,
        redemption_id=redemption_id,
        member_id=redemption.member_id,
        what="cancelled",
        now=now,
    )
    return claim


async def use_coupon(
    session: AsyncSession, *, program_id: UUID, call: Call, code: str, external_order_id: str | None, now: datetime
) -> Claim:
    """Use a redemption's coupon at the till, once. The claim's resource is the redemption."""
    claim = await idempotency.claim(session, call=call, resource_id=ids.new(), now=now)
    if claim.replayed:
        return claim
    used = await coupons.use(session, program_id=program_id, code=code, external_order_id=external_order_id, now=now)
    await idempotency.repoint(session, claim, resource_id=used, status=claim.status)
    return Claim(call, used, claim.status, replayed=False)


def new_redemption(
    reward: reward_models.Reward,
    *,
    redemption_id: UUID,
    member_id: UUID,
    points: int,
    entry_id: UUID | None,
    metadata: dict[str, str],
    now: datetime,
) -> dict[str, Any]:
    """Write a redemption's row."""
    return {
        "program_id": reward.program_id,
        "id": redemption_id,
        "member_id": member_id,
        "reward_id": reward.id,
        "unit": reward.unit,
        "points": points,
        "entry_id": entry_id,
        "redeemed_at": now,
        "recorded_at": now,
        "metadata": metadata,
    }


async def _tell(
    session: AsyncSession, *, program_id: UUID, redemption_id: UUID, member_id: UUID, what: str, now: datetime
) -> None:
    await outbox.tell(
        session,
        program_id=program_id,
        events=[Event(f"redemption.{what}", redemption_id, occurred_at=now, recorded_at=now, member_id=member_id)],
    )


async def hand_over(session: AsyncSession, *, program_id: UUID, giver: UUID, receiver: UUID) -> None:
    """Make one member's redemptions and their coupons another's."""
    await queries.set_owner(session, program_id=program_id, giver=giver, receiver=receiver)
    await coupons.hand_over(session, program_id=program_id, giver=giver, receiver=receiver)


async def forget(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> None:
    """Clear the metadata of a member's redemptions, and their reasons, which may say something of the person."""
    await queries.clear_notes(session, program_id=program_id, member_id=member_id)
