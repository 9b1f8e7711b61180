"""What an order would come to: decided like an order, and nothing of it happens."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.checkout import counting, couponing, paying, rules
from loyalty.checkout.rules import Basket
from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.earning import limiting
from loyalty.earning.rules import Award
from loyalty.earning.service import Count
from loyalty.members import customers, merging
from loyalty.members import service as members
from loyalty.members.errors import CustomerNotFound
from loyalty.members.rules import IdentifierKind
from loyalty.orders import rules as order_rules
from loyalty.orders.rules import Line, NewOrder
from loyalty.points import balances, holding
from loyalty.points.errors import HoldEnded, NotEnoughPoints
from loyalty.programs.policies import idle_until
from loyalty.programs.rules import Program
from loyalty.quotes import models as quote_models
from loyalty.quotes import service as quotes
from loyalty.quotes.rules import Figures
from loyalty.rewards.discounts import Discount, paid_by_gift_card
from loyalty.tenders import rules as tender_rules
from loyalty.tenders.rules import Offer, Tender


@dataclass(frozen=True)
class View:
    """A quote with all that it says.

    `begins_at` is when what is earned becomes spendable if the order is placed and paid now, null for at once or on an
    event; `ends_at` when that expires then.
    """

    quote: quote_models.Quote
    order: NewOrder
    counted: Count | None
    spendable: int | None
    offer: Offer | None
    tender: Tender | None
    discounts: list[Discount]
    begins_at: datetime | None
    ends_at: datetime | None


async def quote(session: AsyncSession, *, program: Program, basket: Basket, now: datetime) -> View:
    """Tell what an order would earn, and what points could pay for it; an order that names the quote gets just that.

    Raises CurrencyNotAccepted, CustomerNotFound, and what coupons and paying with points raise.
    """
    order_rules.check_currency(basket.currency, accepted=program.rules.currencies)
    customer_id = await _customer(session, program_id=program.id, basket=basket)
    order = quoted_order(basket, customer_id=customer_id, now=now)
    spendable = await _spendable(session, program=program, customer_id=customer_id, now=now)
    order, discounts = await couponing.apply(session, program=program, order=order, codes=basket.coupons, now=now)
    tender = await paying.tender(session, program=program, order=order, basket=basket, discounts=discounts)
    if basket.hold_id is not None:
        hold = await holding.get_hold(session, program_id=program.id, hold_id=basket.hold_id)
        if hold.ended_by is not None or hold.expires_at <= now:
            raise HoldEnded(ended_by=hold.ended_by or "expired")
    if tender is not None:
        if basket.hold_id is None and tender.points > (spendable or 0):
            raise NotEnoughPoints(spendable=spendable or 0, requested=tender.points)
        order = replace(order, lines=tuple(tender.on(order.lines)))
    counted = await counting.judge(session, program=program, order=order, limits=limiting.look, unrecorded=1)
    recorded = await quotes.record(
        session,
        program_id=program.id,
        customer_id=customer_id,
        content_digest=order.content_digest,
        figures=figures_of(
            program, awards=counted.awards if counted else (), tender=tender, discounts=discounts, now=now
        ),
        now=now,
    )
    offer = None
    if spendable is not None and not paid_by_gift_card(discounts):
        offer = tender_rules.offer(program.rules.burn, currency=order.currency, lines=order.lines, spendable=spendable)
    begins_at, ends_at = dates_of(program, now=now)
    return View(recorded, order, counted, spendable, offer, tender, discounts, begins_at, ends_at)


def quoted_order(basket: Basket, *, customer_id: UUID | None, now: datetime) -> NewOrder:
    """Return the order that nobody has placed, of which a quote tells."""
    content = rules.quoted_content(basket)
    return rules.new_order(
        basket, order_id=ids.new(), customer_id=customer_id, email_digest=None, content_digest=content, now=now
    )


def figures_of(
    program: Program,
    *,
    awards: Sequence[Award],
    tender: Tender | None,
    discounts: Sequence[Discount],
    now: datetime,
) -> Figures:
    """Return what an order placed and paid now comes to."""
    begins_at, ends_at = dates_of(program, now=now)
    return Figures(
        awards={ids.public("rul", award.rule.rule_id): award.points for award in awards},
        paid_points=tender.points if tender else 0,
        paid_minor=tender.value_minor if tender else 0,
        discounts={discount.code: discount.value_minor for discount in discounts},
        points_begin_at=rfc3339(begins_at) if begins_at and awards else None,
        points_end_at=rfc3339(ends_at) if ends_at and awards else None,
    )


async def _customer(session: AsyncSession, *, program_id: UUID, basket: Basket) -> UUID | None:
    """Return who would buy; nobody yet for a customer that the order would create."""
    customer_id = basket.customer_id
    if customer_id is None and basket.external_customer_id is not None:
        kind = IdentifierKind.EXTERNAL_ID
        found = await members.find_by(session, program_id=program_id, kind=kind, value=basket.external_customer_id)
        customer_id = found[0].member.id if found else None
    if customer_id is None:
        return None
    if not await customers.is_there(session, program_id=program_id, customer_id=customer_id):
        raise CustomerNotFound
    return await merging.find_heir(session, program_id=program_id, customer_id=customer_id)


async def _spendable(session: AsyncSession, *, program: Program, customer_id: UUID | None, now: datetime) -> int | None:
    """Return what a member could pay with; None for who is none, or may not."""
    buyer = None
    if customer_id is not None:
        buyer = await members.find_standing(session, program_id=program.id, customer_id=customer_id)
    if buyer is None or not buyer.may_burn:
        return None
    views = await balances.wallets(session, program=program, member_id=buyer.id, now=now)
    return next((view.wallet.spendable for view in views if view.wallet.key.unit == program.rules.unit), 0)


def dates_of(program: Program, *, now: datetime) -> tuple[datetime | None, datetime | None]:
    """Return when points of an order paid now begin, if not at once or on an event, and when they end then."""
    begins_at = program.rules.starts_at(now)
    dates = program.rules.expiry.dates_from(begins_at or now, program.rules.zone)
    if dates.idle is not None:
        return begins_at, idle_until(begins_at or now, dates.idle, program.rules.zone)
    return begins_at, dates.expires_at


def left_to_pay(lines: Sequence[Line], discounts: Sequence[Discount]) -> int:
    """Return what of lines is paid neither with points nor by gift cards, in minor units."""
    return sum(line.total_minor - line.points_minor for line in lines) - paid_by_gift_card(discounts)
