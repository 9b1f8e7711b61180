from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.activities import counting
from loyalty.activities import service as activities
from loyalty.activities.rules import SIGNED_UP, Paid, signing_up
from loyalty.core import ids
from loyalty.core.errors import Fault
from loyalty.earning import limiting
from loyalty.earning import service as earning
from loyalty.earning.evaluation import Moment, Purchase, judge_order
from loyalty.earning.limiting import Tally
from loyalty.earning.rules import Award
from loyalty.earning.service import Count, RuleSet
from loyalty.imports import rules
from loyalty.imports.errors import ImportRefused
from loyalty.imports.rules import Enrolment, Order, Record
from loyalty.members import merging
from loyalty.members import service as members
from loyalty.members.rules import Standing
from loyalty.orders import service as orders
from loyalty.orders.rules import NewOrder, Recorded, digest_content
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.points import service as points
from loyalty.points.book import Book
from loyalty.points.rules import EntryKind, Source, SourceKind, WalletKey
from loyalty.programs.rules import Program
from loyalty.referrals import attributing, rewarding
from loyalty.referrals import rules as referral_rules
from loyalty.referrals import service as referrals
from loyalty.referrals.attributing import Binding
from loyalty.referrals.rewarding import Settlement
from loyalty.referrals.rules import Campaign, Claim, Method, Waiting, qualifies


@dataclass(frozen=True)
class Result:
    """What a batch came to; `skipped` records were there already."""

    orders: int
    enrolments: int
    referrals: int
    skipped: int

    def __add__(self, other: "Result") -> "Result":
        return Result(
            self.orders + other.orders,
            self.enrolments + other.enrolments,
            self.referrals + other.referrals,
            self.skipped + other.skipped,
        )


@dataclass
class _Known:
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
class _Writes:
    """Rows that the batch decided on."""

    bindings: list[Binding] = field(default_factory=list)
    counts: list[tuple[Count, dict[UUID, UUID]]] = field(default_factory=list)
    activities: list[Paid] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    settlement: Settlement = field(default_factory=Settlement)


async def apply(session: AsyncSession, *, program: Program, records: Sequence[Record], now: datetime) -> Result:
    """Import one batch: load what its decisions need, decide record by record in memory, write in sets.

    Facts keep their own time, as occurred and as recorded. Raises ImportRefused with every fault of the batch.
    """
    recorded = await _recorded(session, program_id=program.id, records=records)
    fresh = [record for record in records if isinstance(record, Enrolment) or record.external_id not in recorded]
    customers, joined = await _identify(session, program_id=program.id, records=records)
    placed = {record.external_id: _new_order(record, customers) for record in records if isinstance(record, Order)}
    faults = rules.find_faults(records, currencies=program.rules.currencies, now=now)
    _refuse(faults + rules.find_differing(records, recorded=recorded, placed=placed))
    placed = {external_id: order for external_id, order in placed.items() if external_id not in recorded}
    await orders.record_many(session, program_id=program.id, orders=list(placed.values()))
    known = await _know(session, program=program, customers=customers, joined=joined, placed=placed.values())
    # A wallet opened here begins with the batch: its newest entry is never later than what is still to come.
    book = await points.open_book(session, program=program, keys=_wallets(known), now=records[0].at)
    await points.know_due(session, book)
    writes = _Writes()
    for record in fresh:
        book.now = record.at
        if isinstance(record, Enrolment):
            _enrol(known, writes, book, record)
        else:
            _count(known, writes, book, placed[record.external_id])
    await _write(session, known, book, writes)
    won = sum(binding.winner is not None for binding in writes.bindings)
    return Result(len(placed), len(joined), won, len(records) - len(placed) - len(joined))


def _refuse(faults: list[Fault]) -> None:
    if faults:
        raise ImportRefused(errors=faults)


async def _recorded(session: AsyncSession, *, program_id: UUID, records: Sequence[Record]) -> dict[str, Recorded]:
    external_ids = [record.external_id for record in records if isinstance(record, Order)]
    return await orders.recorded(session, program_id=program_id, external_ids=external_ids)


async def _identify(
    session: AsyncSession, *, program_id: UUID, records: Sequence[Record]
) -> tuple[dict[str, UUID], set[UUID]]:
    """Write the customers and members that are new; return customers by external id, and who joined."""
    seen = {record.external_customer_id: record.at for record in reversed(records) if record.external_customer_id}
    named = seen.keys() | {
        record.referred_by for record in records if isinstance(record, Enrolment) and record.referred_by
    }
    known = await members.ensure_customers(session, program_id=program_id, named=named, seen=seen)
    customers = await merging.lock_heirs(session, program_id=program_id, customers=known)
    standings = await members.standings(session, program_id=program_id, member_ids=customers.values())
    joining = {
        customers[record.external_customer_id]: record
        for record in reversed(records)
        if isinstance(record, Enrolment) and customers[record.external_customer_id] not in standings
    }
    await members.enrol_many(
        session,
        program_id=program_id,
        joining=[(member_id, record.at, record.external_order_id) for member_id, record in joining.items()],
    )
    await referrals.give_codes(
        session, program_id=program_id, joined=[(member_id, record.at) for member_id, record in joining.items()]
    )
    return customers, set(joining)


