"""Coupons: issued for a reward, used once, good again, taken back, over."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.rewards import coupon_queries, models, pool_queries, queries, rules
from loyalty.rewards.discounts import Discount
from loyalty.rewards.errors import (
    CouponCodesExhausted,
    CouponExpired,
    CouponNotForThisMember,
    CouponUsed,
    CouponVoided,
    OutOfStock,
)

_CODE_ATTEMPTS: Final = 5


async def issue(
    session: AsyncSession, *, reward: models.Reward, coupon_id: UUID, member_id: UUID, now: datetime
) -> None:
    """Take one unit of stock and give its coupon; raises OutOfStock. Locks the reward, or the code of its pool."""
    from_stock = False
    if not reward.pooled:
        left = (await queries.lock_stock(session, program_id=reward.program_id, reward_ids=[reward.id]))[reward.id]
        if left == 0:
            raise OutOfStock
        from_stock = left is not None
        if from_stock:
            await queries.take_stock(session, program_id=reward.program_id, taken={reward.id: 1})
    for _ in range(_CODE_ATTEMPTS):
        code, written = await _next_code(session, reward)
        made = new_coupon(
            reward, coupon_id=coupon_id, code=code, written=written, member_id=member_id, now=now, counted=from_stock
        )
        if await coupon_queries.insert_coupon(session, made):
            return
    raise CouponCodesExhausted


async def issue_many(
    session: AsyncSession, wanted: Sequence[tuple[models.Reward, UUID, UUID]], *, program_id: UUID, now: datetime
) -> list[models.Coupon]:
    """Give members coupons of rewards that have no codes of their own, out of stock that is locked and suffices.

    Each is wanted as reward, id of the coupon and member. A code that is there already is heard as they are written.
    """
    counted = Counter(reward.id for reward, _, _ in wanted if reward.stock_left is not None)
    await queries.take_stock(session, program_id=program_id, taken=counted)
    made = []
    for reward, coupon_id, member_id in wanted:
        code = rules.make_coupon_code()
        made.append(
            new_coupon(
                reward,
                coupon_id=coupon_id,
                code=code,
                written=code,
                member_id=member_id,
                now=now,
                counted=reward.id in counted,
            )
        )
    return await coupon_queries.insert_coupons(session, made)


async def lock_stock(session: AsyncSession, *, program_id: UUID, reward_ids: Collection[UUID]) -> dict[UUID, int]:
    """Lock these rewards, whose stock is counted, after wallets; return how many there are of each."""
    found = await queries.lock_stock(session, program_id=program_id, reward_ids=reward_ids) if reward_ids else {}
    return {reward_id: left for reward_id, left in found.items() if left is not None}


def new_coupon(
    reward: models.Reward,
    *,
    coupon_id: UUID,
    code: str,
    written: str,
    member_id: UUID,
    now: datetime,
    counted: bool,
) -> dict[str, Any]:
    """Write a coupon's row; `counted` says that it was taken out of a stock."""
    return {
        "program_id": reward.program_id,
        "id": coupon_id,
        "code": code,
        "written": written,
        "reward_id": reward.id,
        "member_id": member_id,
        "issued_at": now,
        "expires_at": rules.coupon_expiry(now, days=reward.coupon_days),
        "from_stock": counted,
    }


async def use(
    session: AsyncSession, *, program_id: UUID, code: str, external_order_id: str | None, now: datetime
) -> UUID:
    """Use a coupon at the till, once; return its id. Raises CouponNotFound, CouponUsed, CouponVoided, CouponExpired."""
    coupon = await coupon_queries.lock_coupon(session, program_id=program_id, code=rules.fold_coupon_code(code))
    check_good(coupon, now=now)
    await coupon_queries.end_coupon(
        session,
        program_id=program_id,
        coupon_id=coupon.id,
        used_at=now,
        used_external_order_id=external_order_id,
    )
    event = Event("coupon.used", coupon.id, occurred_at=now, recorded_at=now, member_id=coupon.member_id)
    await outbox.tell(session, program_id=program_id, events=[event])
    return coupon.id


async def find(session: AsyncSession, *, program_id: UUID, code: str) -> tuple[models.Coupon, models.Reward]:
    """Return the coupon with this code, and its reward; nothing is locked. Raises CouponNotFound."""
    coupon = await coupon_queries.find_coupon(session, program_id=program_id, code=rules.fold_coupon_code(code))
    return coupon, await queries.get_reward(session, program_id=program_id, reward_id=coupon.reward_id)


def check_owner(coupon: models.Coupon, *, member_id: UUID | None) -> None:
    """Raise CouponNotForThisMember unless the coupon is this member's."""
    if coupon.member_id != member_id:
        raise CouponNotForThisMember


