"""What an order causes: the points it earns, and the referral it completes."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.checkout import rules
from loyalty.earning import limiting
from loyalty.earning import service as earning
from loyalty.earning.evaluation import Judge
from loyalty.earning.facts import Moment, Purchase
from loyalty.earning.limiting import Tally
from loyalty.earning.paying import Given, pay_order
from loyalty.earning.rules import Award
from loyalty.earning.service import Count
from loyalty.members import service as members
from loyalty.orders import models as order_models
from loyalty.orders import service as orders
from loyalty.orders.rules import NewOrder
from loyalty.points import service as points
from loyalty.points.book import Book
from loyalty.points.rules import Source, SourceKind, WalletKey
from loyalty.programs.rules import Program
from loyalty.referrals import rewarding
from loyalty.referrals.rules import Waiting, qualifies
from loyalty.tenders import service as tenders
from loyalty.tenders.rules import Tender


async def count(
    session: AsyncSession,
    *,
    program: Program,
    order: NewOrder,
    now: datetime,
    tender: Tender | None = None,
    hold_id: UUID | None = None,
) -> Count | None:
    """Let points pay for an order, and let it earn and complete a referral; return how it was counted, if it was.

    What it earns waits as pending until it is paid. Locks the referral, then what limits rules, then wallets.
    """
    waiting = None
    if order.paid and order.total_minor > 0:
        waiting = await lock_waiting(session, program_id=program.id, order_id=order.id, customer_id=order.customer_id)
    completed = waiting if waiting is not None and completes(waiting, order, order.total_minor) else None
    counted = await judge(session, program=program, order=order, limits=limiting.lock)
    if counted is not None:
        await counted.tally.write(session)
    keys = set(completed.wallets(program.id) if completed else [])
    if counted is not None and order.customer_id is not None:
        keys |= rules.award_wallets(counted.awards, program_id=program.id, member_id=order.customer_id)
    payer = None
    if tender is not None and order.customer_id is not None:
        payer = WalletKey(program.id, order.customer_id, program.rules.unit)
        keys.add(payer)
    book = await points.open_book(session, program=program, keys=keys, now=now)
    spent = None
    if tender is not None and payer is not None:
        spent = await tenders.take(session, book, tender, key=payer, order_id=order.id, hold_id=hold_id)
    paid = {} if counted is None else _pay(book, order, counted.awards, program_id=program.id)
    await settle(session, book, program_id=program.id, completed=completed, order_id=order.id, at=order.placed_at)
    if tender is not None and payer is not None and spent is not None:
        await tenders.record(session, tender, key=payer, order_id=order.id, entry_id=spent, refund=program.rules.refund)
    if counted is not None:
        await earning.record(session, program_id=program.id, counts=[(counted, paid)])
    return counted


async def judge(
    session: AsyncSession,
    *,
    program: Program,
    order: NewOrder,
    limits: Callable[..., Awaitable[Tally]],
    unrecorded: int = 0,
) -> Count | None:
    """Decide what an order earns; `limits` looks up what rules may still give.

    None unless the buyer was a member, free to earn, when it was placed. Of the buyer's orders so many are not recorded
    yet, this one among them.
    """
    if order.customer_id is None:
        return None
    buyer = await members.find_standing(session, program_id=program.id, customer_id=order.customer_id)
    if buyer is None:
        return None
    # Of two servers one may be behind: an order that says no time of its own is placed no sooner than its buyer joined.
    is_now = order.placed_at == order.recorded_at
    at = max(order.placed_at, buyer.enrolled_at) if is_now else order.placed_at
    if not buyer.may_earn_at(at):
        return None
    known = await earning.rule_set(session, program_id=program.id)
    judge, local = known.judge_at(at), at.astimezone(program.rules.zone)
    tally = await limits(session, program_id=program.id, rules=judge.limited, occasions=[(buyer.id, local.date())])
    moment = Moment(
        local,
        base=program.rules.earning_base,
        attributes=await earning.attributes(session, program_id=program.id, member_id=buyer.id, rules=judge.asking),
        order_number=await _order_number(
            session, program_id=program.id, member_id=buyer.id, judge=judge, unrecorded=unrecorded
        ),
        allowed=tally.allowances(judge.limited, member_id=buyer.id, day=local.date()),
    )
    verdicts = judge.judge(purchase=Purchase.of(order, order.lines), moment=moment)
    given = {own.rule.rule_id: own.points for own in verdicts if own.counts}
    tally.count(judge.limited, member_id=buyer.id, day=local.date(), points=given)
    return Count(order.id, at, known.number, judge, moment, verdicts, tally)


async def lock_waiting(
    session: AsyncSession, *, program_id: UUID, order_id: UUID, customer_id: UUID | None
) -> Waiting | None:
    """Return the buyer's referral, locked, if it waits for a first paid order and this is the first."""
    if customer_id is None:
        return None
    waiting = (await rewarding.lock_waiting(session, program_id=program_id, referee_ids=[customer_id])).get(customer_id)
    if waiting is None or await orders.have_bought(
        session, program_id=program_id, customer_ids=[customer_id], other_than=[order_id]
    ):
        return None
    return waiting


def completes(waiting: Waiting, order: NewOrder | order_models.Order, total_minor: int) -> bool:
    return qualifies(waiting, placed_at=order.placed_at, currency=order.currency, total_minor=total_minor)


async def settle(
    session: AsyncSession, book: Book, *, program_id: UUID, completed: Waiting | None, order_id: UUID, at: datetime
) -> None:
    """Pay a completed referral into the book, post the book, and write what both decided."""
    settlement = rewarding.Settlement()
    if completed is not None:
        sides = [completed.advocate_id, completed.referee_id]
        standings = await members.standings(session, program_id=program_id, member_ids=sides)
        barred = [member_id for member_id in sides if not standings[member_id].may_earn_at(at)]
        settlement.reward(book, completed, program_id=program_id, order_id=order_id, at=at, barred=barred)
    await points.post(session, book)
    await settlement.write(session, program_id=program_id)


def source_of(order_id: UUID) -> Source:
    return Source(SourceKind.ORDER, order_id)


async def _order_number(
    session: AsyncSession, *, program_id: UUID, member_id: UUID, judge: Judge, unrecorded: int
) -> int | None:
    """Count a customer's orders, if any rule asks for it."""
    if not judge.counting:
        return None
    recorded = await orders.numbers(session, program_id=program_id, customer_ids=[member_id])
    return recorded.get(member_id, 0) + unrecorded


def _pay(book: Book, order: NewOrder, awards: Sequence[Award], *, program_id: UUID) -> dict[UUID, UUID]:
    if order.customer_id is None:
        raise AssertionError("only a member's order earns")
    units = {unit: WalletKey(program_id, order.customer_id, unit) for unit in {own.rule.terms.unit for own in awards}}
    return pay_order(
        book,
        [Given(own.rule.rule_id, units[own.rule.terms.unit], own.points) for own in awards],
        order_id=order.id,
        occurred_at=order.placed_at,
        paid_at=(order.paid_at or order.placed_at) if order.paid else None,
        delivered=order.delivered,
    )
