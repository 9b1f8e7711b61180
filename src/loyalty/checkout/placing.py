"""Orders that wait at the same time, placed together in one transaction.

Only those that are new, ordinary and without fault: of the others nothing happens here, and each goes its own way.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.access.express import LeftOut
from loyalty.checkout import counting, rules, showing, till
from loyalty.checkout.quoted import NotAsQuoted, check_figures, is_as_quoted
from loyalty.checkout.rules import Basket
from loyalty.checkout.service import GUEST_EMAIL
from loyalty.checkout.showing import View
from loyalty.core import idempotency, ids
from loyalty.core.idempotency import Call
from loyalty.core.rows import at_once
from loyalty.core.signing import Keyring
from loyalty.earning import limiting
from loyalty.earning.limiting import Tally
from loyalty.earning.rules import RuleVersion
from loyalty.earning.service import Count
from loyalty.members import customers, merging
from loyalty.members import service as members
from loyalty.orders import rules as order_rules
from loyalty.orders import service as orders
from loyalty.orders.errors import CurrencyNotAccepted, PlacedOutOfTime
from loyalty.orders.rules import NewOrder
from loyalty.points import service as points
from loyalty.points.postings import Entry
from loyalty.points.rules import EntryKind, WalletKey
from loyalty.programs.rules import Program
from loyalty.quotes import service as quotes
from loyalty.quotes.models import Quote
from loyalty.referrals import rewarding

OPERATION: Final = "create_order"
_FAULTS: Final = (CurrencyNotAccepted, PlacedOutOfTime)


Wanted = tuple[Call, Basket]
"""An order that somebody wants to place, and as which call."""


@dataclass(frozen=True)
class Placed:
    """An order that was placed, how it was counted, what that paid, and the referral it completed with its points."""

    order: NewOrder
    counted: Count | None
    entries: list[Entry]
    referral: tuple[UUID, int] | None


@dataclass(frozen=True)
class Known:
    """An order that an earlier call had placed, and the status which that heard."""

    view: View
    status: int


def is_ordinary(basket: Basket) -> bool:
    """Tell whether an order can be placed together with others: no points pay for it, and no coupon."""
    return not (basket.pay_points or basket.hold_id or basket.coupons)


async def place(
    session: AsyncSession, *, program: Program, wanted: Sequence[Wanted], keyring: Keyring, now: datetime
) -> list[Placed | Known | None]:
    """Place orders of one program; None for each that is to be placed by itself, of which nothing happened.

    Locks what a single order locks, each kind for all at once: keys, customers, referrals, limits, wallets. One that
    somebody else has placed in the same instant is found as it is written, and nothing of the group is done then.
    Nor is it where some do not come to what their quotes told: raises LeftOut.
    """
    sound = [own for own in _first_of_each(wanted) if _is_sound(wanted[own][1], program=program, now=now)]
    drafts = {ids.new(): own for own in sound}
    quoted = {quote_id for own in sound if (quote_id := wanted[own][1].quote_id) is not None}
    taken, there, told = await at_once(
        session,
        idempotency.claim_many(session, calls=[(wanted[own][0], id_) for id_, own in drafts.items()], now=now),
        orders.recorded(session, program_id=program.id, external_ids=[wanted[own][1].external_id for own in sound]),
        quotes.listed(session, program_id=program.id, quote_ids=quoted),
    )
    drafts = {order_id: own for order_id, own in drafts.items() if order_id in taken}
    done: dict[int, Placed | Known] = {}
    new = {
        id_: basket
        for id_, own in drafts.items()
        if (basket := wanted[own][1]).external_id not in there and is_as_quoted(basket, told, now=now)
    }
    if new:
        try:
            placed = await _place_new(session, program=program, baskets=new, told=told, keyring=keyring, now=now)
        except NotAsQuoted as error:
            raise LeftOut({wanted[drafts[order_id]][0] for order_id in error.order_ids}) from error
        done |= {drafts[order_id]: own for order_id, own in placed.items()}
    await idempotency.give_up(session, calls=[wanted[own][0] for own in drafts.values() if own not in done])
    if len(done) < len(wanted):
        rest = {own: call for own, (call, _) in enumerate(wanted) if own not in done}
        done |= await _known(session, program=program, calls=rest)
    return [done.get(own) for own in range(len(wanted))]


async def _place_new(
    session: AsyncSession,
    *,
    program: Program,
    baskets: Mapping[UUID, Basket],
    told: Mapping[UUID, Quote],
    keyring: Keyring,
    now: datetime,
) -> dict[UUID, Placed]:
    """Place orders that are under nobody's key or external id yet; what nobody can buy is left out."""
    buyers = await _buyers(session, program_id=program.id, baskets=list(baskets.values()), now=now)
    drawn = [
        _draw(own, order_id=order_id, buyer=None if name is None else buyers[name], keyring=keyring, now=now)
        for order_id, own in baskets.items()
        if (name := _name(own)) is None or name in buyers
    ]
    quoted = {order_id: told[own.quote_id] for order_id, own in baskets.items() if own.quote_id is not None}
    return {own.order.id: own for own in await _count(session, program=program, placed=drawn, quoted=quoted, now=now)}


async def _known(session: AsyncSession, *, program: Program, calls: Mapping[int, Call]) -> dict[int, Known]:
    """Return those of these calls that repeat another one, with the orders as they are in the books."""
    claims = await idempotency.replays(session, calls=list(calls.values()))
    order_ids = {claim.resource_id for claim in claims.values()}
    views = await showing.views(session, program=program, order_ids=order_ids) if order_ids else {}
    return {
        own: Known(views[claim.resource_id], claim.status)
        for own, call in calls.items()
        if (claim := claims.get(call)) is not None
    }


