from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import idempotency, ids
from loyalty.core.idempotency import Call, Claim
from loyalty.members import service as members
from loyalty.members.errors import MemberMayNotBurn
from loyalty.points import holding
from loyalty.points import models as point_models
from loyalty.points import service as points
from loyalty.points.errors import CaptureExceedsHold, HoldEnded
from loyalty.points.rules import WalletKey, hold_source
from loyalty.programs.rules import Program

_CAPTURED: Final = "captured"
_EXPIRED: Final = "expired"
_LIVE: Final = "live"


@dataclass(frozen=True)
class View:
    """A hold, and how it stands at the moment of reading."""

    hold: point_models.Hold
    now: datetime

    @property
    def state(self) -> str:
        lapsed = self.hold.expires_at <= self.now
        return self.hold.ended_by or (_EXPIRED if lapsed else _LIVE)

    @property
    def ended_at(self) -> datetime | None:
        return self.hold.ended_at or (self.hold.expires_at if self.state == _EXPIRED else None)


async def create(
    session: AsyncSession,
    *,
    program: Program,
    call: Call,
    member_id: UUID,
    unit: str,
    amount: int,
    lifetime: timedelta,
    metadata: dict[str, str],
    now: datetime,
) -> Claim:
    """Lock a member's points for a time, once per key. Raises MemberNotFound, MemberMayNotBurn, NotEnoughPoints."""
    claim = await idempotency.claim(session, call=call, resource_id=ids.new(), now=now)
    if claim.replayed:
        return claim
    if not (await members.standing(session, program_id=program.id, member_id=member_id)).may_burn:
        raise MemberMayNotBurn
    key = WalletKey(program.id, member_id, unit)
    book = await points.open_book(session, program=program, keys=[key], now=now)
    await holding.hold(
        session,
        book,
        key=key,
        points=amount,
        hold_id=claim.resource_id,
        expires_at=max(now, book.wallets[key].last_at) + lifetime,
        notes=metadata,
    )
    await points.post(session, book)
    return claim


async def capture(
    session: AsyncSession, *, program: Program, call: Call, hold_id: UUID, amount: int | None, now: datetime
) -> Claim:
    """Spend what a hold has locked, in whole or part, and free the rest; once, under whatever key.

    Raises HoldNotFound, CaptureExceedsHold, HoldEnded.
    """
    claim = await idempotency.claim(session, call=call, resource_id=hold_id, now=now)
    hold = await holding.get_hold(session, program_id=program.id, hold_id=hold_id)
    if claim.replayed:
        return claim
    wanted = hold.points if amount is None else amount
    if wanted > hold.points:
        raise CaptureExceedsHold(held=hold.points, requested=wanted)
    book = await points.open_book(session, program=program, keys=[_wallet(hold)], now=now)
    live = await holding.live_hold(session, book, hold_id=hold_id)
    if live is None:
        return await _as_before(session, claim, captured=wanted)
    book.capture(live, points=wanted, source=hold_source(hold_id))
    await points.post(session, book)
    return claim


async def release(session: AsyncSession, *, program: Program, call: Call, hold_id: UUID, now: datetime) -> Claim:
    """Give a hold's points back, at once; a hold that is over without a capture stays as it is.

    Raises HoldNotFound, HoldEnded.
    """
    claim = await idempotency.claim(session, call=call, resource_id=hold_id, now=now)
    hold = await holding.get_hold(session, program_id=program.id, hold_id=hold_id)
    if claim.replayed:
        return claim
    book = await points.open_book(session, program=program, keys=[_wallet(hold)], now=now)
    live = await holding.live_hold(session, book, hold_id=hold_id)
    if live is None:
        return await _as_before(session, claim, captured=0)
    book.release(live, source=hold_source(hold_id), occurred_at=now)
    await points.post(session, book)
    return claim


async def get(session: AsyncSession, *, program_id: UUID, hold_id: UUID, now: datetime) -> View:
    return View(await holding.get_hold(session, program_id=program_id, hold_id=hold_id), now)


def _wallet(hold: point_models.Hold) -> WalletKey:
    return WalletKey(hold.program_id, hold.member_id, hold.unit)


async def _as_before(session: AsyncSession, claim: Claim, *, captured: int) -> Claim:
    """Answer a request that found the hold over: it changes nothing if it asks for what has happened already."""
    hold = await holding.get_hold(session, program_id=claim.call.program_id, hold_id=claim.resource_id)
    if hold.captured != captured:
        raise HoldEnded(ended_by=str(hold.ended_by))
    await idempotency.repoint(session, claim, resource_id=hold.id, status=200)
    return Claim(claim.call, hold.id, 200, replayed=False)
