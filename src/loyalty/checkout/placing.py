"""Orders that wait at the same time, placed together in one transaction.

Only those that are new, ordinary and without fault: of the others nothing happens here, and each goes its own way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.access import service as access
from loyalty.access.errors import CredentialsInvalid, ScopeMissing
from loyalty.access.rules import Credential, Scope
from loyalty.checkout import rules, till
from loyalty.checkout.rules import Basket
from loyalty.checkout.service import GUEST_EMAIL
from loyalty.core import idempotency, ids
from loyalty.core.idempotency import Call
from loyalty.core.signing import Keyring
from loyalty.earning import limiting
from loyalty.earning import service as earning
from loyalty.earning.service import Count
from loyalty.members import merging
from loyalty.members import service as members
from loyalty.orders import rules as order_rules
from loyalty.orders import service as orders
from loyalty.orders.errors import CurrencyNotAccepted, PlacedOutOfTime
from loyalty.orders.rules import NewOrder
from loyalty.points import service as points
from loyalty.points.postings import Entry
from loyalty.points.rules import EntryKind, WalletKey
from loyalty.programs.rules import Program
from loyalty.referrals import rewarding

OPERATION: Final = "create_order"
_FAULTS: Final = (CurrencyNotAccepted, PlacedOutOfTime)


class PlacedElsewhere(Exception):
    """One of these orders was placed in the same instant by somebody else; nothing of the group is done."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """An order that somebody wants to place: with which key to the program, as which call, and what of."""

    credential: Credential
    call: Call
    basket: Basket


@dataclass(frozen=True)
class Placed:
    """An order that was placed, how it was counted, what that paid, and the referral it completed with its points."""

    order: NewOrder
    counted: Count | None
    entries: list[Entry]
    referral: tuple[UUID, int] | None


def is_ordinary(basket: Basket) -> bool:
    """Tell whether an order can be placed together with others: no points pay for it, no coupon, no quote."""
    return not (basket.pay_points or basket.hold_id or basket.coupons or basket.quote_id)


async def place(
    session: AsyncSession, *, wanted: Sequence[Wanted], keyring: Keyring, real_now: datetime
) -> list[Placed | None]:
    """Place orders of one program; None for each that is to be placed by itself, of which nothing happened.

    Locks what a single order locks, each kind for all at once: keys, customers, orders, referrals, limits, wallets.
    Raises MergedJustNow, PlacedElsewhere.
    """
    program = await _program(session, wanted, real_now=real_now)
    if program is None:
        return [None] * len(wanted)
    now = program.now(real_now)
    sound = [own for own in _first_of_each(wanted) if _is_sound(own, program=program, now=now)]
    there = await orders.recorded(
        session, program_id=program.id, external_ids=[own.basket.external_id for own in sound]
    )
    drafts = {ids.new(): own for own in sound if own.basket.external_id not in there}
    calls = [(own.call, order_id) for order_id, own in drafts.items()]
    taken = await idempotency.claim_many(session, calls=calls, now=now)
    drafts = {order_id: own for order_id, own in drafts.items() if order_id in taken}
    buyers = await _buyers(session, program_id=program.id, wanted=list(drafts.values()), now=now)
    drawn = [
        _draw(own, order_id=order_id, buyer=None if name is None else buyers[name], keyring=keyring, now=now)
        for order_id, own in drafts.items()
        if (name := _name(own.basket)) is None or name in buyers
    ]
    if len(await orders.record_new(session, program_id=program.id, orders=drawn)) < len(drawn):
        raise PlacedElsewhere
    done = {own.order.id: own for own in await _count(session, program=program, placed=drawn, now=now)}
    await idempotency.give_up(session, calls=[own.call for order_id, own in drafts.items() if order_id not in done])
    made = {own: done[order_id] for order_id, own in drafts.items() if order_id in done}
    return [made.get(own) for own in wanted]


async def _program(session: AsyncSession, wanted: Sequence[Wanted], *, real_now: datetime) -> Program | None:
    """Return the program, if every key is good for placing orders."""
    program = None
    for credential in {own.credential for own in wanted}:
        try:
            caller = await access.authenticate_key(session, credential=credential, real_now=real_now)
            caller.demand(Scope.ORDERS_WRITE)
        except (CredentialsInvalid, ScopeMissing):
            return None
        program = caller.program
    return program


def _first_of_each(wanted: Sequence[Wanted]) -> list[Wanted]:
    """Leave out what repeats a key or an order that is wanted already."""
    keys: set[str] = set()
    external_ids: set[str] = set()
    found = []
    for own in wanted:
        if own.call.key not in keys and own.basket.external_id not in external_ids:
            found.append(own)
        keys.add(own.call.key)
        external_ids.add(own.basket.external_id)
    return found


def _is_sound(own: Wanted, *, program: Program, now: datetime) -> bool:
    try:
        order_rules.check_currency(own.basket.currency, accepted=program.rules.currencies)
        order_rules.check_placed(own.basket.placed_at or now, now=now, late_days=program.rules.late_order_days)
    except _FAULTS:
        return False
    return True


def _name(basket: Basket) -> str | None:
    return basket.customer_id.hex if basket.customer_id else basket.external_customer_id


async def _buyers(
    session: AsyncSession, *, program_id: UUID, wanted: Sequence[Wanted], now: datetime
) -> dict[str, UUID]:
    """Return who buys, by the name that the order gave, created if new, and locked; who is nobody is left out."""
    external = {own.basket.external_customer_id for own in wanted if own.basket.customer_id is None}
    seen = {name: now for name in external if name is not None}
    named = await members.ensure_customers(session, program_id=program_id, named=seen, seen=seen) if seen else {}
    named |= {own.basket.customer_id.hex: own.basket.customer_id for own in wanted if own.basket.customer_id}
    return await merging.lock_heirs(session, program_id=program_id, customers=named) if named else {}


def _draw(own: Wanted, *, order_id: UUID, buyer: UUID | None, keyring: Keyring, now: datetime) -> NewOrder:
    guest = own.basket.email if _name(own.basket) is None else None
    digest = keyring.digest(GUEST_EMAIL, guest) if guest else None
    return rules.new_order(own.basket, order_id=order_id, customer_id=buyer, email_digest=digest, now=now)


async def _count(session: AsyncSession, *, program: Program, placed: Sequence[NewOrder], now: datetime) -> list[Placed]:
    known = await _know(session, program=program, placed=placed)
    counted = {order.id: till.judge(known, order) for order in placed}
    keys = {
        WalletKey(program.id, order.customer_id, award.rule.terms.unit)
        for order in placed
        if order.customer_id is not None and (own := counted[order.id]) is not None
        for award in own.awards
    }
    keys = keys.union(*(waiting.wallets(program.id) for waiting in known.waiting.values()))
    book = await points.open_book(session, program=program, keys=keys, now=now)
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


async def _know(session: AsyncSession, *, program: Program, placed: Sequence[NewOrder]) -> till.Known:
    """Load what decisions need. Locks referrals, then limits."""
    buyers = {order.customer_id for order in placed if order.customer_id is not None}
    paying = {
        order.customer_id for order in placed if order.customer_id is not None and order.paid and order.total_minor
    }
    waiting = await rewarding.lock_waiting(session, program_id=program.id, referee_ids=paying)
    own_orders = [order.id for order in placed]
    bought = (
        await orders.have_bought(session, program_id=program.id, customer_ids=waiting, other_than=own_orders)
        if waiting
        else set()
    )
    concerned = {*buyers, *(referral.advocate_id for referral in waiting.values())}
    standings = await members.standings(session, program_id=program.id, member_ids=concerned) if concerned else {}
    rule_set = await earning.rule_set(session, program_id=program.id)
    terms = [version.terms for version in rule_set.versions]
    numbers: dict[UUID, int] = {}
    if any(own.conditions.count_orders for own in terms):
        numbers = await orders.numbers(session, program_id=program.id, customer_ids=buyers)
        for order in placed:
            if order.customer_id is not None:
                numbers[order.customer_id] -= 1
    attributes: Mapping[UUID, dict[str, str]] = {}
    if any(own.conditions.attributes for own in terms):
        attributes = await members.attributes(session, program_id=program.id, member_ids=buyers)
    counting = {
        (buyer.id, till.counted_at(order, buyer))
        for order in placed
        if order.customer_id is not None and (buyer := standings.get(order.customer_id)) is not None
    }
    limited = {rule.rule_id: rule for _, at in counting for rule in rule_set.at(at)}
    occasions = {(member_id, at.astimezone(program.rules.zone).date()) for member_id, at in counting}
    tally = await limiting.lock(session, program_id=program.id, rules=limited.values(), occasions=occasions)
    return till.Known(
        program=program,
        standings=standings,
        bought=bought,
        waiting={who: own for who, own in waiting.items() if who not in bought},
        numbers=numbers,
        attributes=dict(attributes),
        rule_set=rule_set,
        tally=tally,
    )
