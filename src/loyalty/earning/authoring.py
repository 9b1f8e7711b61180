"""A rule's life: drafted, in force, changed, retired; every step is a version that stays."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids
from loyalty.earning import models, queries
from loyalty.earning.definitions import read_terms
from loyalty.earning.errors import (
    EarningRuleHasNoDraft,
    EarningRuleNotInForce,
    RuleBeginsInThePast,
    RuleEndsBeforeItBegins,
    RuleVersionExists,
)
from loyalty.earning.rules import in_force
from loyalty.earning.terms import Terms
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.programs import service as programs


@dataclass(frozen=True)
class Rule:
    """A rule with its versions, oldest first."""

    rule: models.EarningRule
    versions: list[models.EarningRuleVersion]

    @property
    def newest_draft(self) -> models.EarningRuleVersion | None:
        return next((row for row in reversed(self.versions) if row.active_from is None), None)

    def in_force(self, *, at: datetime) -> models.EarningRuleVersion | None:
        known = [version for row in self.versions if (version := queries.as_rule_version(row)) is not None]
        last = {version.version for version in in_force(known, at=at)}
        return next((row for row in self.versions if row.version in last), None)


async def create(
    session: AsyncSession,
    *,
    program_id: UUID,
    name: str,
    terms: Terms,
    active_from: datetime | None,
    active_until: datetime | None,
    actor: str,
    now: datetime,
) -> Rule:
    """Create a rule with its first version, a draft without `active_from`; it may have begun in the past.

    Nothing was counted under the rule yet. Locks the program.
    """
    _check_span(active_from, active_until)
    await programs.lock(session, program_id=program_id)
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
    return await get(session, program_id=program_id, rule_id=rule_id)


async def change(
    session: AsyncSession,
    *,
    program_id: UUID,
    rule_id: UUID,
    terms: Terms,
    active_from: datetime | None,
    active_until: datetime | None,
    actor: str,
    now: datetime,
) -> Rule:
    """Add a version that takes over at `active_from`, now or later; a draft without it. Locks the program."""
    if active_from is not None and active_from < now:
        raise RuleBeginsInThePast
    _check_span(active_from, active_until)
    await programs.lock(session, program_id=program_id)
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
    return await get(session, program_id=program_id, rule_id=rule_id)


async def listing(session: AsyncSession, *, program_id: UUID) -> list[Rule]:
    """Return every rule with all its versions."""
    versions = await queries.list_versions(session, program_id=program_id)
    return [
        Rule(rule, [version for version in versions if version.rule_id == rule.id])
        for rule in await queries.list_rules(session, program_id=program_id)
    ]


async def activate(
    session: AsyncSession,
    *,
    program_id: UUID,
    rule_id: UUID,
    active_from: datetime,
    active_until: datetime | None,
    actor: str,
    now: datetime,
) -> Rule:
    """Let a rule's newest draft hold from now or later on, as a version of its own; the draft is gone then.

    Locks the program. Raises EarningRuleNotFound, EarningRuleHasNoDraft, RuleVersionExists.
    """
    await programs.lock(session, program_id=program_id)
    rule = await get(session, program_id=program_id, rule_id=rule_id)
    draft = rule.newest_draft
    if draft is None:
        raise EarningRuleHasNoDraft
    await queries.delete_version(session, program_id=program_id, rule_id=rule_id, version=draft.version)
    return await change(
        session,
        program_id=program_id,
        rule_id=rule_id,
        terms=read_terms(draft.kind, draft.definition),
        active_from=active_from,
        active_until=active_until,
        actor=actor,
        now=now,
    )


async def retire(
    session: AsyncSession, *, program_id: UUID, rule_id: UUID, at: datetime, actor: str, now: datetime
) -> Rule:
    """End a rule now or later, whatever version is in force then; what was counted before stays as it was counted.

    Locks the program. Raises EarningRuleNotFound, EarningRuleNotInForce, RuleVersionExists.
    """
    if at < now:
        raise RuleBeginsInThePast
    await programs.lock(session, program_id=program_id)
    rule = await get(session, program_id=program_id, rule_id=rule_id)
    last = rule.in_force(at=at)
    if last is None:
        raise EarningRuleNotInForce
    added = await queries.append_version(
        session,
        program_id=program_id,
        rule_id=rule_id,
        version=rule.versions[-1].version + 1,
        terms=read_terms(last.kind, last.definition),
        actor=actor,
        active_from=at,
        active_until=None,
        now=now,
        ends=True,
    )
    if not added:
        raise RuleVersionExists
    await _tell(session, program_id=program_id, rule_id=rule_id, what="retired", now=now)
    return await get(session, program_id=program_id, rule_id=rule_id)


async def get(session: AsyncSession, *, program_id: UUID, rule_id: UUID) -> Rule:
    """Return a rule with all its versions; raises EarningRuleNotFound."""
    row = await queries.get_rule(session, program_id=program_id, rule_id=rule_id)
    return Rule(row, await queries.list_versions_of(session, program_id=program_id, rule_id=rule_id))


def _check_span(active_from: datetime | None, active_until: datetime | None) -> None:
    if active_until is not None and (active_from is None or active_until <= active_from):
        raise RuleEndsBeforeItBegins


async def _tell(session: AsyncSession, *, program_id: UUID, rule_id: UUID, what: str, now: datetime) -> None:
    event = Event(f"earning_rule.{what}", rule_id, occurred_at=now, recorded_at=now)
    await outbox.tell(session, program_id=program_id, events=[event])
