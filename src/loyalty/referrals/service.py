from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import idempotency, ids, paging
from loyalty.core.idempotency import Call
from loyalty.core.idempotency import Claim as IdempotentClaim
from loyalty.core.paging import Page
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.referrals import code_queries, codes, models, queries
from loyalty.referrals.codes import CodeKind
from loyalty.referrals.errors import (
    NoActiveCampaign,
    ReferralCodeMistyped,
    ReferralCodeNotAllowed,
    ReferralCodesExhausted,
    ReferralCodeTaken,
    ReferralCodeUnknown,
)
from loyalty.referrals.rules import Campaign

_CODE_ATTEMPTS: Final = 5


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


async def end_campaign(session: AsyncSession, *, program_id: UUID, now: datetime) -> None:
    """End the active campaign; friends bound before keep its terms. Raises NoActiveCampaign."""
    campaign = await active_campaign(session, program_id=program_id)
    await queries.retire_campaigns(session, program_id=program_id, now=now)
    event = Event("campaign.ended", campaign.id, occurred_at=now, recorded_at=now)
    await outbox.tell(session, program_id=program_id, events=[event])


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
    await code_queries.insert_codes(
        session, program_id=program_id, codes=[(codes.generate(), member_id, at) for member_id, at in joined]
    )


async def primary_codes(session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]) -> dict[UUID, str]:
    return await code_queries.primary_codes(session, program_id=program_id, member_ids=member_ids)


async def give_code(session: AsyncSession, *, program_id: UUID, member_id: UUID, now: datetime) -> str:
    """Give a new member a random code of their own."""
    for _ in range(_CODE_ATTEMPTS):
        code = codes.generate()
        if await code_queries.insert_code(
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
    await code_queries.demote_codes(session, program_id=program_id, member_id=member_id)
    if not await code_queries.insert_code(
        session, program_id=program_id, code=code, member_id=member_id, kind=CodeKind.VANITY, now=now
    ):
        raise ReferralCodeTaken
    event = Event("referral_code.chosen", member_id, occurred_at=now, recorded_at=now, member_id=member_id)
    await outbox.tell(session, program_id=program_id, events=[event])
    return claim


async def member_codes(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> list[models.ReferralCode]:
    return await code_queries.list_codes(session, program_id=program_id, member_id=member_id)


async def first_codes(session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]) -> dict[UUID, str]:
    """Return the code that each member got when they joined."""
    return await code_queries.first_codes(session, program_id=program_id, member_ids=member_ids)


async def owners(session: AsyncSession, *, program_id: UUID, codes: Collection[str]) -> dict[str, UUID]:
    """Return whose these codes are, folded ones; what is no live code is left out."""
    return await code_queries.find_code_owners(session, program_id=program_id, codes=codes) if codes else {}


def fold_code(text: str) -> str:
    """Return the folded form of what may be a code. Raises ReferralCodeMistyped, ReferralCodeUnknown."""
    code = codes.fold(text)
    if codes.is_mistyped(code):
        raise ReferralCodeMistyped
    if not codes.is_possible(code):
        raise ReferralCodeUnknown
    return code


async def read_code(session: AsyncSession, *, program_id: UUID, text: str) -> str:
    """Return the folded form of a live code. A mistyped generated one is refused without asking the database."""
    code = fold_code(text)
    if code not in await code_queries.find_code_owners(session, program_id=program_id, codes=[code]):
        raise ReferralCodeUnknown
    return code


async def page(
    session: AsyncSession, *, program_id: UUID, advocate_id: UUID | None, cursor: str | None, limit: int
) -> Page[models.Referral]:
    """List referrals, the last recorded first."""
    before = paging.last_id(cursor)
    rows = await queries.list_referrals(
        session, program_id=program_id, advocate_id=advocate_id, before=before, limit=limit + 1
    )
    return paging.page(rows, limit=limit, key=lambda referral: ids.encode(referral.id))
