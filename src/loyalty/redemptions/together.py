"""Redemptions that wait at the same time, made together in one transaction.

Only those that are new and that nothing keeps from: of the others nothing happens here, and each goes its own way.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import idempotency, ids
from loyalty.core.idempotency import Call, Claim
from loyalty.core.rows import at_once
from loyalty.members import customers
from loyalty.members import service as members
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.points import service as points
from loyalty.points.errors import NotEnoughPoints
from loyalty.points.postings import Entry
from loyalty.points.rules import Source, SourceKind, WalletKey
from loyalty.programs.rules import Program
from loyalty.redemptions import queries
from loyalty.redemptions.service import new_redemption
from loyalty.redemptions.showing import View, listed
from loyalty.rewards import coupons, offering
from loyalty.rewards import service as rewards


@dataclass(frozen=True)
class Wish:
    """Which reward a member wants."""

    member_id: UUID
    reward_id: UUID
    metadata: dict[str, str]


@dataclass(frozen=True)
class _Chance:
    """A wish that may come true, out of which wallet, for how many points."""

    wish: Wish
    offer: rewards.View
    wallet: WalletKey


async def redeem(
    session: AsyncSession, *, program: Program, wanted: Sequence[tuple[Call, Wish]], now: datetime
) -> list[tuple[Claim, View] | None]:
    """Redeem, or repeat what an earlier call heard; None for each that is to be redeemed by itself.

    Locks what a single redemption locks, each kind for all at once: keys, customers, wallets, stock.
    """
    views: dict[UUID, View] = {}
    claims = await idempotency.each_once(
        session,
        wanted,
        resource=lambda _: ids.new(),
        look=partial(_lock_customers, session, program=program),
        make=partial(_make, session, views=views, program=program, now=now),
        now=now,
    )
    before = {claim.resource_id for claim in claims if claim is not None} - views.keys()
    if before:
        views |= await listed(session, program_id=program.id, redemption_ids=before)
    return [None if claim is None else (claim, views[claim.resource_id]) for claim in claims]


async def _lock_customers(session: AsyncSession, wishes: Mapping[UUID, Wish], *, program: Program) -> set[UUID]:
    who = {wish.member_id for wish in wishes.values()}
    return await customers.lock(session, program_id=program.id, customer_ids=who)


async def _make(
    session: AsyncSession,
    wishes: Mapping[UUID, Wish],
    who: Collection[UUID],
    *,
    views: dict[UUID, View],
    program: Program,
    now: datetime,
) -> set[UUID]:
    """Make redemptions of these ids, for customers who are locked; return which were made, all of which `views` get."""
    program_id = program.id
    standings, found = await at_once(
        session,
        members.standings(session, program_id=program_id, member_ids=who),
        rewards.listed(session, program_id=program_id, reward_ids={wish.reward_id for wish in wishes.values()}),
    )
    offers = {own.reward.id: own for own in found}
    chances = {
        redemption_id: _Chance(wish, offer, WalletKey(program_id, wish.member_id, offer.reward.unit))
        for redemption_id, wish in wishes.items()
        if wish.member_id in standings and (offer := offers.get(wish.reward_id)) and not offer.reward.pooled
    }
    book = await points.open_settled(session, program=program, keys={own.wallet for own in chances.values()}, now=now)
    counted = {own.offer.reward.id for own in chances.values() if own.offer.reward.stock_left is not None}
    chances = {redemption_id: own for redemption_id, own in chances.items() if own.wallet in book.wallets}
    costs: Counter[WalletKey] = Counter()
    for own in chances.values():
        costs[own.wallet] += own.offer.reward.cost_points
    stock, _ = await at_once(
        session,
        coupons.lock_stock(session, program_id=program_id, reward_ids=counted),
        points.load_spendable(session, book, costs),
    )
    given: dict[UUID, tuple[_Chance, Entry]] = {}
    limited: set[tuple[UUID, UUID]] = set()
    for redemption_id, own in chances.items():
        reward, pair = own.offer.reward, (own.wish.member_id, own.wish.reward_id)
        if pair in limited or stock.get(reward.id) == 0 or (reward.id in counted and reward.id not in stock):
            continue
        spendable = {reward.unit: book.wallets[own.wallet].spendable}
        standing = standings[own.wish.member_id]
        (barriers,) = await offering.weigh(
            session, [own.offer], program=program, standing=standing, spendable=spendable, now=now
        )
        if barriers:
            continue
        source = Source(SourceKind.REDEMPTION, redemption_id)
        try:
            entry = book.spend(own.wallet, points=reward.cost_points, source=source, occurred_at=book.now)
        except NotEnoughPoints:
            continue
        given[redemption_id] = (own, entry)
        if reward.limit_count is not None:
            limited.add(pair)
        if reward.id in stock:
            stock[reward.id] -= 1
    await points.post(session, book)
    views.update(await _write(session, given, program_id=program_id, now=now))
    return set(given)


async def _write(
    session: AsyncSession, given: Mapping[UUID, tuple[_Chance, Entry]], *, program_id: UUID, now: datetime
) -> dict[UUID, View]:
    named = [(own.offer.reward, redemption_id, own.wish.member_id) for redemption_id, (own, _) in given.items()]
    issued = await coupons.issue_many(session, named, program_id=program_id, now=now)
    rows = [
        new_redemption(
            own.offer.reward,
            redemption_id=redemption_id,
            member_id=own.wish.member_id,
            points=own.offer.reward.cost_points,
            entry_id=entry.id,
            metadata=own.wish.metadata,
            now=now,
        )
        for redemption_id, (own, entry) in given.items()
    ]
    made = await queries.insert_redemptions(session, rows)
    events = [
        Event("redemption.redeemed", redemption_id, occurred_at=now, recorded_at=now, member_id=own.wish.member_id)
        for redemption_id, (own, _) in given.items()
    ]
    await outbox.tell(session, program_id=program_id, events=events)
    return {
        own.id: View(own, coupon, None, entry.balance_after, None)
        for own, coupon, (_, entry) in zip(made, issued, given.values(), strict=True)
    }
