from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.activities import service as activities
from loyalty.core import idempotency, ids
from loyalty.core.idempotency import Call, Claim
from loyalty.core.rows import at_once
from loyalty.core.signing import Keyring
from loyalty.members import service as members
from loyalty.members.rules import Identifiers, Person, Standing
from loyalty.orders import service as orders
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.points import service as points
from loyalty.points.rules import WalletKey
from loyalty.programs.rules import Program
from loyalty.referrals import attributing
from loyalty.referrals import service as referrals
from loyalty.referrals.models import Referral, ReferralTouch
from loyalty.referrals.rules import Claim as AdvocateClaim


@dataclass(frozen=True)
class View:
    """A member as they joined: their own code, who brought them by which claims, and what signing up earned."""

    standing: Standing
    code: str
    referral: Referral | None
    touches: list[ReferralTouch]
    points_earned: int


async def enrol(
    session: AsyncSession,
    *,
    program: Program,
    call: Call,
    identifiers: Identifiers,
    person: Person,
    order: str | None,
    code: str | None,
    click_token: str | None,
    channel: str | None,
    keyring: Keyring,
    now: datetime,
) -> Claim:
    """Make a customer a member, once: identity, wallet, own code, attribution, and what signing up earns.

    The claim's resource is the member. `order` is the storefront's id of the order at whose checkout they join, which
    may come afterwards.
    """
    claim = await idempotency.claim(session, call=call, resource_id=ids.new(), now=now)
    if claim.replayed:
        return claim
    claims = await attributing.claims_of(
        session, program_id=program.id, code=code, click_token=click_token, channel=channel, keyring=keyring
    )
    member_id = await members.enrol(
        session,
        program_id=program.id,
        new_id=claim.resource_id,
        identifiers=identifiers,
        person=person,
        order=order,
        now=now,
    )
    if member_id != claim.resource_id:
        await idempotency.repoint(session, claim, resource_id=member_id, status=claim.status)
    await points.open_wallets(session, keys=[WalletKey(program.id, member_id, program.rules.unit)], now=now)
    await referrals.give_code(session, program_id=program.id, member_id=member_id, now=now)
    await _attribute(session, program_id=program.id, member_id=member_id, claims=claims, now=now)
    await outbox.tell(
        session,
        program_id=program.id,
        events=[enrolled(member_id, at=now)],
    )
    await activities.sign_up(session, program=program, member_id=member_id, now=now)
    return Claim(claim.call, member_id, claim.status, replayed=False)


async def listed(session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]) -> dict[UUID, View]:
    """Return these members as they joined, with their attribution as it is now."""
    if not member_ids:
        return {}
    standings, codes, outcomes, earned = await at_once(
        session,
        members.standings(session, program_id=program_id, member_ids=member_ids),
        referrals.first_codes(session, program_id=program_id, member_ids=member_ids),
        attributing.outcomes(session, program_id=program_id, referee_ids=member_ids),
        activities.sign_up_points(session, program_id=program_id, member_ids=member_ids),
    )
    return {own: View(standings[own], codes[own], *outcomes[own], earned[own]) for own in member_ids}


def enrolled(member_id: UUID, *, at: datetime) -> Event:
    return Event("member.enrolled", member_id, occurred_at=at, recorded_at=at, member_id=member_id)


async def _attribute(
    session: AsyncSession, *, program_id: UUID, member_id: UUID, claims: list[AdvocateClaim], now: datetime
) -> None:
    bought = await orders.have_bought(session, program_id=program_id, customer_ids=[member_id]) if claims else set()
    await attributing.bind(
        session,
        program_id=program_id,
        referee_id=member_id,
        claims=claims,
        has_bought=member_id in bought,
        now=now,
    )
