from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.activities import service as activities
from loyalty.activities.rules import SIGNED_UP
from loyalty.checkout import till
from loyalty.core import ids
from loyalty.core.errors import Fault
from loyalty.earning import limiting
from loyalty.earning import service as earning
from loyalty.imports import deciding, rules
from loyalty.imports.deciding import Known, Writes
from loyalty.imports.errors import ImportRefused
from loyalty.imports.rules import Enrolment, Order, Record
from loyalty.members import merging
from loyalty.members import service as members
from loyalty.members.customers import ensure_many
from loyalty.orders import service as orders
from loyalty.orders.rules import NewOrder, Recorded, digest_content
from loyalty.points import service as points
from loyalty.points.book import Book
from loyalty.points.rules import WalletKey
from loyalty.programs.rules import Program
from loyalty.referrals import attributing, rewarding
from loyalty.referrals import service as referrals


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
    writes = Writes()
    for record in fresh:
        book.now = record.at
        if isinstance(record, Enrolment):
            deciding.enrol(known, writes, book, record)
        else:
            order = placed[record.external_id]
            till.count(known, writes, book, order, till.judge(known, order))
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
    known = await ensure_many(session, program_id=program_id, named=named, seen=seen)
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
) -> Known:
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
    return Known(
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


def _wallets(known: Known) -> set[WalletKey]:
    """Return every wallet that the records could pay into."""
    units = {known.program.rules.unit, *(version.terms.unit for version in known.rule_set.versions)}
    if known.campaign is not None:
        units.add(known.campaign.unit)
    keys = {WalletKey(known.program.id, member_id, unit) for member_id in known.standings for unit in units}
    return keys.union(*(waiting.wallets(known.program.id) for waiting in known.waiting.values()))


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


async def _write(session: AsyncSession, known: Known, book: Book, writes: Writes) -> None:
    program_id = known.program.id
    await attributing.bind_many(session, program_id=program_id, bindings=writes.bindings)
    await till.write(session, known, book, writes)
    await activities.record_many(session, program_id=program_id, paid=writes.activities)
