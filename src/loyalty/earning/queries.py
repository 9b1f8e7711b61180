from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import fetch, fetch_rows, insert_rows
from loyalty.earning import models
from loyalty.earning.definitions import read_terms, write_terms
from loyalty.earning.errors import EarningRuleNotFound
from loyalty.earning.rules import PaidAward, RuleVersion
from loyalty.earning.terms import Terms, kind_of

_APPENDED: Final = "earning_rule_versions_appended"


async def list_versions(session: AsyncSession, *, program_id: UUID) -> list[models.EarningRuleVersion]:
    """Return every version of every rule, drafts included."""
    ending = "WHERE program_id = $1 ORDER BY rule_id, version"
    return await fetch_rows(session, models.EarningRuleVersion, ending, program_id)


async def newest_number(session: AsyncSession, *, program_id: UUID) -> int:
    """Return the number of the newest version that is no draft; zero if there is none."""
    found = await fetch(
        session,
        "SELECT max(number) FROM earning_rule_versions WHERE program_id = $1 AND active_from IS NOT NULL",
        program_id,
    )
    return found[0][0] or 0


async def list_versions_of(
    session: AsyncSession, *, program_id: UUID, rule_id: UUID
) -> list[models.EarningRuleVersion]:
    version = models.EarningRuleVersion
    found = await session.execute(
        select(version).where(version.program_id == program_id, version.rule_id == rule_id).order_by(version.version)
    )
    return list(found.scalars())


async def get_rule(session: AsyncSession, *, program_id: UUID, rule_id: UUID) -> models.EarningRule:
    rule = models.EarningRule
    found = await session.execute(select(rule).where(rule.program_id == program_id, rule.id == rule_id))
    row = found.scalar_one_or_none()
    if row is None:
        raise EarningRuleNotFound
    return row


async def list_rules(session: AsyncSession, *, program_id: UUID) -> list[models.EarningRule]:
    rule = models.EarningRule
    return list((await session.execute(select(rule).where(rule.program_id == program_id).order_by(rule.id))).scalars())


async def insert_rule(session: AsyncSession, *, program_id: UUID, rule_id: UUID, name: str, now: datetime) -> None:
    await session.execute(
        insert(models.EarningRule).values(program_id=program_id, id=rule_id, name=name, created_at=now)
    )


async def lock_rule(session: AsyncSession, *, program_id: UUID, rule_id: UUID) -> int:
    """Lock a rule and return its newest version."""
    rule, version = models.EarningRule, models.EarningRuleVersion
    found = await session.execute(
        select(rule.id).where(rule.program_id == program_id, rule.id == rule_id).with_for_update(key_share=True)
    )
    if found.first() is None:
        raise EarningRuleNotFound
    newest = await session.execute(
        select(func.coalesce(func.max(version.version), 0)).where(
            version.program_id == program_id, version.rule_id == rule_id
        )
    )
    return int(newest.scalar_one())


async def append_version(
    session: AsyncSession,
    *,
    program_id: UUID,
    rule_id: UUID,
    version: int,
    terms: Terms,
    actor: str,
    active_from: datetime | None,
    active_until: datetime | None,
    now: datetime,
    ends: bool = False,
) -> bool:
    """Add a version, while the program is locked; False if one begins at the same instant."""
    session.info[_APPENDED] = True
    own = models.EarningRuleVersion
    newest = select(func.coalesce(func.max(own.number), 0) + 1).where(own.program_id == program_id)
    added = await session.execute(
        insert(models.EarningRuleVersion)
        .values(
            program_id=program_id,
            rule_id=rule_id,
            version=version,
            number=newest.scalar_subquery(),
            kind=str(kind_of(terms.gives)),
            definition=write_terms(terms),
            actor=actor,
            active_from=active_from,
            active_until=active_until,
            created_at=now,
            ends=ends,
        )
        .on_conflict_do_nothing(index_elements=["program_id", "rule_id", "active_from"])
        .returning(models.EarningRuleVersion.version)
    )
    return added.first() is not None


def has_appended(session: AsyncSession) -> bool:
    """Tell whether this transaction has added versions, which are not there for good yet."""
    return _APPENDED in session.info


async def delete_version(session: AsyncSession, *, program_id: UUID, rule_id: UUID, version: int) -> None:
    """Delete a draft, which nothing was ever counted under."""
    own = models.EarningRuleVersion
    await session.execute(
        delete(own).where(
            own.program_id == program_id,
            own.rule_id == rule_id,
            own.version == version,
            own.active_from.is_(None),
        )
    )


async def insert_counts(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    await insert_rows(session, models.OrderCount, rows)


async def list_counts(
    session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]
) -> dict[UUID, models.OrderCount]:
    """Return by what these orders were counted; those that could earn nothing are left out."""
    ending = "WHERE program_id = $1 AND order_id = ANY($2::uuid[])"
    rows = await fetch_rows(session, models.OrderCount, ending, program_id, list(order_ids))
    return {row.order_id: row for row in rows}


def as_rule_version(row: models.EarningRuleVersion) -> RuleVersion | None:
    """Return a version as orders are counted by it; None for a draft."""
    if row.active_from is None:
        return None
    terms = read_terms(row.kind, row.definition)
    return RuleVersion(row.rule_id, row.version, terms, row.active_from, row.active_until, row.ends)


async def insert_reversals(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    await insert_rows(session, models.OrderAwardReversal, rows)


async def list_reversals(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> list[models.OrderAwardReversal]:
    ending = "WHERE program_id = $1 AND order_id = $2 ORDER BY return_id, rule_id"
    return await fetch_rows(session, models.OrderAwardReversal, ending, program_id, order_id)


async def insert_additions(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    await insert_rows(session, models.OrderAwardAddition, rows)


async def list_additions(
    session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]
) -> list[models.OrderAwardAddition]:
    ending = "WHERE program_id = $1 AND order_id = ANY($2::uuid[]) ORDER BY return_id, rule_id"
    return await fetch_rows(session, models.OrderAwardAddition, ending, program_id, list(order_ids))


async def list_rule_versions(
    session: AsyncSession, *, program_id: UUID, awards: Sequence[PaidAward]
) -> list[RuleVersion]:
    """Return the very versions that these awards were counted under."""
    named = {(award.rule_id, award.rule_version) for award in awards}
    ending = "WHERE program_id = $1 AND rule_id = ANY($2::uuid[]) ORDER BY rule_id, version"
    found = await fetch_rows(session, models.EarningRuleVersion, ending, program_id, [own for own, _ in named])
    rows = [row for row in found if (row.rule_id, row.version) in named]
    return [known for row in rows if (known := as_rule_version(row)) is not None]