def check_good(coupon: models.Coupon, *, now: datetime) -> None:
    """Raise CouponUsed, CouponVoided or CouponExpired unless a coupon can be used now.

    Its date decides. One that was told to have expired stays so, on a server whose clock is behind, too.
    """
    if coupon.used_at is not None:
        raise CouponUsed
    if coupon.voided_at is not None:
        raise CouponVoided
    if coupon.expired_at is not None or (coupon.expires_at is not None and coupon.expires_at <= now):
        raise CouponExpired


async def use_on(
    session: AsyncSession,
    discounts: Sequence[Discount],
    *,
    program_id: UUID,
    order_id: UUID,
    external_order_id: str,
    now: datetime,
) -> None:
    """Use coupons on an order. Locks them, in order of id, after wallets. Raises what `use` raises."""
    for discount in sorted(discounts, key=lambda discount: discount.coupon_id):
        await use(session, program_id=program_id, code=discount.code, external_order_id=external_order_id, now=now)
    rows = [
        {
            "program_id": program_id,
            "order_id": order_id,
            "coupon_id": discount.coupon_id,
            "position": position,
            "reward_id": discount.reward_id,
            "code": discount.code,
            "line_minor": list(discount.line_minor),
            "effect": str(discount.effect),
            "return_id": None,
        }
        for position, discount in enumerate(discounts, start=1)
    ]
    await coupon_queries.insert_discounts(session, rows)


async def discounts(
    session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]
) -> defaultdict[UUID, list[models.CouponDiscount]]:
    """Return what coupons took off orders, in the order in which they did."""
    found: defaultdict[UUID, list[models.CouponDiscount]] = defaultdict(list)
    for row in await coupon_queries.list_discounts(session, program_id=program_id, order_ids=order_ids):
        found[row.order_id].append(row)
    return found


async def undo_uses(session: AsyncSession, *, program_id: UUID, order_id: UUID, return_id: UUID, now: datetime) -> None:
    """Make the coupons of an order that went back as a whole good again, as long as they are. Locks them."""
    found = await discounts(session, program_id=program_id, order_ids=[order_id])
    used = [row for row in found[order_id] if row.return_id is None]
    for row in sorted(used, key=lambda row: row.coupon_id):
        coupon = await coupon_queries.lock_coupon(session, program_id=program_id, coupon_id=row.coupon_id)
        await coupon_queries.end_coupon(session, program_id=program_id, coupon_id=coupon.id)
        event = Event("coupon.returned", coupon.id, occurred_at=now, recorded_at=now, member_id=coupon.member_id)
        await outbox.tell(session, program_id=program_id, events=[event])
    if used:
        await coupon_queries.set_returned(session, program_id=program_id, order_id=order_id, return_id=return_id)


async def take_back(session: AsyncSession, *, program_id: UUID, coupon_id: UUID, now: datetime) -> None:
    """Void a coupon that is neither used nor expired, and return its unit to the stock it came from."""
    coupon = await coupon_queries.lock_coupon(session, program_id=program_id, coupon_id=coupon_id)
    check_good(coupon, now=now)
    await coupon_queries.end_coupon(session, program_id=program_id, coupon_id=coupon_id, voided_at=now)
    if coupon.from_stock:
        await queries.put_stock_back(session, program_id=program_id, reward_id=coupon.reward_id)


async def listed(session: AsyncSession, *, program_id: UUID, coupon_ids: Collection[UUID]) -> dict[UUID, models.Coupon]:
    return await coupon_queries.list_coupons(session, program_id=program_id, coupon_ids=coupon_ids)


async def hand_over(session: AsyncSession, *, program_id: UUID, giver: UUID, receiver: UUID) -> None:
    """Make one member's coupons another's."""
    await coupon_queries.set_coupon_owner(session, program_id=program_id, giver=giver, receiver=receiver)


async def expire(session: AsyncSession, *, program_id: UUID, now: datetime, limit: int) -> int:
    """Tell of at most so many coupons that their time is over; return of how many. Their stock does not come back."""
    found = await coupon_queries.expire_coupons(session, program_id=program_id, now=now, limit=limit)
    events = [
        Event(
            "coupon.expired",
            coupon.id,
            occurred_at=coupon.expires_at or now,
            recorded_at=now,
            member_id=coupon.member_id,
        )
        for coupon in found
    ]
    await outbox.tell(session, program_id=program_id, events=events)
    return len(found)


async def next_expiry(session: AsyncSession, *, program_id: UUID, after: datetime | None) -> datetime | None:
    """Return when the next coupon expires, later than an instant or at all; None if none does."""
    return await coupon_queries.find_next_expiry(session, program_id=program_id, after=after)


async def _next_code(session: AsyncSession, reward: models.Reward) -> tuple[str, str]:
    """Return a code as it is sought and as it is written: made up, or out of the reward's pool. Raises OutOfStock."""
    if not reward.pooled:
        made = rules.make_coupon_code()
        return made, made
    found = await pool_queries.take_code(session, program_id=reward.program_id, reward_id=reward.id)
    if found is None:
        raise OutOfStock
    return found.code, found.written
