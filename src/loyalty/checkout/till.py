"""Many orders decided together: what they need is loaded once, each is decided in memory, all is written in sets."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import at_once
from loyalty.earning import service as earning
from loyalty.earning.facts import Moment, Purchase
from loyalty.earning.limiting import Tally
from loyalty.earning.paying import Given, pay_order
from loyalty.earning.service import Count, RuleSet
from loyalty.members import service as members
from loyalty.members.rules import Standing
from loyalty.orders import service as orders
from loyalty.orders.rules import NewOrder
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.points import service as points
from loyalty.points.book import Book
from loyalty.points.rules import WalletKey
from loyalty.programs.rules import Program
from loyalty.referrals.rewarding import Settlement
from loyalty.referrals.rules import Waiting, qualifies


@dataclass(kw_only=True)
class Known:
    """What decisions on orders need to know, loaded once for all and kept up to date as each is decided.

    `bought` are those who have a paid order, `numbers` how many orders each customer has had before.
    """

    program: Program
    standings: dict[UUID, Standing]
    bought: set[UUID]
    waiting: dict[UUID, Waiting]
    numbers: dict[UUID, int]
    attributes: dict[UUID, dict[str, str]]
    rule_set: RuleSet
    tally: Tally


async def know(
    session: AsyncSession,
    *,
    program: Program,
    orders_: Sequence[NewOrder],
    limits: Callable[..., Awaitable[Tally]],
) -> Known:
    """Load what it takes to judge orders, none of them recorded yet. `limits` looks up what rules may still give."""
    buyers = {order.customer_id for order in orders_ if order.customer_id is not None}
    standings, rule_set = await at_once(
        session,
        members.standings(session, program_id=program.id, member_ids=buyers),
        earning.rule_set(session, program_id=program.id),
    )
    numbers: dict[UUID, int] = {}
    if rule_set.count_orders:
        numbers = await orders.numbers(session, program_id=program.id, customer_ids=buyers)
    attributes: dict[UUID, dict[str, str]] = {}
    if rule_set.ask_attributes:
        attributes = await members.attributes(session, program_id=program.id, member_ids=buyers)
    counting = {
        (buyer.id, counted_at(order, buyer))
        for order in orders_
        if order.customer_id is not None and (buyer := standings.get(order.customer_id)) is not None
    }
    # Orders of different times may count by different versions of a rule, which need not be limited alike.
    limited = {(rule.rule_id, rule.version): rule for _, at in counting for rule in rule_set.judge_at(at).limited}
    occasions = {(member_id, at.astimezone(program.rules.zone).date()) for member_id, at in counting}
    tally = await limits(session, program_id=program.id, rules=limited.values(), occasions=occasions)
    return Known(
        program=program,
        standings=standings,
        bought=set(),
        waiting={},
        numbers=numbers,
        attributes=attributes,
        rule_set=rule_set,
        tally=tally,
    )


@dataclass
class Writes:
    """Rows that were decided on. `counts` have how orders were counted, and by rule the entry that has its points."""

    counts: list[tuple[Count, dict[UUID, UUID]]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    settlement: Settlement = field(default_factory=Settlement)


def count(known: Known, writes: Writes, book: Book, order: NewOrder, counted: Count | None) -> None:
    """Pay what an order earns, and let it complete a referral. Its wallets must be in the book."""
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
    if counted is not None:
        keys = {
            own.rule.terms.unit: WalletKey(known.program.id, order.customer_id, own.rule.terms.unit)
            for own in counted.awards
        }
        book.catch_up(keys.values())
        paid = pay_order(
            book,
            [Given(own.rule.rule_id, keys[own.rule.terms.unit], own.points) for own in counted.awards],
            order_id=order.id,
            occurred_at=order.placed_at,
            paid_at=order.placed_at if order.paid else None,
            delivered=order.delivered or order.imported,
        )
        writes.counts.append((counted, paid))
    if order.paid:
        _complete(known, writes, book, order, order.customer_id)
        known.bought.add(order.customer_id)


def judge(known: Known, order: NewOrder) -> Count | None:
    """Decide what an order earns, and count it to the limits of rules; None for a buyer who could not earn then.

    Orders come in the order in which they count.
    """
    if order.customer_id is None:
        return None
    number = known.numbers[order.customer_id] = known.numbers.get(order.customer_id, 0) + 1
    buyer = known.standings.get(order.customer_id)
    if buyer is None:
        return None
    at = counted_at(order, buyer)
    if not buyer.may_earn_at(at):
        return None
    judge, local = known.rule_set.judge_at(at), at.astimezone(known.program.rules.zone)
    moment = Moment(
        local,
        base=known.program.rules.earning_base,
        attributes=known.attributes.get(buyer.id, {}),
        order_number=number if judge.counting else None,
        allowed=known.tally.allowances(judge.limited, member_id=buyer.id, day=local.date()),
    )
    verdicts = judge.judge(purchase=Purchase.of(order, order.lines), moment=moment)
    if judge.limited:
        given = {own.rule.rule_id: own.points for own in verdicts if own.counts}
        known.tally.count(judge.limited, member_id=buyer.id, day=local.date(), points=given)
    return Count(order.id, at, known.rule_set.number, judge, moment, verdicts, known.tally)


def counted_at(order: NewOrder, buyer: Standing) -> datetime:
    """Return when an order counts: when it was placed.

    One that says no time of its own is placed no sooner than its buyer joined: of two servers one may be behind.
    """
    is_now = order.placed_at == order.recorded_at and not order.imported
    return max(order.placed_at, buyer.enrolled_at) if is_now else order.placed_at


def _complete(known: Known, writes: Writes, book: Book, order: NewOrder, buyer: UUID) -> None:
    """Let a first paid order complete the buyer's referral."""
    waiting = known.waiting.get(buyer)
    if waiting is None or buyer in known.bought or order.total_minor == 0:
        return
    if not qualifies(waiting, placed_at=order.placed_at, currency=order.currency, total_minor=order.total_minor):
        return
    sides = (waiting.advocate_id, waiting.referee_id)
    barred = [side for side in sides if not known.standings[side].may_earn_at(order.placed_at)]
    book.catch_up(waiting.wallets(known.program.id))
    writes.settlement.reward(
        book, waiting, program_id=known.program.id, order_id=order.id, at=order.placed_at, barred=barred
    )


async def write(session: AsyncSession, known: Known, book: Book, writes: Writes) -> None:
    """Write what was decided."""
    program_id = known.program.id
    await known.tally.write(session)
    await writes.settlement.write(session, program_id=program_id)
    await points.post(session, book)
    await earning.record(session, program_id=program_id, counts=writes.counts)
    await outbox.tell(session, program_id=program_id, events=writes.events)
