from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import idempotency, ids, paging
from loyalty.core.idempotency import Call
from loyalty.core.idempotency import Claim as IdempotentClaim
from loyalty.core.paging import Page
from loyalty.core.signing import Keyring
from loyalty.members import service as members
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.points.book import Book
from loyalty.points.rules import EntryKind, Source, SourceKind, WalletKey
from loyalty.referrals import codes, models, queries, rules
from loyalty.referrals.codes import CodeKind
from loyalty.referrals.errors import (
    NoActiveCampaign,
    ReferralCodeMistyped,
    ReferralCodeNotAllowed,
    ReferralCodesExhausted,
    ReferralCodeTaken,
    ReferralCodeUnknown,
)
from loyalty.referrals.rules import Campaign, Claim, Completed, Method, PaidSide, Side, State, Touch, Waiting

_CLICK: Final = "loyalty:click"
_CODE_ATTEMPTS: Final = 5


@dataclass(frozen=True)
class Click:
    landing_url: str
    token: str


async def start_campaign(
    session: AsyncSession, *, program_id: UUID, terms: dict[str, Any], now: datetime
) -> models.ReferralCampaign:
    """Start a campaign in place of the active one; friends bound before keep the terms they were bound under."""
    await queries.retire_campaigns(session, program_id=program_id, now=now)
    campaign = models.ReferralCampaign(program_id=program_id, id=ids.new(), started_at=now, retired_at=None, **terms)
    await queries.insert_campaign(session, campaign)
    event = Event("campaign.started", campaign.id, occurred_at=now, recorded_at=now)
    await outbox.tell(session, program_id=program_id, events=[event])
    return campaign


async def active_campaign(session: AsyncSession, *, program_id: UUID) -> models.ReferralCampaign:
    campaign = await queries.find_active_campaign(session, program_id=program_id)
    if campaign is None:
        raise NoActiveCampaign
    return campaign


async def find_campaign(session: AsyncSession, *, program_id: UUID) -> Campaign | None:
    """Return the terms of the active campaign, if there is one."""
    row = await queries.find_active_campaign(session, program_id=program_id)
    return None if row is None else queries.as_campaign(row)


async def give_codes(session: AsyncSession, *, program_id: UUID, joined: Sequence[tuple[UUID, datetime]]) -> None:
    """Give many new members a random code each, in one go."""
    await queries.insert_codes(
        session, program_id=program_id, codes=[(codes.generate(), member_id, at) for member_id, at in joined]
    )


async def primary_codes(session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]) -> dict[UUID, str]:
    return await queries.primary_codes(session, program_id=program_id, member_ids=member_ids)


async def give_code(session: AsyncSession, *, program_id: UUID, member_id: UUID, now: datetime) -> str:
    """Give a new member a random code of their own."""
    for _ in range(_CODE_ATTEMPTS):
        code = codes.generate()
        if await queries.insert_code(
            session, program_id=program_id, code=code, member_id=member_id, kind=CodeKind.GENERATED, now=now
        ):
            return code
    raise ReferralCodesExhausted


async def choose_code(
    session: AsyncSession, *, call: Call, member_id: UUID, text: str, now: datetime
) -> IdempotentClaim:
    """Give a member a chosen code as their primary one, once; the codes they had keep working."""
    claim = await idempotency.claim(session, call=call, resource_id=member_id, now=now)
    if claim.replayed:
        return claim
    program_id = call.program_id
    code = codes.fold(text)
    reason = codes.refuse_vanity(code)
    if reason is not None:
        raise ReferralCodeNotAllowed(reason=reason)
    await queries.demote_codes(session, program_id=program_id, member_id=member_id)
    if not await queries.insert_code(
        session, program_id=program_id, code=code, member_id=member_id, kind=CodeKind.VANITY, now=now
    ):
        raise ReferralCodeTaken
    event = Event("referral_code.chosen", member_id, occurred_at=now, recorded_at=now, member_id=member_id)
    await outbox.tell(session, program_id=program_id, events=[event])
    return claim


