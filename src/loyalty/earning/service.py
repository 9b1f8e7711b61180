from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.earning import models, queries
from loyalty.earning.evaluation import Judge
from loyalty.earning.facts import Moment, Purchase, read_award, read_facts, write_award, write_facts
from loyalty.earning.limiting import Tally
from loyalty.earning.rules import Award, PaidAward, RuleVersion, in_force
from loyalty.earning.verdicts import Verdict
from loyalty.members import service as members

_MOST_RULE_SETS: Final = 1_000
_NOBODY: Final = Judge(())
_RULE_SETS: Final[dict[tuple[UUID, int], "RuleSet"]] = {}


@dataclass(frozen=True)
class RuleSet:
    """All versions of all rules up to the `number`-th, to choose from by instant and by what they count."""

    number: int
    versions: list[RuleVersion]

    @cached_property
    def _turns(self) -> list[datetime]:
        """The instants at which a version begins or ends; between two of them the same rules are in force."""
        begins = {own.active_from for own in self.versions}
        return sorted(begins | {own.active_until for own in self.versions if own.active_until is not None})

    @cached_property
    def _counted(self) -> set[str | None]:
        """What any version counts: orders, and types of activities."""
        return {own.terms.activity for own in self.versions}

    @cached_property
    def count_orders(self) -> bool:
        """Whether any version asks which of a customer's orders one is."""
        return any(own.terms.conditions.count_orders for own in self.versions)

    @cached_property
    def ask_attributes(self) -> bool:
        return any(own.terms.conditions.attributes for own in self.versions)

    @cached_property
    def _found(self) -> dict[tuple[int, str | None], Judge]:
        return {}

    def judge_at(self, instant: datetime, *, activity: str | None = None) -> Judge:
        """Return the rules in force at an instant, ready to judge: those for orders, or for an activity."""
        if activity not in self._counted:
            return _NOBODY  # callers name types as they like, and not each is to be kept
        asked = (bisect_right(self._turns, instant), activity)
        found = self._found.get(asked)
        if found is None:
            rules = [rule for rule in in_force(self.versions, at=instant) if rule.terms.activity == activity]
            found = self._found[asked] = Judge(rules)
        return found

    def at(self, instant: datetime, *, activity: str | None = None) -> list[RuleVersion]:
        """Return the rules in force at an instant: those for orders, or for an activity."""
        return self.judge_at(instant, activity=activity).rules


@dataclass(frozen=True)
class Count:
    """How an order is counted: when, under which rules, by which facts, and what each rule said.

    `tally` has what it uses up of the rules' limits.
    """

    order_id: UUID
    counted_at: datetime
    rule_set: int
    judge: Judge
    moment: Moment
    verdicts: list[Verdict]
    tally: Tally

    @cached_property
    def awards(self) -> list[Award]:
        return [own.award() for own in self.verdicts if own.counts]


async def rule_set(session: AsyncSession, *, program_id: UUID, until: int | None = None) -> RuleSet:
    """Return every version of every rule that is no draft; those until the one of a number, where that is given.

    What has a number never changes, so it is read once; what this very transaction has changed may yet be undone.
    """
    number = until if until is not None else await queries.newest_number(session, program_id=program_id)
    settled = not queries.has_appended(session)
    if settled and (known := _RULE_SETS.get((program_id, number))) is not None:
        return known
    rows = await queries.list_versions(session, program_id=program_id)
    # A draft's number is given again when it begins, so it is not yet one that anything was counted under.
    versions = [own for row in rows if row.number <= number and (own := queries.as_rule_version(row)) is not None]
    found = RuleSet(number, versions)
    if settled:
        if len(_RULE_SETS) >= _MOST_RULE_SETS:
            _RULE_SETS.clear()
        _RULE_SETS[program_id, number] = found
    return found


async def attributes(
    session: AsyncSession, *, program_id: UUID, member_id: UUID, rules: Iterable[RuleVersion]
) -> dict[str, str]:
    """Look up a member's attributes, if any of these rules asks for them."""
    if not any(rule.terms.conditions.attributes for rule in rules):
        return {}
    found = await members.attributes(session, program_id=program_id, member_ids=[member_id])
    return found.get(member_id, {})


async def record(session: AsyncSession, *, program_id: UUID, counts: Sequence[tuple[Count, dict[UUID, UUID]]]) -> None:
    """Record how orders were counted, and what they earned with the entries that paid it, by rule."""
    await queries.insert_counts(
        session,
        [
            {
                "program_id": program_id,
                "order_id": count.order_id,
                "counted_at": count.counted_at,
                "rule_set": count.rule_set,
                "facts": write_facts(count.judge.asking, count.moment),
                "awards": [write_award(award, paid.get(award.rule.rule_id)) for award in count.awards],
            }
            for count, paid in counts
        ],
    )


async def added(session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]) -> set[UUID]:
    """Return the entries that returns and amendments of these orders gave."""
    rows = await queries.list_additions(session, program_id=program_id, order_ids=order_ids)
    return {row.entry_id for row in rows if row.entry_id is not None}


async def counts(
    session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]
) -> dict[UUID, models.OrderCount]:
    """Return by what these orders were counted; those that could earn nothing are left out."""
    return await queries.list_counts(session, program_id=program_id, order_ids=order_ids)


def awards_of(row: models.OrderCount | None) -> list[PaidAward]:
    """Return what rules gave an order when it was counted, in order of their ids; nothing where it could earn none."""
    found = [] if row is None else [read_award(own) for own in row.awards]
    return sorted(found, key=lambda own: own.rule_id)


async def counted_by(
    session: AsyncSession, row: models.OrderCount, *, program_id: UUID, zone: ZoneInfo
) -> tuple[Judge, Moment]:
    """Return the rules and the moment that an order was counted by."""
    if row.rule_set is not None:
        known = await rule_set(session, program_id=program_id, until=row.rule_set)
        return known.judge_at(row.counted_at), read_facts(row.facts, local=row.counted_at.astimezone(zone))
    rules = await queries.list_rule_versions(session, program_id=program_id, awards=awards_of(row))
    return Judge(rules), Moment(max(rule.active_from for rule in rules).astimezone(zone))


async def trace(
    session: AsyncSession, row: models.OrderCount | None, *, program_id: UUID, purchase: Purchase, zone: ZoneInfo
) -> list[Verdict]:
    """Tell what each rule said of an order when it was counted, and why; empty where nothing could be earned."""
    if row is None:
        return []
    judge, moment = await counted_by(session, row, program_id=program_id, zone=zone)
    return judge.judge(purchase=purchase, moment=moment)
