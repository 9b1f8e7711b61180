"""Quotes asked for at the same time, given together: each as if it were the only one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.checkout import rules, till
from loyalty.checkout.quoting import View, dates_of, figures_of
from loyalty.checkout.rules import Basket
from loyalty.core import ids
from loyalty.earning import limiting
from loyalty.members import merging
from loyalty.members import service as members
from loyalty.points import balances
from loyalty.programs.rules import Program
from loyalty.quotes import service as quotes
from loyalty.quotes.service import Told
from loyalty.tenders import rules as tender_rules


async def quote(
    session: AsyncSession, *, program: Program, baskets: Sequence[Basket], now: datetime
) -> list[View | None]:
    """Tell what orders would earn, that use no points and no coupons; None for each that is to be quoted by itself."""
    buyers = await _buyers(session, program_id=program.id, baskets=baskets)
    drawn = {
        own: rules.new_order(basket, order_id=ids.new(), customer_id=buyers[own], email_digest=None, now=now)
        for own, basket in enumerate(baskets)
        if own in buyers and basket.currency in program.rules.currencies
    }
    known = await till.know(session, program=program, orders_=list(drawn.values()), limits=limiting.look)
    spendable = await _spendable(session, known, now=now)
    begins_at, ends_at = dates_of(program, now=now)
    counted = {
        own: till.judge(replace(known, numbers=dict(known.numbers), tally=known.tally.apart()), order)
        for own, order in drawn.items()
    }
    told = []
    for own, order in drawn.items():
        judged = counted[own]
        awards = judged.awards if judged else ()
        figures = figures_of(program, awards=awards, tender=None, discounts=(), now=now)
        told.append(Told(order.customer_id, rules.quoted_content(baskets[own]), figures))
    recorded = dict(
        zip(drawn, await quotes.record_many(session, program_id=program.id, told=told, now=now), strict=True)
    )
    found: list[View | None] = [None] * len(baskets)
    for own, order in drawn.items():
        has = None if order.customer_id is None else spendable.get(order.customer_id)
        offer = None
        if has is not None:
            offer = tender_rules.offer(program.rules.burn, currency=order.currency, lines=order.lines, spendable=has)
        found[own] = View(recorded[own], order, counted[own], has, offer, None, [], begins_at, ends_at)
    return found


async def _buyers(session: AsyncSession, *, program_id: UUID, baskets: Sequence[Basket]) -> dict[int, UUID | None]:
    """Return who would buy each basket: nobody yet for a customer whom the order would create, or who is no member.

    A basket of a customer who should be there, and is not, is left out.
    """
    named = {own.customer_id for own in baskets if own.customer_id is not None}
    there = await members.customers_there(session, program_id=program_id, customer_ids=named) if named else set()
    heirs = await merging.heirs(session, program_id=program_id, customer_ids=there) if there else {}
    external = {own.external_customer_id for own in baskets if own.external_customer_id is not None}
    known = await members.known_by(session, program_id=program_id, external_ids=external) if external else {}
    return {
        own: known.get(basket.external_customer_id or "") if basket.customer_id is None else heirs[basket.customer_id]
        for own, basket in enumerate(baskets)
        if basket.customer_id is None or basket.customer_id in heirs
    }


async def _spendable(session: AsyncSession, known: till.Known, *, now: datetime) -> Mapping[UUID, int]:
    """Return what members could pay with; who may not is left out."""
    program = known.program
    who = [buyer.id for buyer in known.standings.values() if buyer.may_burn]
    views = await balances.wallets_of(session, program=program, member_ids=who, now=now) if who else {}
    unit = program.rules.unit
    return {
        own: next((view.wallet.spendable for view in views.get(own, ()) if view.wallet.key.unit == unit), 0)
        for own in who
    }
