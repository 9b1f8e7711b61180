"""An order counted again by what it was counted by, once its lines are others."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from enum import Enum, auto
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import at_once
from loyalty.earning import limiting, models, queries, service
from loyalty.earning.evaluation import Judge
from loyalty.earning.facts import Moment, Purchase
from loyalty.earning.limiting import Tally
from loyalty.earning.rules import Allowance, Excess, Given, Lack, PaidAward, RuleVersion, compare
from loyalty.points.postings import Reversal


@dataclass(frozen=True)
class Changed:
    """What earlier returns and amendments of an order did to what its rules had given, by (return, rule)."""

    reversals: list[models.OrderAwardReversal]
    additions: list[models.OrderAwardAddition]

    def of_rule(self, rule_id: UUID, *, until: Collection[UUID] | None = None) -> int:
        """Return how much more a rule has given, negative for less; by the changes named, or by all."""
        signed = [(row, row.points) for row in self.additions] + [(row, -row.points) for row in self.reversals]
        return sum(points for row, points in signed if row.rule_id == rule_id and _among(row.return_id, until))

    @property
    def let_go(self) -> Counter[UUID]:
        """What of each rule's points went back and was not taken."""
        found: Counter[UUID] = Counter()
        for row in self.reversals:
            found[row.rule_id] += row.points - _taken(row)
        for added in self.additions:
            found[added.rule_id] -= added.points - added.paid
        return found


@dataclass(frozen=True)
class Counted:
    """By what an order was counted, what that gave, and what its returns and amendments did to that."""

    judge: Judge
    moment: Moment
    awards: list[PaidAward]
    changed: Changed

    @property
    def paid_by(self) -> set[UUID]:
        """The entries that gave the order its points, when it was counted and since."""
        entry_ids = [own.entry_id for own in self.awards] + [own.entry_id for own in self.changed.additions]
        return {own for own in entry_ids if own is not None}


class Growth(Enum):
    """To what an order's points may come by a change of its lines: to anything, to what they are, or once were."""

    FREE = auto()
    NONE = auto()
    UP_TO_LAST_AMENDMENT = auto()


@dataclass(frozen=True)
class Recount:
    """What a change of an order's lines makes of its points, and the limits, locked, that count it.

    `let_go` is what of each rule's points went back before and was not taken.
    """

    excess: list[Excess] = field(default_factory=list)
    lacks: list[Lack] = field(default_factory=list)
    let_go: Mapping[UUID, int] = field(default_factory=dict)
    rules: list[RuleVersion] = field(default_factory=list)
    tally: Tally | None = None
    buyer: UUID | None = None
    day: date = date.min


async def look(session: AsyncSession, *, program_id: UUID, order_id: UUID, zone: ZoneInfo) -> Counted | None:
    """Return by what an order was counted and what that has given; None for one that could earn nothing."""
    counts, changed = await at_once(
        session,
        service.counts(session, program_id=program_id, order_ids=[order_id]),
        changes(session, program_id=program_id, order_id=order_id),
    )
    row = counts.get(order_id)
    if row is None:
        return None
    judge, moment = await service.counted_by(session, row, program_id=program_id, zone=zone)
    return Counted(judge, moment, service.awards_of(row), changed)


async def recount(
    session: AsyncSession,
    counted: Counted,
    *,
    program_id: UUID,
    buyer: UUID,
    purchase: Purchase,
    earlier: Sequence[tuple[UUID, bool]],
    growth: Growth,
) -> Recount:
    """Count an order again by what it was counted by, with other lines.

    `earlier` are its returns and amendments so far, in order, each with whether it was an amendment. Locks limits, and
    so comes before wallets.
    """
    judge, moment, changed = counted.judge, counted.moment, counted.changed
    rules = judge.rules
    first = {own.rule_id: own.points for own in counted.awards}
    given = [
        Given(rule.rule_id, rule.version, rule.terms.unit, first.get(rule.rule_id, 0) + changed.of_rule(rule.rule_id))
        for rule in rules
        if rule.terms.activity is None
    ]
    day = moment.local.date()
    tally = await limiting.lock(session, program_id=program_id, rules=rules, occasions=[(buyer, day)])
    verdicts = judge.judge(purchase=purchase, moment=moment)
    excess, lacks = compare(
        given,
        due={own.rule.rule_id: own.points for own in verdicts if own.counts},
        most=_most(given, first, changed, earlier, growth),
        let_go=_by_unit(given, changed.let_go),
    )
    free = tally.allowances(rules, member_id=buyer, day=day)
    return Recount(excess, _within(lacks, free), changed.let_go, rules, tally, buyer, day)


