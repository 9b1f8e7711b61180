"""Limits of rules to a member's period and to a budget: looked up under lock, used up, regained by what goes back."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.earning import limit_queries
from loyalty.earning.limit_queries import UsageKey
from loyalty.earning.rules import Allowance, RuleVersion
from loyalty.programs.policies import period_start

Occasion = tuple[UUID, date]
"""A member, and the local day on which they earn."""


@dataclass
class Tally:
    """How much rules with limits have given, and what is to be counted to that."""

    program_id: UUID
    used: Mapping[UsageKey, int] = field(default_factory=dict)
    spent: Mapping[UUID, int] = field(default_factory=dict)
    more_used: Counter[UsageKey] = field(default_factory=Counter)
    more_spent: Counter[UUID] = field(default_factory=Counter)

    def apart(self) -> "Tally":
        """Return the same, to be counted to by itself."""
        return Tally(self.program_id, self.used, self.spent)

    def allowances(self, rules: Iterable[RuleVersion], *, member_id: UUID, day: date) -> dict[UUID, Allowance]:
        """Return what rules with limits may still give a member on a local day."""
        found = {}
        for rule in rules:
            if not rule.terms.limits.span_orders:
                continue
            key, budget = _usage_key(rule, member_id, day), rule.terms.limits.budget
            per_member = rule.terms.limits.per_member
            of_member = None
            if per_member is not None and key is not None:
                of_member = max(0, per_member.points - self.used.get(key, 0) - self.more_used[key])
            of_budget = None
            if budget is not None:
                of_budget = max(0, budget - self.spent.get(rule.rule_id, 0) - self.more_spent[rule.rule_id])
            found[rule.rule_id] = Allowance(of_member, of_budget)
        return found

    def count(self, rules: Iterable[RuleVersion], *, member_id: UUID, day: date, points: Mapping[UUID, int]) -> None:
        """Count points, by rule, towards the limits; what goes back is negative."""
        for rule in rules:
            if rule.terms.limits.span_orders and (own := points.get(rule.rule_id)):
                if (key := _usage_key(rule, member_id, day)) is not None:
                    self.more_used[key] += own
                if rule.terms.limits.budget is not None:
                    self.more_spent[rule.rule_id] += own

    async def write(self, session: AsyncSession) -> None:
        await limit_queries.add_usage(session, self.more_used, program_id=self.program_id)
        await limit_queries.add_to_budgets(session, self.more_spent, program_id=self.program_id)


async def lock(
    session: AsyncSession, *, program_id: UUID, rules: Collection[RuleVersion], occasions: Iterable[Occasion]
) -> Tally:
    """Return how much rules have given, and hold it until the transaction ends.

    Comes after customers, orders and referrals are locked, and before wallets.
    """
    used = await limit_queries.lock_usage(session, usage_keys(rules, occasions), program_id=program_id)
    spent = await limit_queries.lock_budgets(session, with_budget(rules), program_id=program_id)
    return Tally(program_id, used, spent)


async def look(
    session: AsyncSession, *, program_id: UUID, rules: Collection[RuleVersion], occasions: Iterable[Occasion]
) -> Tally:
    """Return the same without holding anybody up, for who only asks."""
    used = await limit_queries.read_usage(session, usage_keys(rules, occasions), program_id=program_id)
    spent = await limit_queries.read_budgets(session, with_budget(rules), program_id=program_id)
    return Tally(program_id, used, spent)


async def hand_over(session: AsyncSession, *, program_id: UUID, giver: UUID, receiver: UUID) -> None:
    """Count what rules have given one member as given to another, too: two memberships are one person's."""
    await limit_queries.hand_over_usage(session, program_id=program_id, giver=giver, receiver=receiver)


def usage_keys(rules: Collection[RuleVersion], occasions: Iterable[Occasion]) -> set[UsageKey]:
    """Return under what is counted how much rules have given these members within the periods of these days."""
    keys = (_usage_key(rule, *occasion) for occasion in occasions for rule in rules)
    return {key for key in keys if key is not None}


def with_budget(rules: Iterable[RuleVersion]) -> set[UUID]:
    """Return which of these rules have a budget."""
    return {rule.rule_id for rule in rules if rule.terms.limits.budget is not None}


def _usage_key(rule: RuleVersion, member_id: UUID, day: date) -> UsageKey | None:
    limit = rule.terms.limits.per_member
    return None if limit is None else (rule.rule_id, member_id, str(limit.period), period_start(limit.period, day))
