from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.earning import limiting, models, queries
from loyalty.earning.evaluation import Verdict, judge_order
from loyalty.earning.facts import Moment, Purchase, read_facts, write_facts
from loyalty.earning.limiting import Tally
from loyalty.earning.rules import Award, Excess, Given, RuleVersion, find_excess, in_force
from loyalty.members import service as members
from loyalty.points.postings import Reversal


@dataclass(frozen=True)
class RuleSet:
    """All versions of all rules up to the `number`-th, to choose from by instant and by what they count."""

    number: int
    versions: list[RuleVersion]

    def at(self, instant: datetime, *, activity: str | None = None) -> list[RuleVersion]:
        """Return the rules in force at an instant: those for orders, or for an activity."""
        return [rule for rule in in_force(self.versions, at=instant) if rule.terms.activity == activity]


@dataclass(frozen=True)
class Count:
    """How an order is counted: when, under which rules, by which facts, and what each rule said.

    `tally` has what it uses up of the rules' limits.
    """

    order_id: UUID
    counted_at: datetime
    rule_set: int
    rules: list[RuleVersion]
    moment: Moment
    verdicts: list[Verdict]
    tally: Tally

    @property
    def awards(self) -> list[Award]:
        return [own.award() for own in self.verdicts if own.counts]


@dataclass(frozen=True)
class Regained:
    """What limits an order's rules, locked, to be given back what its return takes."""

    tally: Tally
    rules: list[RuleVersion]
    member_id: UUID
    day: date


async def rule_set(session: AsyncSession, *, program_id: UUID, until: int | None = None) -> RuleSet:
    """Return every version of every rule that is no draft; those until the one of a number, where that is given."""
    rows = await queries.list_versions(session, program_id=program_id)
    # A draft's number is given again when it begins, so it is not yet one that anything was counted under.
    rows = [row for row in rows if row.active_from is not None and (until is None or row.number <= until)]
    versions = [version for row in rows if (version := queries.as_rule_version(row)) is not None]
    return RuleSet(max((row.number for row in rows), default=0), versions)


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
                "facts": write_facts(count.rules, count.moment),
            }
            for count, _ in counts
        ],
    )
    awards = [(count.order_id, award, paid.get(award.rule.rule_id)) for count, paid in counts for award in count.awards]
    await queries.insert_awards(session, program_id=program_id, awards=awards)


async def awards(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> list[models.OrderAward]:
    return await queries.list_awards(session, program_id=program_id, order_id=order_id)


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


async def _count_of(
    session: AsyncSession,
    *,
    program_id: UUID,
    order_id: UUID,
    given: Sequence[models.OrderAward],
    zone: ZoneInfo,
) -> tuple[list[RuleVersion], Moment] | None:
    """Return the rules and the moment that an order was counted by; None for one that could earn nothing.

    Orders of a release that did not record this are counted by the rules that gave them points.
    """
    row = await queries.find_count(session, program_id=program_id, order_id=order_id)
    if row is not None:
        known = await rule_set(session, program_id=program_id, until=row.rule_set)
        return known.at(row.counted_at), read_facts(row.facts, local=row.counted_at.astimezone(zone))
    if not given:
        return None
    rules = await queries.list_rule_versions(session, program_id=program_id, awards=given)
    return rules, Moment(max(rule.active_from for rule in rules).astimezone(zone))


async def recount(
    session: AsyncSession, *, program_id: UUID, order_id: UUID, buyer: UUID, purchase: Purchase, zone: ZoneInfo
) -> tuple[list[Excess], Regained]:
    """Count an order again by what it was counted by, with other lines.

    Returns per rule how many points it still has above that count; a rule that owes nothing is left out. With it comes
    what its limits are to regain once points are taken back. Locks limits, and so comes before wallets.
    """
    given = await queries.list_awards(session, program_id=program_id, order_id=order_id)
    reversed_ = await queries.list_reversals(session, program_id=program_id, order_id=order_id)
    known = await _count_of(session, program_id=program_id, order_id=order_id, given=given, zone=zone)
    if known is None:
        return [], Regained(Tally(program_id), [], buyer, date.min)
    rules, moment = known
    day = moment.local.date()
    tally = await limiting.lock(session, program_id=program_id, rules=rules, occasions=[(buyer, day)])
    verdicts = judge_order(rules, purchase=purchase, moment=moment)
    excess = find_excess(
        [Given(row.rule_id, row.rule_version, row.unit, row.points - _gone(reversed_, row.rule_id)) for row in given],
        due={(own.rule.rule_id, own.rule.terms.unit): own.points for own in verdicts if own.counts},
    )
    return excess, Regained(tally, rules, buyer, day)


async def trace(
    session: AsyncSession, *, program_id: UUID, order_id: UUID, purchase: Purchase, zone: ZoneInfo
) -> list[Verdict]:
    """Tell what each rule said of an order when it was counted, and why; empty where nothing could be earned."""
    given = await queries.list_awards(session, program_id=program_id, order_id=order_id)
    known = await _count_of(session, program_id=program_id, order_id=order_id, given=given, zone=zone)
    return [] if known is None else judge_order(known[0], purchase=purchase, moment=known[1])


async def record_reversals(
    session: AsyncSession,
    *,
    program_id: UUID,
    order_id: UUID,
    return_id: UUID,
    reversals: Sequence[tuple[Excess, Reversal]],
    regained: Regained,
) -> None:
    """Record what a return took back of each rule's points; limits regain just that, and not what was let go."""
    back = {excess.rule_id: -(own.pending + own.taken + own.lapsed + own.owed) for excess, own in reversals}
    regained.tally.count(regained.rules, member_id=regained.member_id, day=regained.day, points=back)
    await regained.tally.write(session)
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
