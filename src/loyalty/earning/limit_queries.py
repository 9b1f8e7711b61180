"""The SQL of limits: how much rules have given members within periods, and out of budgets."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final
from uuid import UUID

from sqlalchemy import delete, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import fetch
from loyalty.earning import models

_NAMES: Final = "rule_id, member_id, period, period_on"
_KEYS: Final = "unnest($2::uuid[], $3::uuid[], $4::text[], $5::date[])"

UsageKey = tuple[UUID, UUID, str, date]
"""Rule, member, the kind of period, and its first day."""


async def lock_usage(session: AsyncSession, keys: Iterable[UsageKey], *, program_id: UUID) -> dict[UsageKey, int]:
    """Lock how much these rules have given these members, opening what is not there, in one order."""
    named = sorted(set(keys))
    if not named:
        return {}
    await fetch(
        session,
        f"""
        INSERT INTO earning_usage (program_id, rule_id, member_id, period, period_on, points)
        SELECT $1, rule_id, member_id, period, period_on, 0 FROM {_KEYS} WITH ORDINALITY
            AS own (rule_id, member_id, period, period_on, position) ORDER BY position
        ON CONFLICT DO NOTHING RETURNING 1
        """,  # noqa: S608 -- our own names
        program_id,
        *zip(*named, strict=True),
    )
    return await _read_usage(session, named, program_id=program_id, ending=f"ORDER BY {_NAMES} FOR NO KEY UPDATE")


async def lock_budgets(session: AsyncSession, rule_ids: Iterable[UUID], *, program_id: UUID) -> dict[UUID, int]:
    """Lock how much these rules have given in all, in order of id; comes after usage."""
    named = sorted(rule_ids)
    if not named:
        return {}
    await fetch(
        session,
        """
        INSERT INTO earning_budgets (program_id, rule_id, points)
        SELECT $1, rule_id, 0 FROM unnest($2::uuid[]) WITH ORDINALITY AS own (rule_id, position) ORDER BY position
        ON CONFLICT DO NOTHING RETURNING 1
        """,
        program_id,
        named,
    )
    return await _read_budgets(session, named, program_id=program_id, ending="ORDER BY rule_id FOR NO KEY UPDATE")


async def read_usage(session: AsyncSession, keys: Iterable[UsageKey], *, program_id: UUID) -> dict[UsageKey, int]:
    return await _read_usage(session, list(keys), program_id=program_id)


async def read_budgets(session: AsyncSession, rule_ids: Iterable[UUID], *, program_id: UUID) -> dict[UUID, int]:
    return await _read_budgets(session, list(rule_ids), program_id=program_id)


async def add_usage(session: AsyncSession, points: Mapping[UsageKey, int], *, program_id: UUID) -> None:
    """Add points, or take some off where they are negative; never below zero."""
    if points:
        await fetch(
            session,
            f"""
            UPDATE earning_usage AS used SET points = greatest(0, used.points + own.points)
            FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::date[], $6::bigint[]) AS own ({_NAMES}, points)
            WHERE used.program_id = $1 AND used.rule_id = own.rule_id AND used.member_id = own.member_id
                AND used.period = own.period AND used.period_on = own.period_on
            RETURNING 1
            """,  # noqa: S608 -- our own names
            program_id,
            *zip(*points, strict=True),
            list(points.values()),
        )


async def add_to_budgets(session: AsyncSession, points: Mapping[UUID, int], *, program_id: UUID) -> None:
    if points:
        await fetch(
            session,
            """
            UPDATE earning_budgets AS used SET points = greatest(0, used.points + own.points)
            FROM unnest($2::uuid[], $3::bigint[]) AS own (rule_id, points)
            WHERE used.program_id = $1 AND used.rule_id = own.rule_id
            RETURNING 1
            """,
            program_id,
            list(points),
            list(points.values()),
        )


async def hand_over_usage(session: AsyncSession, *, program_id: UUID, giver: UUID, receiver: UUID) -> None:
    own = models.EarningUsage
    theirs = (
        select(own.program_id, own.rule_id, literal(receiver), own.period, own.period_on, own.points)
        .where(own.program_id == program_id, own.member_id == giver)
        .order_by(own.rule_id, own.period, own.period_on)
    )
    added = insert(own).from_select(["program_id", "rule_id", "member_id", "period", "period_on", "points"], theirs)
    await session.execute(
        added.on_conflict_do_update(
            index_elements=["program_id", "rule_id", "member_id", "period", "period_on"],
            set_={"points": own.points + added.excluded.points},
        )
    )
    await session.execute(delete(own).where(own.program_id == program_id, own.member_id == giver))


async def _read_usage(
    session: AsyncSession, keys: Sequence[UsageKey], *, program_id: UUID, ending: str = ""
) -> dict[UsageKey, int]:
    if not keys:
        return {}
    found = await fetch(
        session,
        f"""
        SELECT {_NAMES}, points FROM earning_usage
        WHERE program_id = $1 AND ({_NAMES}) IN (SELECT * FROM {_KEYS}) {ending}
        """,  # noqa: S608 -- our own names
        program_id,
        *zip(*keys, strict=True),
    )
    return {(row[0], row[1], row[2], row[3]): row[4] for row in found}


async def _read_budgets(
    session: AsyncSession, rule_ids: Sequence[UUID], *, program_id: UUID, ending: str = ""
) -> dict[UUID, int]:
    if not rule_ids:
        return {}
    statement = "SELECT rule_id, points FROM earning_budgets WHERE program_id = $1 AND rule_id = ANY($2::uuid[])"
    return dict(await fetch(session, f"{statement} {ending}", program_id, rule_ids))