async def changes(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> Changed:
    """Return what returns and amendments of an order did to its points."""
    reversals, additions = await at_once(
        session,
        queries.list_reversals(session, program_id=program_id, order_id=order_id),
        queries.list_additions(session, program_id=program_id, order_ids=[order_id]),
    )
    return Changed(reversals, additions)


async def record(
    session: AsyncSession,
    counted: Recount,
    *,
    program_id: UUID,
    order_id: UUID,
    return_id: UUID,
    reversals: Sequence[tuple[Excess, Reversal]],
    paid: Mapping[UUID, UUID],
) -> None:
    """Record what a change took back of each rule's points, and what it gave, with the entries that `paid` it.

    Limits regain just what was taken, and not what was let go. Where this is made up for by what another rule gives, it
    becomes that rule's.
    """
    if counted.tally is None or counted.buyer is None:
        return
    points = Counter({own.rule_id: own.points for own in counted.lacks})
    points.subtract(_made_up(counted))
    points.subtract(
        {
            own.rule_id: reversal.pending + reversal.taken + reversal.lapsed + reversal.owed
            for own, reversal in reversals
        }
    )
    counted.tally.count(counted.rules, member_id=counted.buyer, day=counted.day, points=points)
    await counted.tally.write(session)
    there = {"program_id": program_id, "return_id": return_id, "order_id": order_id}
    await queries.insert_reversals(
        session,
        [there | {"rule_id": own.rule_id, "points": own.points} | asdict(reversal) for own, reversal in reversals],
    )
    await queries.insert_additions(
        session,
        [
            there
            | {
                "rule_id": own.rule_id,
                "rule_version": own.rule_version,
                "unit": own.unit,
                "points": own.points,
                "paid": own.anew,
                "entry_id": paid.get(own.rule_id),
            }
            for own in counted.lacks
        ],
    )


def _within(lacks: Sequence[Lack], free: Mapping[UUID, Allowance]) -> list[Lack]:
    """Give no more than limits still leave: others may have used them since the order."""
    found = []
    for own in lacks:
        left = free.get(own.rule_id, Allowance())
        points = min([own.points, *(most for most in (left.member, left.budget) if most is not None)])
        found.append(replace(own, points=points, anew=max(0, points - (own.points - own.anew))))
    return [own for own in found if own.points]


def _made_up(counted: Recount) -> Counter[UUID]:
    """Return, by rule, how much of what was let go is made up for now."""
    units = {rule.rule_id: rule.terms.unit for rule in counted.rules}
    found: Counter[UUID] = Counter()
    for lack in counted.lacks:
        rest = lack.points - lack.anew
        for rule_id, points in sorted(counted.let_go.items()):
            if units.get(rule_id) == lack.unit:
                part = max(0, min(rest, points - found[rule_id]))
                found[rule_id] += part
                rest -= part
    return found


def _most(
    given: Sequence[Given],
    first: Mapping[UUID, int],
    changed: Changed,
    earlier: Sequence[tuple[UUID, bool]],
    growth: Growth,
) -> dict[str, int] | None:
    """Return what each unit's points may come to: what they are, or were after the last amendment or when placed."""
    if growth is Growth.FREE:
        return None
    if growth is Growth.NONE:
        return _by_unit(given, {own.rule_id: own.points for own in given})
    last = max((place for place, (_, is_amendment) in enumerate(earlier, start=1) if is_amendment), default=0)
    until = {return_id for return_id, _ in earlier[:last]}
    found: Counter[str] = Counter()
    for own in given:
        found[own.unit] += first.get(own.rule_id, 0) + changed.of_rule(own.rule_id, until=until)
    return found


def _by_unit(given: Sequence[Given], points: Mapping[UUID, int]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for own in given:
        found[own.unit] += points.get(own.rule_id, 0)
    return found


def _taken(row: models.OrderAwardReversal) -> int:
    return row.pending + row.taken + row.lapsed + row.owed


def _among(return_id: UUID, until: Collection[UUID] | None) -> bool:
    return until is None or return_id in until
