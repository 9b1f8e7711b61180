"""Who brought a member: clicks that are proven, claims that are weighed, and the one binding that wins."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids
from loyalty.core.rows import at_once
from loyalty.core.signing import Keyring
from loyalty.members import service as members
from loyalty.members.rules import Standing, Status
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.referrals import code_queries, models, queries, rules
from loyalty.referrals import service as referrals
from loyalty.referrals.rules import Campaign, Claim, Method, Touch, Waiting

_CLICK: Final = "loyalty:click"


@dataclass(frozen=True)
class Click:
    landing_url: str
    token: str


async def click(
    session: AsyncSession,
    *,
    program_id: UUID,
    text: str,
    channel: str | None,
    kind: str,
    keyring: Keyring,
    now: datetime,
) -> Click:
    """Record a visit through a link and sign what it proves: program, code, click, time, channel."""
    code = await referrals.read_code(session, program_id=program_id, text=text)
    campaign = await referrals.active_campaign(session, program_id=program_id)
    click_id = ids.new()
    await queries.insert_click(
        session, program_id=program_id, click_id=click_id, code=code, channel=channel, kind=kind, clicked_at=now
    )
    event = Event("click.recorded", click_id, occurred_at=now, recorded_at=now)
    await outbox.tell(session, program_id=program_id, events=[event])
    claims = {
        "prg": ids.encode(program_id),
        "code": code,
        "clk": ids.encode(click_id),
        "at": int(now.timestamp()),
        "chn": channel,
    }
    return Click(campaign.landing_url, keyring.sign(_CLICK, claims))


async def claims_of(
    session: AsyncSession,
    *,
    program_id: UUID,
    code: str | None,
    click_token: str | None,
    channel: str | None,
    keyring: Keyring,
) -> list[Claim]:
    """Turn what came with a sign-up into claims. A typed code must be right; an old or false click only loses."""
    claims = []
    if code is not None:
        claims.append(
            Claim(Method.CODE, await referrals.read_code(session, program_id=program_id, text=code), channel=channel)
        )
    if click_token is not None:
        claims.append(_read_click(click_token, program_id=program_id, keyring=keyring))
    return [await _with_advocate(session, claim, program_id=program_id) for claim in claims]


@dataclass(frozen=True)
class Binding:
    """All claims on a new member, decided; `waiting` is the referral that the winning one made, if one won."""

    referee_id: UUID
    at: datetime
    touches: list[Touch]
    waiting: Waiting | None

    @classmethod
    def decide(
        cls, claims: Sequence[Claim], *, campaign: Campaign | None, referee_id: UUID, has_bought: bool, now: datetime
    ) -> "Binding":
        touches = rules.attribute(claims, campaign=campaign, referee_id=referee_id, has_bought=has_bought, now=now)
        won = rules.winner(touches)
        if won is None or won.advocate_id is None or campaign is None:
            return cls(referee_id, now, touches, None)
        return cls(referee_id, now, touches, Waiting(ids.new(), referee_id, won.advocate_id, now, campaign))

    @property
    def winner(self) -> Claim | None:
        return rules.winner(self.touches)


async def bind(
    session: AsyncSession,
    *,
    program_id: UUID,
    referee_id: UUID,
    claims: Sequence[Claim],
    has_bought: bool,
    now: datetime,
) -> None:
    """Attribute a new member to at most one advocate, and keep every claim with what became of it."""
    if not claims:
        return
    campaign = await referrals.find_campaign(session, program_id=program_id)
    binding = Binding.decide(claims, campaign=campaign, referee_id=referee_id, has_bought=has_bought, now=now)
    await bind_many(session, program_id=program_id, bindings=[binding])


async def bind_many(session: AsyncSession, *, program_id: UUID, bindings: Sequence[Binding]) -> None:
    """Write decided bindings: every claim with what became of it, and the referrals that won."""
    await queries.insert_touches(
        session, program_id=program_id, touches={binding.referee_id: binding.touches for binding in bindings}
    )
    made = [(binding, binding.waiting, binding.winner) for binding in bindings]
    await queries.insert_referrals(
        session,
        program_id=program_id,
        bindings=[(waiting, won, binding.at) for binding, waiting, won in made if waiting and won],
    )
    await outbox.tell(
        session,
        program_id=program_id,
        events=[
            Event(
                "referral.signed_up",
                waiting.id,
                occurred_at=binding.at,
                recorded_at=binding.at,
                member_id=waiting.advocate_id,
            )
            for binding, waiting, _ in made
            if waiting
        ],
    )


async def outcomes(
    session: AsyncSession, *, program_id: UUID, referee_ids: Collection[UUID]
) -> dict[UUID, tuple[models.Referral | None, list[models.ReferralTouch]]]:
    """Return the live binding of each referee, if any, and all claims that were weighed."""
    live, weighed = await at_once(
        session,
        queries.list_live_referrals(session, program_id=program_id, referee_ids=referee_ids),
        queries.list_touches(session, program_id=program_id, referee_ids=referee_ids),
    )
    bound = {referral.referee_id: referral for referral in live}
    touches: dict[UUID, list[models.ReferralTouch]] = {referee_id: [] for referee_id in referee_ids}
    for touch in weighed:
        touches[touch.referee_id].append(touch)
    return {referee_id: (bound.get(referee_id), own) for referee_id, own in touches.items()}


def _read_click(token: str, *, program_id: UUID, keyring: Keyring) -> Claim:
    claims = keyring.verify(_CLICK, token)
    if claims is None:
        return Claim(Method.CLICK, None, refused="click_not_genuine")
    if claims["prg"] != ids.encode(program_id):
        return Claim(Method.CLICK, None, refused="click_of_another_program")
    return Claim(
        Method.CLICK,
        claims["code"],
        clicked_at=datetime.fromtimestamp(claims["at"], UTC),
        click_id=ids.decode(claims["clk"]),
        channel=claims["chn"],
    )


async def _with_advocate(session: AsyncSession, claim: Claim, *, program_id: UUID) -> Claim:
    if claim.code is None:
        return claim
    owner = (await code_queries.find_code_owners(session, program_id=program_id, codes=[claim.code])).get(claim.code)
    if owner is None:
        return claim
    standing = await _hold(session, owner, program_id=program_id)
    if standing.status is Status.CLOSED:
        # Merged while they were waited for, perhaps: the code is the other one's then.
        now_of = await code_queries.find_code_owners(session, program_id=program_id, codes=[claim.code])
        standing = await _hold(session, now_of.get(claim.code, owner), program_id=program_id)
    return rules.with_advocate(claim, standing)


async def _hold(session: AsyncSession, member_id: UUID, *, program_id: UUID) -> Standing:
    return (await members.hold_standings(session, program_id=program_id, member_ids=[member_id]))[member_id]
