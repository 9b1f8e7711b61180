from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.adjustments import models, queries
from loyalty.adjustments.errors import (
    AdjustmentDiffers,
    ExtensionShortens,
    LotHasNothingExpired,
    LotHasNothingToExtend,
)
from loyalty.adjustments.rules import AdjustmentKind, Asked
from loyalty.core import idempotency, ids, paging
from loyalty.core.idempotency import Call, Claim
from loyalty.core.paging import Page
from loyalty.members import merging
from loyalty.members import service as members
from loyalty.members.errors import MemberAlreadyMerged
from loyalty.points import history as points_history
from loyalty.points import models as point_models
from loyalty.points import service as points
from loyalty.points.book import Book
from loyalty.points.rules import Account, EntryKind, Lot, Source, SourceKind
from loyalty.programs.policies import LotDates
from loyalty.programs.rules import Program

_EXISTED: Final = 200
_OWN: Final = {EntryKind.ADJUST, EntryKind.EXTEND, EntryKind.REINSTATE}
"""What an adjustment does itself; that its points begin or end later is told by the wallet."""


@dataclass(frozen=True)
class View:
    """An adjustment and the entries that it made."""

    adjustment: models.Adjustment
    entries: list[point_models.Entry]


async def adjust(session: AsyncSession, *, program: Program, call: Call, asked: Asked, now: datetime) -> Claim:
    """Give or take points by hand, once per key and external id. Locks the wallet.

    Raises MemberNotFound, DatesOutOfOrder, NotEnoughPoints, AdjustmentDiffers.
    """
    claim = await idempotency.claim(session, call=call, resource_id=ids.new(), now=now)
    if claim.replayed:
        return claim
    made, is_new = await apply(session, program=program, asked=asked, now=now, adjustment_id=claim.resource_id)
    if is_new:
        return claim
    await idempotency.repoint(session, claim, resource_id=made, status=_EXISTED)
    return Claim(call, made, _EXISTED, replayed=False)


async def apply(
    session: AsyncSession, *, program: Program, asked: Asked, now: datetime, adjustment_id: UUID | None = None
) -> tuple[UUID, bool]:
    """Give or take points by hand; return the adjustment, and whether it is new or was there under its external id."""
    own_id = adjustment_id or ids.new()
    await members.standing(session, program_id=program.id, member_id=asked.wallet.member_id)
    try:
        await merging.refuse_merged(session, program_id=program.id, member_ids=[asked.wallet.member_id])
    except MemberAlreadyMerged:
        if there := await _recorded(session, asked):
            return there, False
        raise
    book = await points.open_book(session, program=program, keys=[asked.wallet], now=now)
    there = await _record(session, asked, adjustment_id=own_id, now=now)
    if there is not None:
        return there, False
    asked.check_dates(now)
    await _move(session, book, asked, adjustment_id=own_id, now=now)
    await points.post(session, book)
    return own_id, True


async def extend(
    session: AsyncSession,
    *,
    program: Program,
    call: Call,
    lot_id: UUID,
    expires_at: datetime,
    reason: str,
    actor: str,
    now: datetime,
) -> Claim:
    """Let a lot's free points live longer: they leave it for a lot with a later end.

    Raises LotNotFound, LotHasNothingToExtend, ExtensionShortens.
    """
    claim = await idempotency.claim(session, call=call, resource_id=ids.new(), now=now)
    if claim.replayed:
        return claim
    book, lot = await _open_lot(session, program=program, lot_id=lot_id, now=now)
    if lot.free == 0 or lot.is_pending or (lot.expires_at is None and lot.idle is None):
        raise LotHasNothingToExtend
    if expires_at <= (lot.ends_at(book.wallets[lot.wallet], program.rules.zone) or now):
        raise ExtensionShortens
    asked = Asked(AdjustmentKind.EXTEND, lot.wallet, lot.free, reason, actor, expires_at=expires_at, lot_id=lot_id)
    await _record(session, asked, adjustment_id=claim.resource_id, now=now)
    book.extend(lot, expires_at=expires_at, source=Source(SourceKind.ADJUSTMENT, claim.resource_id))
    await points.post(session, book)
    return claim


