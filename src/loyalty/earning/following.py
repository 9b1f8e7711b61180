"""Rules brought to say from now on what somebody wishes them to say, by new versions, activated drafts and ends."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.earning import authoring, queries
from loyalty.earning.authoring import Rule
from loyalty.earning.definitions import read_terms
from loyalty.earning.errors import RuleVersionInTheWay
from loyalty.earning.outlook import Outlook, Step, outlook
from loyalty.earning.terms import Terms


@dataclass(frozen=True)
class Known:
    """A rule, and what it says from now on; nothing, if it is over."""

    rule_id: UUID
    name: str
    outlook: Outlook


async def listing(session: AsyncSession, *, program_id: UUID, now: datetime) -> list[Known]:
    """Return every rule, the oldest first."""
    rules = await authoring.listing(session, program_id=program_id)
    return [Known(rule.rule.id, rule.rule.name, _outlook(rule, now=now)) for rule in rules]


async def start(
    session: AsyncSession, *, program_id: UUID, name: str, wished: Outlook, actor: str, now: datetime
) -> None:
    """Create a rule that says this; what is in force may have begun in the past. Locks the program."""
    first = wished.steps[0] if wished.steps else None
    rule = await authoring.create(
        session,
        program_id=program_id,
        name=name,
        terms=first.terms if first else wished.drafts[0],
        active_from=first.active_from if first else None,
        active_until=first.active_until if first else None,
        actor=actor,
        now=now,
    )
    await follow(session, program_id=program_id, rule_id=rule.rule.id, wished=wished, actor=actor, now=now)


async def follow(
    session: AsyncSession, *, program_id: UUID, rule_id: UUID, wished: Outlook, actor: str, now: datetime
) -> None:
    """Let a rule say this from now on; its drafts stay, but for the newest, where just that is to begin.

    Locks the program. Raises EarningRuleNotFound, RuleVersionExists, RuleVersionInTheWay.
    """
    there = _outlook(await authoring.get(session, program_id=program_id, rule_id=rule_id), now=now)
    if there.current(now=now) is not None and wished.current(now=now) is None:
        await authoring.retire(session, program_id=program_id, rule_id=rule_id, at=now, actor=actor, now=now)
    ready = [draft for draft in there.drafts[-1:] if draft not in wished.drafts]
    for step in wished.steps:
        if step in there.steps:
            continue
        if step.terms in ready:
            await authoring.activate(
                session,
                program_id=program_id,
                rule_id=rule_id,
                active_from=step.active_from,
                active_until=step.active_until,
                actor=actor,
                now=now,
            )
            ready = []
        else:
            await _add(session, step.terms, program_id=program_id, rule_id=rule_id, step=step, actor=actor, now=now)
    for draft in wished.drafts:
        if draft not in there.drafts:
            await _add(session, draft, program_id=program_id, rule_id=rule_id, step=None, actor=actor, now=now)
    came = _outlook(await authoring.get(session, program_id=program_id, rule_id=rule_id), now=now)
    if came.steps != wished.steps:
        raise RuleVersionInTheWay


async def _add(
    session: AsyncSession,
    terms: Terms,
    *,
    program_id: UUID,
    rule_id: UUID,
    step: Step | None,
    actor: str,
    now: datetime,
) -> None:
    await authoring.change(
        session,
        program_id=program_id,
        rule_id=rule_id,
        terms=terms,
        active_from=step.active_from if step else None,
        active_until=step.active_until if step else None,
        actor=actor,
        now=now,
    )


def _outlook(rule: Rule, *, now: datetime) -> Outlook:
    known = [version for row in rule.versions if (version := queries.as_rule_version(row)) is not None]
    drafts = [read_terms(row.kind, row.definition) for row in rule.versions if row.active_from is None]
    return outlook(known, drafts, now=now)
