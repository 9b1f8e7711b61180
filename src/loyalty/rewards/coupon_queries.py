"""The SQL of coupons, and of what they took off orders."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import as_stored, fetch, fetch_rows, insert_new_rows, insert_rows
from loyalty.rewards import models
from loyalty.rewards.errors import CouponNotFound


async def insert_coupon(session: AsyncSession, row: dict[str, Any]) -> bool:
    """Add a coupon; False if there is one with the same code."""
    return bool(await insert_new_rows(session, models.Coupon, [row], returning="id"))


async def insert_coupons(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> list[models.Coupon]:
    await insert_rows(session, models.Coupon, rows)
    return [as_stored(models.Coupon, row) for row in rows]


async def list_coupons(
    session: AsyncSession, *, program_id: UUID, coupon_ids: Collection[UUID]
) -> dict[UUID, models.Coupon]:
    ending = "WHERE program_id = $1 AND id = ANY($2::uuid[])"
    return {row.id: row for row in await fetch_rows(session, models.Coupon, ending, program_id, list(coupon_ids))}


async def lock_coupon(
    session: AsyncSession, *, program_id: UUID, coupon_id: UUID | None = None, code: str | None = None
) -> models.Coupon:
    """Lock a coupon, by its id or by its code."""
    coupon = models.Coupon
    own = coupon.id == coupon_id if coupon_id is not None else coupon.code == code
    found = await session.execute(
        select(coupon).where(coupon.program_id == program_id, own).with_for_update(key_share=True),
        execution_options={"populate_existing": True},
    )
    row = found.scalar_one_or_none()
    if row is None:
        raise CouponNotFound
    return row


async def find_coupon(session: AsyncSession, *, program_id: UUID, code: str) -> models.Coupon:
    coupon = models.Coupon
    found = await session.execute(select(coupon).where(coupon.program_id == program_id, coupon.code == code))
    row = found.scalar_one_or_none()
    if row is None:
        raise CouponNotFound
    return row


async def count_had(
    session: AsyncSession, *, program_id: UUID, member_id: UUID, since: Mapping[UUID, datetime | None]
) -> dict[UUID, int]:
    """Return how many coupons of each reward a member got from an instant on, or ever, that were not taken back."""
    found = await fetch(
        session,
        """
        SELECT reward_id, count(*) FROM coupons JOIN unnest($3::uuid[], $4::timestamptz[]) AS wanted (id, begin)
            ON reward_id = wanted.id AND (wanted.begin IS NULL OR issued_at >= wanted.begin)
        WHERE program_id = $1 AND member_id = $2 AND voided_at IS NULL GROUP BY reward_id
        """,
        program_id,
        member_id,
        list(since),
        list(since.values()),
    )
    return dict(map(tuple, found))


async def expire_coupons(session: AsyncSession, *, program_id: UUID, now: datetime, limit: int) -> list[models.Coupon]:
    """Mark at most so many coupons whose time is over, the first first, and return them; what is locked is left."""
    coupon = models.Coupon
    due = (
        select(coupon)
        .where(*_waiting(program_id), coupon.expires_at <= now)
        .order_by(coupon.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    )
    found = list((await session.execute(due, execution_options={"populate_existing": True})).scalars())
    if found:
        named = [row.id for row in found]
        await session.execute(
            update(coupon).where(coupon.program_id == program_id, coupon.id.in_(named)).values(expired_at=now)
        )
    return found


async def find_next_expiry(session: AsyncSession, *, program_id: UUID, after: datetime | None) -> datetime | None:
    """Return when the time of the next coupon is over, later than an instant or at all."""
    query = select(func.min(models.Coupon.expires_at)).where(*_waiting(program_id))
    if after is not None:
        query = query.where(models.Coupon.expires_at > after)
    return (await session.execute(query)).scalar_one()


async def insert_discounts(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    await insert_rows(session, models.CouponDiscount, rows)


async def list_discounts(
    session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]
) -> list[models.CouponDiscount]:
    ending = "WHERE program_id = $1 AND order_id = ANY($2::uuid[]) ORDER BY order_id, position"
    return await fetch_rows(session, models.CouponDiscount, ending, program_id, list(order_ids))


async def set_returned(session: AsyncSession, *, program_id: UUID, order_id: UUID, return_id: UUID) -> None:
    own = models.CouponDiscount
    await session.execute(
        update(own).where(own.program_id == program_id, own.order_id == order_id).values(return_id=return_id)
    )


async def end_coupon(
    session: AsyncSession,
    *,
    program_id: UUID,
    coupon_id: UUID,
    used_at: datetime | None = None,
    used_external_order_id: str | None = None,
    voided_at: datetime | None = None,
) -> None:
    coupon = models.Coupon
    await session.execute(
        update(coupon)
        .where(coupon.program_id == program_id, coupon.id == coupon_id)
        .values(used_at=used_at, used_external_order_id=used_external_order_id, voided_at=voided_at)
    )


async def set_coupon_owner(session: AsyncSession, *, program_id: UUID, giver: UUID, receiver: UUID) -> None:
    coupon = models.Coupon
    await session.execute(
        update(coupon).where(coupon.program_id == program_id, coupon.member_id == giver).values(member_id=receiver)
    )


def _waiting(program_id: UUID) -> tuple[ColumnElement[bool], ...]:
    """Choose coupons that nothing has ended yet, but time may; as their index does."""
    coupon = models.Coupon
    return (
        coupon.program_id == program_id,
        coupon.expires_at.is_not(None),
        coupon.used_at.is_(None),
        coupon.voided_at.is_(None),
        coupon.expired_at.is_(None),
    )
