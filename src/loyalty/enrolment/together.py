"""Enrolments that wait at the same time, made together in one transaction.

Only those of people whom nobody knows yet, by codes that are somebody's: of the others nothing happens here, and each
goes its own way.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.activities import counting
from loyalty.activities import service as activities
from loyalty.activities.rules import SIGNED_UP, Judged, signing_up
from loyalty.core import idempotency, ids
from loyalty.core.idempotency import Call, Claim
from loyalty.core.rows import at_once
from loyalty.earning import limiting
from loyalty.earning import service as earning
from loyalty.earning.service import RuleSet
from loyalty.enrolment.service import View, enrolled, listed
from loyalty.members import service as members
from loyalty.members.rules import IdentifierKind, Standing, Status
from loyalty.members.service import Newcomer
from loyalty.outbox import service as outbox
from loyalty.points import service as points
from loyalty.points.rules import WalletKey
from loyalty.programs.rules import Program
from loyalty.referrals import rules as referral_rules
from loyalty.referrals import service as referrals
from loyalty.referrals.attributing import Binding, bind_many
from loyalty.referrals.rules import Campaign, Method
from loyalty.referrals.rules import Claim as AdvocateClaim


@dataclass(frozen=True)
class Wish:
    """Somebody to enrol, and by which code they came, folded, through which channel."""

    newcomer: Newcomer
    code: str | None
    channel: str | None


@dataclass(frozen=True)
class _Seen:
    """Which identifiers are somebody's, whose each code is, the terms of referrals, and the rules."""

    known: set[tuple[IdentifierKind, str]]
    advocates: dict[str, UUID]
    campaign: Campaign | None
    rules: RuleSet


async def enrol(
    session: AsyncSession, *, program: Program, wanted: Sequence[tuple[Call, Wish]], now: datetime
) -> list[tuple[Claim, View] | None]:
    """Enrol people, each once; None for each that is to be enrolled by itself, of which nothing happened."""
    claims = await idempotency.each_once(
        session,
        wanted,
        resource=lambda _: ids.new(),
        look=partial(_look, session, program=program),
        make=partial(_make, session, program=program, now=now),
        now=now,
    )
    made = {claim.resource_id for claim in claims if claim is not None}
    views = await listed(session, program_id=program.id, member_ids=made)
    return [None if claim is None else (claim, views[claim.resource_id]) for claim in claims]


async def _look(session: AsyncSession, wishes: Mapping[UUID, Wish], *, program: Program) -> _Seen:
    named = [own for wish in wishes.values() for own in wish.newcomer.identifiers.items()]
    codes = {wish.code for wish in wishes.values() if wish.code is not None}
    known, advocates, campaign, rules = await at_once(
        session,
        members.owners(session, program_id=program.id, identifiers=named),
        referrals.owners(session, program_id=program.id, codes=codes),
        referrals.find_campaign(session, program_id=program.id),
        earning.rule_set(session, program_id=program.id),
    )
    return _Seen(set(known), advocates, campaign, rules)


async def _make(
    session: AsyncSession, wishes: Mapping[UUID, Wish], seen: _Seen, *, program: Program, now: datetime
) -> set[UUID]:
    """Make members of these ids; return which were made. Locks what limits rules, then wallets, all of them new."""
    strangers = _strangers(wishes, known=seen.known)
    owners = {wish.code: seen.advocates[wish.code] for wish in strangers.values() if wish.code in seen.advocates}
    # Held in the order of members, before anything is written: no merge takes an advocate away meanwhile.
    standings = await members.hold_standings(session, program_id=program.id, member_ids=set(owners.values()))
    advocates = {code: standings[owner] for code, owner in owners.items() if standings[owner].status is Status.ACTIVE}
    joining = {id_: own for id_, own in strangers.items() if own.code is None or own.code in advocates}
    if not joining:
        return set()
    bindings = _bindings(joining, advocates=advocates, campaign=seen.campaign, now=now)
    newcomers = {id_: own.newcomer for id_, own in joining.items()}
    await members.enrol_new(session, program_id=program.id, joining=newcomers, now=now)
    await referrals.give_codes(session, program_id=program.id, joined=[(member_id, now) for member_id in joining])
    await bind_many(session, program_id=program.id, bindings=bindings)
    await outbox.tell(session, program_id=program.id, events=[enrolled(member_id, at=now) for member_id in joining])
    await _sign_up(session, newcomers, program=program, known=seen.rules, now=now)
    return set(joining)


def _strangers(wishes: Mapping[UUID, Wish], *, known: Collection[tuple[IdentifierKind, str]]) -> dict[UUID, Wish]:
    """Leave out who is known by an identifier, or is named twice."""
    seen, found = set(known), {}
    for id_, wish in wishes.items():
        own = set(wish.newcomer.identifiers.items())
        if seen.isdisjoint(own):
            found[id_] = wish
        seen |= own
    return found


def _bindings(
    joining: Mapping[UUID, Wish], *, advocates: Mapping[str, Standing], campaign: Campaign | None, now: datetime
) -> list[Binding]:
    """Decide who brought whom; nobody of these has bought anything yet."""
    claims = {
        id_: referral_rules.with_advocate(
            AdvocateClaim(Method.CODE, wish.code, channel=wish.channel), advocates[wish.code]
        )
        for id_, wish in joining.items()
        if wish.code is not None
    }
    return [
        Binding.decide(
            [claim],
            campaign=campaign,
            referee_id=id_,
            has_bought=False,
            now=now,
        )
        for id_, claim in claims.items()
    ]


async def _sign_up(
    session: AsyncSession, newcomers: Mapping[UUID, Newcomer], *, program: Program, known: RuleSet, now: datetime
) -> None:
    """Record that they signed up, let that earn, and open their wallets."""
    rules, day = known.at(now, activity=SIGNED_UP), now.astimezone(program.rules.zone).date()
    occasions = [(member_id, day) for member_id in newcomers]
    tally = await limiting.lock(session, program_id=program.id, rules=rules, occasions=occasions)
    judged: list[Judged] = [
        counting.judge(
            known,
            signing_up(member_id, at=now),
            zone=program.rules.zone,
            attributes=own.person.attributes,
            tally=tally,
        )
        for member_id, own in newcomers.items()
    ]
    await tally.write(session)
    keys = {WalletKey(program.id, member_id, program.rules.unit) for member_id in newcomers}
    await points.open_wallets(session, keys=keys, now=now)
    paying = set().union(*(own.wallets(program.id) for own in judged))
    book = await points.open_book(session, program=program, keys=paying, now=now)
    paid = [counting.pay(book, own, program_id=program.id) for own in judged]
    await points.post(session, book)
    await activities.record_many(session, program_id=program.id, paid=paid)