async def _know(
    session: AsyncSession,
    *,
    program: Program,
    customers: dict[str, UUID],
    joined: set[UUID],
    placed: Collection[NewOrder],
) -> _Known:
    """Load what the decisions need; locks referrals and limits, after customers and orders and before wallets."""
    own_orders = [order.id for order in placed]
    all_ = await orders.numbers(session, program_id=program.id, customer_ids=customers.values())
    placed_by = Counter(order.customer_id for order in placed if order.customer_id is not None)
    rule_set = await earning.rule_set(session, program_id=program.id)
    waiting = await rewarding.lock_waiting(session, program_id=program.id, referee_ids=list(customers.values()))
    concerned = {*customers.values(), *(referral.advocate_id for referral in waiting.values())}
    standings = await members.standings(session, program_id=program.id, member_ids=concerned)
    occasions = {
        (order.customer_id, order.placed_at.astimezone(program.rules.zone).date())
        for order in placed
        if order.customer_id is not None and order.customer_id in standings
    }
    if any(version.terms.activity == SIGNED_UP for version in rule_set.versions):
        occasions |= {
            (member_id, standings[member_id].enrolled_at.astimezone(program.rules.zone).date()) for member_id in joined
        }
    return _Known(
        program=program,
        customers=customers,
        standings=standings,
        joined=joined,
        to_come=set(joined),
        codes=await referrals.primary_codes(session, program_id=program.id, member_ids=standings),
        bought=await orders.have_bought(
            session, program_id=program.id, customer_ids=customers.values(), other_than=own_orders
        ),
        waiting=waiting,
        numbers={customer_id: number - placed_by[customer_id] for customer_id, number in all_.items()},
        attributes=await members.attributes(session, program_id=program.id, member_ids=customers.values()),
        rule_set=rule_set,
        tally=await limiting.lock(session, program_id=program.id, rules=rule_set.versions, occasions=occasions),
        campaign=await referrals.find_campaign(session, program_id=program.id),
    )


def _wallets(known: _Known) -> set[WalletKey]:
    """Return every wallet that the records could pay into."""
    units = {known.program.rules.unit, *(version.terms.unit for version in known.rule_set.versions)}
    if known.campaign is not None:
        units.add(known.campaign.unit)
    keys = {WalletKey(known.program.id, member_id, unit) for member_id in known.standings for unit in units}
    return keys.union(*(waiting.wallets(known.program.id) for waiting in known.waiting.values()))


def _enrol(known: _Known, writes: _Writes, book: Book, record: Enrolment) -> None:
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


def _sign_up(known: _Known, book: Book, member_id: UUID, *, at: datetime) -> Paid:
    judged = counting.judge(
        known.rule_set,
        signing_up(member_id, at=at),
        zone=known.program.rules.zone,
        attributes=known.attributes.get(member_id, {}),
        tally=known.tally,
    )
    book.catch_up(judged.wallets(known.program.id))
    return counting.pay(book, judged, program_id=known.program.id)


def _claim(known: _Known, record: Enrolment) -> Claim:
    """An advocate whose own enrolment comes later in the batch is none yet, so that the graph stays a forest."""
    advocate_id = known.customers.get(record.referred_by or "")
    if advocate_id in known.to_come:
        return Claim(Method.IMPORT, None, channel=record.channel, refused="advocate_joined_later")
    standing = None if advocate_id is None else known.standings.get(advocate_id)
    claim = Claim(Method.IMPORT, None if advocate_id is None else known.codes.get(advocate_id), channel=record.channel)
    return claim if standing is None else referral_rules.with_advocate(claim, standing)


def _new_order(record: Order, customers: dict[str, UUID]) -> NewOrder:
    return NewOrder(
        id=ids.new(),
        external_id=record.external_id,
        customer_id=customers[record.external_customer_id] if record.external_customer_id else None,
        email_digest=None,
        content_digest=digest_content(
            currency=record.currency,
            lines=record.lines,
            channel=record.channel,
            paid=True,
            metadata=record.metadata,
            store=record.store,
            payment_method=record.payment_method,
        ),
        currency=record.currency,
        lines=record.lines,
        channel=record.channel,
        placed_at=record.at,
        recorded_at=record.at,
        paid=True,
        imported=True,
        metadata=record.metadata,
        store=record.store,
        payment_method=record.payment_method,
    )


def _count(known: _Known, writes: _Writes, book: Book, order: NewOrder) -> None:
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


def _judge(known: _Known, order: NewOrder, member_id: UUID) -> Count:
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
    return book.award(
        key,
        points=award.points,
        kind=EntryKind.EARN,
        source=Source(SourceKind.ORDER, order.id),
        occurred_at=order.placed_at,
        activates_at=book.rules.starts_at(order.placed_at),
    ).id


def _complete(known: _Known, writes: _Writes, book: Book, order: NewOrder) -> None:
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


async def _write(session: AsyncSession, known: _Known, book: Book, writes: _Writes) -> None:
    program_id = known.program.id
    await attributing.bind_many(session, program_id=program_id, bindings=writes.bindings)
    await points.post(session, book)
    await known.tally.write(session)
    await earning.record(session, program_id=program_id, counts=writes.counts)
    await writes.settlement.write(session, program_id=program_id)
    await outbox.tell(session, program_id=program_id, events=writes.events)
    await activities.record_many(session, program_id=program_id, paid=writes.activities)