async def member_codes(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> list[models.ReferralCode]:
    return await queries.list_codes(session, program_id=program_id, member_id=member_id)


async def first_code(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> str:
    """Return the code that a member got when they joined."""
    return await queries.get_first_code(session, program_id=program_id, member_id=member_id)


async def read_code(session: AsyncSession, *, program_id: UUID, text: str) -> str:
    """Return the folded form of a live code. A mistyped generated one is refused without asking the database."""
    code = codes.fold(text)
    if codes.is_mistyped(code):
        raise ReferralCodeMistyped
    if not codes.is_possible(code):
        raise ReferralCodeUnknown
    if code not in await queries.find_code_owners(session, program_id=program_id, codes=[code]):
        raise ReferralCodeUnknown
    return code


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
    code = await read_code(session, program_id=program_id, text=text)
    campaign = await active_campaign(session, program_id=program_id)
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
        claims.append(Claim(Method.CODE, await read_code(session, program_id=program_id, text=code), channel=channel))
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
    campaign = await find_campaign(session, program_id=program_id)
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


async def outcome(
    session: AsyncSession, *, program_id: UUID, referee_id: UUID
) -> tuple[models.Referral | None, list[models.ReferralTouch]]:
    """Return the live binding of a referee, if any, and all claims that were weighed."""
    return (
        await queries.find_live_referral(session, program_id=program_id, referee_id=referee_id),
        await queries.list_touches(session, program_id=program_id, referee_id=referee_id),
    )


async def lock_waiting(
    session: AsyncSession, *, program_id: UUID, referee_ids: Collection[UUID]
) -> dict[UUID, Waiting]:
    """Lock the referrals of these referees that wait for their order. Comes before any wallet is locked."""
    rows = await queries.lock_waiting_referrals(session, program_id=program_id, referee_ids=referee_ids)
    if not rows:
        return {}
    campaigns = await queries.get_campaigns(
        session, program_id=program_id, campaign_ids={row.campaign_id for row in rows}
    )
    return {
        row.referee_id: Waiting(row.id, row.referee_id, row.advocate_id, row.attributed_at, campaigns[row.campaign_id])
        for row in rows
    }


class Settlement:
    """Referrals that orders of one transaction completed, decided in the book and still to be written."""

    def __init__(self) -> None:
        self._completed: list[Completed] = []
        self._sides: list[PaidSide] = []
        self._events: list[Event] = []

    def reward(
        self, book: Book, waiting: Waiting, *, program_id: UUID, order_id: UUID, at: datetime, barred: Collection[UUID]
    ) -> None:
        """Pay both sides of a referral that an order qualified.

        A member barred from earning gets nothing, which is kept as such; if neither side may earn, it is rejected.
        """
        campaign = waiting.campaign
        sides = (
            (Side.ADVOCATE, waiting.advocate_id, campaign.advocate_points),
            (Side.REFEREE, waiting.referee_id, campaign.referee_points),
        )
        for side, member_id, points in sides:
            entry_id = None
            if points > 0 and member_id not in barred:
                entry_id = book.award(
                    WalletKey(program_id, member_id, campaign.unit),
                    points=points,
                    kind=EntryKind.REFERRAL,
                    source=Source(SourceKind.REFERRAL, waiting.id),
                    occurred_at=at,
                ).id
            paid = points if entry_id else 0
            refused = "may_not_earn" if member_id in barred else None
            self._sides.append(PaidSide(waiting.id, side, member_id, entry_id, paid, refused))
        state = State.REJECTED if len(set(barred)) == len(sides) else State.REWARDED
        self._completed.append(Completed(waiting.id, order_id, state, at, book.now))
        self._events.append(
            Event(f"referral.{state}", waiting.id, occurred_at=at, recorded_at=book.now, member_id=waiting.advocate_id)
        )

    async def write(self, session: AsyncSession, *, program_id: UUID) -> None:
        await queries.set_completed(session, program_id=program_id, completed=self._completed)
        await queries.insert_rewards(session, program_id=program_id, sides=self._sides)
        await outbox.tell(session, program_id=program_id, events=self._events)


async def qualified_by(
    session: AsyncSession, *, program_id: UUID, order_id: UUID
) -> list[tuple[models.Referral, list[models.ReferralReward]]]:
    """Return the referrals that an order completed, with what they paid."""
    return await queries.list_referrals_qualified_by(session, program_id=program_id, order_id=order_id)


async def page(
    session: AsyncSession, *, program_id: UUID, advocate_id: UUID | None, cursor: str | None, limit: int
) -> Page[models.Referral]:
    """List referrals, the last recorded first."""
    before = paging.last_id(cursor)
    rows = await queries.list_referrals(
        session, program_id=program_id, advocate_id=advocate_id, before=before, limit=limit + 1
    )
    return paging.page(rows, limit=limit, key=lambda referral: ids.encode(referral.id))


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
    owner = (await queries.find_code_owners(session, program_id=program_id, codes=[claim.code])).get(claim.code)
    if owner is None:
        return claim
    standing = await members.standing(session, program_id=program_id, member_id=owner)
    return rules.with_advocate(claim, standing)
