from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids
from loyalty.earning import models, queries
from loyalty.earning.errors import RuleBeginsInThePast, RuleEndsBeforeItBegins, RuleVersionExists
from loyalty.earning.rules import Award, Excess, PointsPerAmount, RuleVersion, count_order
from loyalty.orders.rules import Line
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.points.postings import Reversal


async def create(
    session: AsyncSession,
    *,
    program_id: UUID,
    name: str,
    terms: PointsPerAmount,
    active_from: datetime,
    active_until: datetime | None,
    actor: str,
    now: datetime,
) -> tuple[models.EarningRule, models.EarningRuleVersion]:
    """Create a rule with its first version, which may have begun in the past.

    Nothing was counted under the rule yet.
    """
    _check_span(active_from, active_until)
    rule_id = ids.new()
    await queries.insert_rule(session, program_id=program_id, rule_id=rule_id, name=name, now=now)
    await queries.append_version(
        session,
        program_id=program_id,
        rule_id=rule_id,
        version=1,
        terms=terms,
        actor=actor,
        active_from=active_from,
        active_until=active_until,
        now=now,
    )
    await _tell(session, program_id=program_id, rule_id=rule_id, what="created", now=now)
    return await queries.get_version(session, program_id=program_id, rule_id=rule_id, version=1)


async def change(
    session: AsyncSession,
    *,
    program_id: UUID,
    rule_id: UUID,
    terms: PointsPerAmount,
    active_from: datetime,
    active_until: datetime | None,
    actor: str,
    now: datetime,
) -> tuple[models.EarningRule, models.EarningRuleVersion]:
    """Add a version that takes over at `active_from`, now or later."""
    if active_from < now:
        raise RuleBeginsInThePast
    _check_span(active_from, active_until)
    version = 1 + await queries.lock_rule(session, program_id=program_id, rule_id=rule_id)
    added = await queries.append_version(
        session,
        program_id=program_id,
        rule_id=rule_id,
        version=version,
        terms=terms,
        actor=actor,
        active_from=active_from,
        active_until=active_until,
        now=now,
    )
    if not added:
        raise RuleVersionExists
    await _tell(session, program_id=program_id, rule_id=rule_id, what="changed", now=now)
    return await queries.get_version(session, program_id=program_id, rule_id=rule_id, version=version)


async def listing(
    session: AsyncSession, *, program_id: UUID
) -> list[tuple[models.EarningRule, list[models.EarningRuleVersion]]]:
    """Return every rule with all its versions."""
    versions = await queries.list_versions(session, program_id=program_id)
    return [
        (rule, [version for version in versions if version.rule_id == rule.id])
        for rule in await queries.list_rules(session, program_id=program_id)
    ]


async def versions(session: AsyncSession, *, program_id: UUID) -> list[RuleVersion]:
    """Return every version of every rule, to choose from by instant."""
    rows = await queries.list_versions(session, program_id=program_id)
    return [queries.as_rule_version(row) for row in rows]


async def record(session: AsyncSession, *, program_id: UUID, awards: Sequence[tuple[UUID, Award, UUID | None]]) -> None:
    """Record what orders earned: (order, award, the entry that paid it, if it came to any points)."""
    await queries.insert_awards(session, program_id=program_id, awards=awards)


async def awards(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> list[models.OrderAward]:
    return await queries.list_awards(session, program_id=program_id, order_id=order_id)


def _check_span(active_from: datetime, active_until: datetime | None) -> None:
    if active_until is not None and active_until <= active_from:
        raise RuleEndsBeforeItBegins


async def _tell(session: AsyncSession, *, program_id: UUID, rule_id: UUID, what: str, now: datetime) -> None:
    event = Event(f"earning_rule.{what}", rule_id, occurred_at=now, recorded_at=now)
    await outbox.tell(session, program_id=program_id, events=[event])


async def recount(
    session: AsyncSession, *, program_id: UUID, order_id: UUID, currency: str, lines: Sequence[Line]
) -> list[Excess]:
    """Count an order again under the rule versions it was counted under, with other lines.

    Returns per rule how many points it still has above that count; a rule that owes nothing is left out.
    """
    given = await queries.list_awards(session, program_id=program_id, order_id=order_id)
    reversed_ = await queries.list_reversals(session, program_id=program_id, order_id=order_id)
    versions = await queries.list_rule_versions(session, program_id=program_id, awards=given)
    due = {award.rule.rule_id: award.points for award in count_order(versions, currency=currency, lines=lines)}
    return [
        Excess(award.rule_id, award.rule_version, award.unit, points)
        for award in given
        if (points := award.points - _gone(reversed_, award.rule_id) - due.get(award.rule_id, 0)) > 0
    ]


async def record_reversals(
    session: AsyncSession,
    *,
    program_id: UUID,
    order_id: UUID,
    return_id: UUID,
    reversals: Sequence[tuple[Excess, Reversal]],
) -> None:
    """Record what a return took back of each rule's points."""
    rows = [
        {
            "program_id": program_id,
            "return_id": return_id,
            "rule_id": excess.rule_id,
            "order_id": order_id,
            "points": excess.points,
            **asdict(reversal),
        }
        for excess, reversal in reversals
    ]
    await queries.insert_reversals(session, rows)


async def reversals(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> list[models.OrderAwardReversal]:
    """Return what the returns of an order took back."""
    return await queries.list_reversals(session, program_id=program_id, order_id=order_id)


def _gone(reversed_: Sequence[models.OrderAwardReversal], rule_id: UUID) -> int:
    return sum(row.points for row in reversed_ if row.rule_id == rule_id)
