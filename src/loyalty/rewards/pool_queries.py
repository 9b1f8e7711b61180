"""The SQL of pools: codes of the shop's own that wait to be issued."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Text, any_, cast, delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import fetch
from loyalty.rewards import models


async def add_codes(
    session: AsyncSession, written: Sequence[tuple[str, str]], *, program_id: UUID, reward_id: UUID, now: datetime
) -> set[str]:
    """Add codes, (as sought, as written), that no pool of the program has; return those that are new.

    In order of code, so that two files with the same codes never wait for each other.
    """
    own, named = models.CouponCode, sorted(written)
    columns = [cast([pair[place] for pair in named], ARRAY(Text)) for place in (0, 1)]
    rows = func.unnest(*columns).table_valued("code", "written").render_derived()
    added = await session.execute(
        insert(own)
        .from_select(
            ["program_id", "code", "reward_id", "written", "added_at"],
            select(
                literal(program_id), rows.c.code, literal(reward_id), rows.c.written, literal(now, own.added_at.type)
            ),
        )
        .on_conflict_do_nothing()
        .returning(own.code)
    )
    return set(added.scalars())


async def list_owners(session: AsyncSession, codes: Collection[str], *, program_id: UUID) -> dict[str, UUID]:
    """Return in which reward's pool these codes wait."""
    own = models.CouponCode
    found = await session.execute(
        select(own.code, own.reward_id).where(own.program_id == program_id, own.code == _any(codes))
    )
    return {row[0]: row[1] for row in found}


async def list_issued(session: AsyncSession, codes: Collection[str], *, program_id: UUID) -> dict[str, bool]:
    """Return which of these codes a coupon has, and whether that was used."""
    coupon = models.Coupon
    found = await session.execute(
        select(coupon.code, coupon.used_at.is_not(None)).where(
            coupon.program_id == program_id, coupon.code == _any(codes)
        )
    )
    return {row[0]: row[1] for row in found}


async def delete_codes(session: AsyncSession, codes: Collection[str], *, program_id: UUID) -> None:
    own = models.CouponCode
    await session.execute(delete(own).where(own.program_id == program_id, own.code == _any(codes)))


async def take_code(session: AsyncSession, *, program_id: UUID, reward_id: UUID) -> models.CouponCode | None:
    """Take a code out of a reward's pool: one that nobody else is just taking, or what those leave who are."""
    own = models.CouponCode
    free = select(own).where(own.program_id == program_id, own.reward_id == reward_id).order_by(own.code).limit(1)
    for lock in (free.with_for_update(skip_locked=True), free.with_for_update()):
        code = (await session.execute(lock)).scalar_one_or_none()
        if code is not None:
            await session.execute(delete(own).where(own.program_id == program_id, own.code == code.code))
            return code
    return None


async def count_codes(session: AsyncSession, *, program_id: UUID, reward_ids: Collection[UUID]) -> dict[UUID, int]:
    """Return how many codes are left in these rewards' pools; those with none are not there."""
    found = await fetch(
        session,
        """
        SELECT reward_id, count(*) FROM coupon_codes WHERE program_id = $1 AND reward_id = ANY($2::uuid[])
        GROUP BY reward_id
        """,
        program_id,
        list(reward_ids),
    )
    return dict(map(tuple, found))


def _any(codes: Collection[str]) -> Any:
    return any_(cast(list(codes), ARRAY(Text)))
