"""Quotes asked for at the same time, given together: each as if it were the only one."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.checkout import till
from loyalty.checkout.quoting import View, dates_of, figures_of, quoted_order
from loyalty.checkout.rules import Basket
from loyalty.core.rows import at_once
from loyalty.earning import limiting
from loyalty.members import customers, merging
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
        own: quoted_order(basket, customer_id=buyers[own], now=now)
        for own, basket in enumerate(baskets)
        if own in buyers and basket.currency in program.rules.currencies
    }
    known, views = await at_once(
        session,
        till.know(session, program=program, orders_=list(drawn.values()), limits=limiting.look),
        balances.wallets_of(session, program=program, member_ids={own for own in buyers.values() if own}, now=now),
    )
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
        told.append(Told(order.customer_id, order.content_digest, figures))
    recorded = dict(
        zip(drawn, await quotes.record_many(session, program_id=program.id, told=told, now=now), strict=True)
    )
    found: list[View | None] = [None] * len(baskets)
    for own, order in drawn.items():
        has = offer = None
        if order.customer_id is not None and (buyer := known.standings.get(order.customer_id)) and buyer.may_burn:
            wallets = (view.wallet for view in views[buyer.id] if view.wallet.key.unit == program.rules.unit)
            has = next((wallet.spendable for wallet in wallets), 0)
            offer = tender_rules.offer(program.rules.burn, currency=order.currency, lines=order.lines, spendable=has)
        found[own] = View(recorded[own], order, counted[own], has, offer, None, [], begins_at, ends_at)
    return found


async def _buyers(session: AsyncSession, *, program_id: UUID, baskets: Sequence[Basket]) -> dict[int, UUID | None]:
    """Return who would buy each basket: nobody yet for a customer whom the order would create, or who is no member.

    A basket of a customer who should be there, and is not, is left out.
    """
    named = {own.customer_id for own in baskets if own.customer_id is not None}
    external = {own.external_customer_id for own in baskets if own.external_customer_id is not None}
    there, heirs, known = await at_once(
        session,
        customers.there(session, program_id=program_id, customer_ids=named),
        merging.heirs(session, program_id=program_id, customer_ids=named),
        members.known_by(session, program_id=program_id, external_ids=external),
    )
    return {
        own: known.get(basket.external_customer_id or "") if basket.customer_id is None else heirs[basket.customer_id]
        for own, basket in enumerate(baskets)
        if basket.customer_id is None or basket.customer_id in there
    }
