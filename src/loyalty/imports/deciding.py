"""What each record of a batch causes, decided in memory from what was loaded for all of them at once."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from loyalty.activities import counting
from loyalty.activities.rules import Paid, signing_up
from loyalty.earning.evaluation import judge_order
from loyalty.earning.facts import Moment, Purchase
from loyalty.earning.limiting import Tally
from loyalty.earning.paying import pay
from loyalty.earning.rules import Award
from loyalty.earning.service import Count, RuleSet
from loyalty.imports.rules import Enrolment
from loyalty.members.rules import Standing
from loyalty.orders.rules import NewOrder
from loyalty.outbox.rules import Event
from loyalty.points.book import Book
from loyalty.points.rules import WalletKey
from loyalty.programs.rules import Program
from loyalty.referrals import rules as referral_rules
from loyalty.referrals.attributing import Binding
from loyalty.referrals.rewarding import Settlement
from loyalty.referrals.rules import Campaign, Claim, Method, Waiting, qualifies


@dataclass
class Known:
    """What the batch knows of the program, loaded once and kept up to date as records are applied."""

    program: Program
    customers: dict[str, UUID]
    standings: dict[UUID, Standing]
    joined: set[UUID]
    to_come: set[UUID]
    codes: dict[UUID, str]
    bought: set[UUID]
    waiting: dict[UUID, Waiting]
    numbers: dict[UUID, int]
    attributes: dict[UUID, dict[str, str]]
    rule_set: RuleSet
    tally: Tally
    campaign: Campaign | None


@dataclass
class Writes:
    """Rows that the batch decided on."""

    bindings: list[Binding] = field(default_factory=list)
    counts: list[tuple[Count, dict[UUID, UUID]]] = field(default_factory=list)
    activities: list[Paid] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    settlement: Settlement = field(default_factory=Settlement)


def enrol(known: Known, writes: Writes, book: Book, record: Enrolment) -> None:
    """Attribute a new member, and let signing up earn; the identity itself is written already."""
    member_id = known.customers[record.external_customer_id]
    if member_id not in known.joined:
        return
    known.to_come.discard(member_id)
    writes.events.append(
        Event("member.enrolled", member_id, occurred_at=record.at, recorded_at=record.at, member_id=member_id)
    )
    writes.activities.append(_sign_up(known, book, member_id, at=record.at))
    if record.referred_by is None:
        return
    binding = Binding.decide(
        [_claim(known, record)],
        campaign=known.campaign,
        referee_id=member_id,
        has_bought=member_id in known.bought,
        now=record.at,
    )
    writes.bindings.append(binding)
    if binding.waiting is not None:
        known.waiting[member_id] = binding.waiting


def _sign_up(known: Known, book: Book, member_id: UUID, *, at: datetime) -> Paid:
    judged = counting.judge(
        known.rule_set,
        signing_up(member_id, at=at),
        zone=known.program.rules.zone,
        attributes=known.attributes.get(member_id, {}),
        tally=known.tally,
    )
    book.catch_up(judged.wallets(known.program.id))
    return counting.pay(book, judged, program_id=known.program.id)


def _claim(known: Known, record: Enrolment) -> Claim:
    """An advocate whose own enrolment comes later in the batch is none yet, so that the graph stays a forest."""
    advocate_id = known.customers.get(record.referred_by or "")
    if advocate_id in known.to_come:
        return Claim(Method.IMPORT, None, channel=record.channel, refused="advocate_joined_later")
    standing = None if advocate_id is None else known.standings.get(advocate_id)
    claim = Claim(Method.IMPORT, None if advocate_id is None else known.codes.get(advocate_id), channel=record.channel)
    return claim if standing is None else referral_rules.with_advocate(claim, standing)


def count_order(known: Known, writes: Writes, book: Book, order: NewOrder) -> None:
    """Let an order earn, and complete a referral."""
    writes.events.append(
        Event(
            "order.recorded",
            order.id,
            occurred_at=order.placed_at,
            recorded_at=order.recorded_at,
            customer_id=order.customer_id,
        )
    )
    if order.customer_id is None:
        return
    known.numbers[order.customer_id] = known.numbers.get(order.customer_id, 0) + 1
    buyer = known.standings.get(order.customer_id)
    if buyer is not None and buyer.may_earn_at(order.placed_at):
        counted = _judge(known, order, buyer.id)
        paid = {own.rule.rule_id: _award(book, order, own, known.program.id) for own in counted.awards}
        writes.counts.append((counted, paid))
    _complete(known, writes, book, order)
    known.bought.add(order.customer_id)


def _judge(known: Known, order: NewOrder, member_id: UUID) -> Count:
    """Decide what an order earns, and count it to the limits of rules."""
    rules_ = known.rule_set.at(order.placed_at)
    local = order.placed_at.astimezone(known.program.rules.zone)
    moment = Moment(
        local,
        base=known.program.rules.earning_base,
        attributes=known.attributes.get(member_id, {}),
        order_number=known.numbers[member_id],
        allowed=known.tally.allowances(rules_, member_id=member_id, day=local.date()),
    )
    verdicts = judge_order(rules_, purchase=Purchase.of(order, order.lines), moment=moment)
    given = {own.rule.rule_id: own.points for own in verdicts if own.counts}
    known.tally.count(rules_, member_id=member_id, day=local.date(), points=given)
    return Count(order.id, order.placed_at, known.rule_set.number, rules_, moment, verdicts, known.tally)


def _award(book: Book, order: NewOrder, award: Award, program_id: UUID) -> UUID:
    if order.customer_id is None:
        raise AssertionError("only a member's order earns")
    key = WalletKey(program_id, order.customer_id, award.rule.terms.unit)
    book.catch_up([key])
    return pay(
        book,
        key,
        points=award.points,
        order_id=order.id,
        occurred_at=order.placed_at,
        paid_at=order.placed_at,
        delivered=True,
    )


def _complete(known: Known, writes: Writes, book: Book, order: NewOrder) -> None:
    """Let a first paid order complete the buyer's referral."""
    if order.customer_id is None or order.customer_id in known.bought:
        return
    waiting = known.waiting.get(order.customer_id)
    if waiting is None or not qualifies(
        waiting, placed_at=order.placed_at, currency=order.currency, total_minor=order.total_minor
    ):
        return
    sides = (waiting.advocate_id, waiting.referee_id)
    barred = [side for side in sides if not known.standings[side].may_earn_at(order.placed_at)]
    book.catch_up(waiting.wallets(known.program.id))
    writes.settlement.reward(
        book, waiting, program_id=known.program.id, order_id=order.id, at=order.placed_at, barred=barred
    )
