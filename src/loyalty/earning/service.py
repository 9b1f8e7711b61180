from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.earning import models, queries
from loyalty.earning.evaluation import Judge, Verdict
from loyalty.earning.facts import Moment, Purchase, read_facts, write_facts
from loyalty.earning.limiting import Tally
from loyalty.earning.rules import Award, Given, RuleVersion, in_force
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
            }
            for count, _ in counts
        ],
    )
    awards = [(count.order_id, award, paid.get(award.rule.rule_id)) for count, paid in counts for award in count.awards]
    await queries.insert_awards(session, program_id=program_id, awards=awards)


async def awards(
    session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]
) -> defaultdict[UUID, list[models.OrderAward]]:
    """Return what rules gave each of these orders when it was counted."""
    found: defaultdict[UUID, list[models.OrderAward]] = defaultdict(list)
    for row in await queries.list_awards(session, program_id=program_id, order_ids=order_ids):
        found[row.order_id].append(row)
    return found


async def paid_by(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> set[UUID]:
    """Return the entries that gave an order its points, when it was counted and since."""
    first = await queries.list_awards(session, program_id=program_id, order_ids=[order_id])
    since = await added(session, program_id=program_id, order_ids=[order_id])
    return since | {row.entry_id for row in first if row.entry_id is not None}


async def added(session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]) -> set[UUID]:
    """Return the entries that returns and amendments of these orders gave."""
    rows = await queries.list_additions(session, program_id=program_id, order_ids=order_ids)
    return {row.entry_id for row in rows if row.entry_id is not None}


async def counts(
    session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]
) -> dict[UUID, models.OrderCount]:
    """Return by what these orders were counted; those that could earn nothing are left out."""
    return await queries.list_counts(session, program_id=program_id, order_ids=order_ids)


async def given(
    session: AsyncSession, *, program_id: UUID, order_ids: Collection[UUID]
) -> defaultdict[UUID, list[Given]]:
    """Return what rules gave these orders when they were counted, whatever went back since."""
    found: defaultdict[UUID, list[Given]] = defaultdict(list)
    for order_id, own in await queries.list_given(session, program_id=program_id, order_ids=order_ids):
        found[order_id].append(own)
    return found


async def count_of(
    session: AsyncSession,
    *,
    program_id: UUID,
    order_id: UUID,
    given: Sequence[models.OrderAward],
    zone: ZoneInfo,
) -> tuple[Judge, Moment] | None:
    """Return the rules and the moment that an order was counted by; None for one that could earn nothing.

    Orders of a release that did not record this are counted by the rules that gave them points.
    """
    row = (await counts(session, program_id=program_id, order_ids=[order_id])).get(order_id)
    return await _counted_by(session, row, program_id=program_id, given=given, zone=zone)


async def _counted_by(
    session: AsyncSession,
    row: models.OrderCount | None,
    *,
    program_id: UUID,
    given: Sequence[models.OrderAward],
    zone: ZoneInfo,
) -> tuple[Judge, Moment] | None:
    if row is not None:
        known = await rule_set(session, program_id=program_id, until=row.rule_set)
        return known.judge_at(row.counted_at), read_facts(row.facts, local=row.counted_at.astimezone(zone))
    if not given:
        return None
    rules = await queries.list_rule_versions(session, program_id=program_id, awards=given)
    return Judge(rules), Moment(max(rule.active_from for rule in rules).astimezone(zone))


async def traces(
    session: AsyncSession,
    *,
    program_id: UUID,
    purchases: Mapping[UUID, Purchase],
    given: Mapping[UUID, Sequence[models.OrderAward]],
    zone: ZoneInfo,
) -> dict[UUID, list[Verdict]]:
    """Tell what each rule said of orders when they were counted, and why; empty where nothing could be earned."""
    rows = await counts(session, program_id=program_id, order_ids=list(purchases))
    found = {}
    for order_id, purchase in purchases.items():
        row, own = rows.get(order_id), given.get(order_id, ())
        known = await _counted_by(session, row, program_id=program_id, given=own, zone=zone)
        found[order_id] = [] if known is None else known[0].judge(purchase=purchase, moment=known[1])
    return found