def _first_of_each(wanted: Sequence[Wanted]) -> list[int]:
    """Leave out what repeats a key or an order that is wanted already; return the places of the others."""
    keys: set[str] = set()
    external_ids: set[str] = set()
    found = []
    for own, (call, basket) in enumerate(wanted):
        if call.key not in keys and basket.external_id not in external_ids:
            found.append(own)
        keys.add(call.key)
        external_ids.add(basket.external_id)
    return found


def _is_sound(basket: Basket, *, program: Program, now: datetime) -> bool:
    try:
        order_rules.check_currency(basket.currency, accepted=program.rules.currencies)
        order_rules.check_placed(basket.placed_at or now, now=now, late_days=program.rules.late_order_days)
    except _FAULTS:
        return False
    return True


def _name(basket: Basket) -> UUID | str | None:
    """Return what names the buyer: an id of ours, or one of the shop's, which may be written like any of ours."""
    return basket.customer_id or basket.external_customer_id


async def _buyers(
    session: AsyncSession, *, program_id: UUID, baskets: Sequence[Basket], now: datetime
) -> dict[UUID | str, UUID]:
    """Return who buys, by the name that the order gave, created if new, and locked.

    Who is nobody, or was merged into another, is left out.
    """
    external = {own.external_customer_id for own in baskets if own.customer_id is None}
    seen = {name: now for name in external if name is not None}
    named: dict[UUID | str, UUID] = {own.customer_id: own.customer_id for own in baskets if own.customer_id}
    if seen:
        theirs = await customers.ensure_many(session, program_id=program_id, named=seen, seen=seen)
        named.update(theirs.items())
    return await merging.lock_unmerged(session, program_id=program_id, customers=named) if named else {}


def _draw(basket: Basket, *, order_id: UUID, buyer: UUID | None, keyring: Keyring, now: datetime) -> NewOrder:
    guest = basket.email if _name(basket) is None else None
    digest = keyring.digest(GUEST_EMAIL, guest) if guest else None
    content = rules.placed_content(basket)
    return rules.new_order(
        basket, order_id=order_id, customer_id=buyer, email_digest=digest, content_digest=content, now=now
    )


async def _count(
    session: AsyncSession,
    *,
    program: Program,
    placed: Sequence[NewOrder],
    quoted: Mapping[UUID, Quote],
    now: datetime,
) -> list[Placed]:
    known, are_recorded = await _know(session, program=program, placed=placed)
    counted = {order.id: till.judge(known, order) for order in placed}
    check_figures(program, placed, counted=counted, quoted=quoted, now=now)
    keys = {
        WalletKey(program.id, order.customer_id, award.rule.terms.unit)
        for order in placed
        if order.customer_id is not None and (own := counted[order.id]) is not None
        for award in own.awards
    }
    keys = keys.union(*(waiting.wallets(program.id) for waiting in known.waiting.values()))
    book = await points.open_book(session, program=program, keys=keys, now=now)
    if any(order.placed_at < order.recorded_at for order in placed):
        # What a late order earns may be over already: it is due before the next order of the same member.
        await points.know_due(session, book)
    if not are_recorded:
        await orders.record_many(session, program_id=program.id, orders=placed)
    writes = till.Writes()
    for order in placed:
        till.count(known, writes, book, order, counted[order.id])
    await till.write(session, known, book, writes)
    earned: dict[UUID, list[Entry]] = {}
    for entry in book.entries:
        if entry.movement.kind is EntryKind.EARN:
            earned.setdefault(entry.source.id, []).append(entry)
    completed = writes.settlement.by_order()
    return [Placed(order, counted[order.id], earned.get(order.id, []), completed.get(order.id)) for order in placed]


async def _know(session: AsyncSession, *, program: Program, placed: Sequence[NewOrder]) -> tuple[till.Known, bool]:
    """Load what decisions need; tell also whether the orders are recorded already. Locks referrals, then limits."""
    first_paid: dict[UUID, NewOrder] = {}
    for order in placed:
        if order.customer_id is not None and order.paid:
            first_paid.setdefault(order.customer_id, order)
    paying = {who for who, order in first_paid.items() if order.total_minor}
    are_recorded = False

    async def limits(session: AsyncSession, *, rules: Collection[RuleVersion], **more: Any) -> Tally:
        nonlocal are_recorded
        if rules:
            # Who places an order by itself has recorded it before limits, which all orders of a program may share.
            await orders.record_many(session, program_id=program.id, orders=placed)
            are_recorded = True
        return await limiting.lock(session, rules=rules, **more)

    waiting, known = await at_once(
        session,
        rewarding.lock_waiting(session, program_id=program.id, referee_ids=paying),
        till.know(session, program=program, orders_=placed, limits=limits),
    )
    if waiting:
        advocates = {referral.advocate_id for referral in waiting.values()}
        others = [order.id for order in placed]
        standings, known.bought = await at_once(
            session,
            members.standings(session, program_id=program.id, member_ids=advocates),
            orders.have_bought(session, program_id=program.id, customer_ids=waiting, other_than=others),
        )
        known.standings |= standings
    known.waiting = {
        who: own
        for who, own in waiting.items()
        if who not in known.bought and counting.completes(own, first_paid[who], first_paid[who].total_minor)
    }
    return known, are_recorded