async def reinstate(
    session: AsyncSession,
    *,
    program: Program,
    call: Call,
    lot_id: UUID,
    expires_at: datetime,
    reason: str,
    actor: str,
    now: datetime,
) -> Claim:
    """Give a lot's expired points back, as a lot with an end of its own. Raises LotNotFound, LotHasNothingExpired."""
    claim = await idempotency.claim(session, call=call, resource_id=ids.new(), now=now)
    if claim.replayed:
        return claim
    book, lot = await _open_lot(session, program=program, lot_id=lot_id, now=now)
    expired = await points.lapses(session, program_id=program.id, lot_id=lot_id)
    if not expired:
        raise LotHasNothingExpired
    left = sum(lapse.points for lapse in expired)
    asked = Asked(AdjustmentKind.REINSTATE, lot.wallet, left, reason, actor, expires_at=expires_at, lot_id=lot_id)
    asked.check_dates(now)
    await _record(session, asked, adjustment_id=claim.resource_id, now=now)
    for lapse in expired:
        book.award(
            lot.wallet,
            points=lapse.points,
            kind=EntryKind.REINSTATE,
            origin=Account.EXPIRED,
            source=Source(SourceKind.ADJUSTMENT, claim.resource_id),
            occurred_at=now,
            dates=LotDates(expires_at),
            corrects_id=lapse.entry_id,
        )
    await points.post(session, book)
    return claim


async def get(session: AsyncSession, *, program_id: UUID, adjustment_id: UUID) -> View:
    found = await queries.get_adjustment(session, program_id=program_id, adjustment_id=adjustment_id)
    return await _view(session, found)


async def page(
    session: AsyncSession, *, program_id: UUID, member_id: UUID, cursor: str | None, limit: int
) -> Page[View]:
    """List a member's adjustments, the newest first."""
    before = paging.last_id(cursor)
    rows = await queries.list_adjustments(
        session, program_id=program_id, member_id=member_id, before=before, limit=limit + 1
    )
    cut = paging.page(rows, limit=limit, key=lambda row: ids.encode(row.id))
    return Page([await _view(session, row) for row in cut.data], cut.has_more, cut.next_cursor)


async def _view(session: AsyncSession, row: models.Adjustment) -> View:
    entries = (await points_history.entries_of(session, program_id=row.program_id, source_ids=[row.id]))[row.id]
    return View(row, [entry for entry in entries if entry.kind in _OWN])


async def _open_lot(session: AsyncSession, *, program: Program, lot_id: UUID, now: datetime) -> tuple[Book, Lot]:
    """Lock the wallet of a lot, and return the lot as it is then."""
    lot = await points.get_lot(session, program_id=program.id, lot_id=lot_id)
    await merging.refuse_merged(session, program_id=program.id, member_ids=[lot.wallet.member_id])
    book = await points.open_book(session, program=program, keys=[lot.wallet], now=now)
    lot = await points.get_lot(session, program_id=program.id, lot_id=lot_id)
    book.lots.know([lot])
    return book, lot


async def _record(session: AsyncSession, asked: Asked, *, adjustment_id: UUID, now: datetime) -> UUID | None:
    """Record an adjustment; return the one that is there under its external id, if it says the same."""
    if await queries.insert_adjustment(session, asked, adjustment_id=adjustment_id, now=now):
        return None
    return await _recorded(session, asked)


async def _recorded(session: AsyncSession, asked: Asked) -> UUID | None:
    """Return the adjustment that is there under an external id, if any; it must say the same."""
    if asked.external_id is None:
        return None
    there = await queries.find_by_external_id(
        session, program_id=asked.wallet.program_id, external_id=asked.external_id
    )
    if there is not None and there.content_digest != asked.content_digest:
        raise AdjustmentDiffers(adjustment_id=ids.public("adj", there.id))
    return None if there is None else there.id


async def _move(session: AsyncSession, book: Book, asked: Asked, *, adjustment_id: UUID, now: datetime) -> None:
    source = Source(SourceKind.ADJUSTMENT, adjustment_id)
    if asked.points < 0:
        await points.spend(
            session,
            book,
            key=asked.wallet,
            points=-asked.points,
            source=source,
            kind=EntryKind.ADJUST,
            target=Account.ADJUSTED,
        )
        return
    book.award(
        asked.wallet,
        points=asked.points,
        kind=EntryKind.ADJUST,
        origin=Account.OPENING if asked.kind is AdjustmentKind.OPENING else Account.ADJUSTED,
        source=source,
        occurred_at=now,
        activates_at=asked.activates_at,
        dates=LotDates(asked.expires_at) if asked.expires_at else None,
    )
