"""Holds that are made or captured at the same time, together in one transaction.

Only where nothing keeps from it: of the others nothing happens here, and each goes its own way.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import idempotency, ids
from loyalty.core.idempotency import Call, Claim
from loyalty.holds.service import View
from loyalty.members import service as members
from loyalty.members.rules import Standing
from loyalty.points import holding
from loyalty.points import models as point_models
from loyalty.points import service as points
from loyalty.points.errors import NotEnoughPoints
from loyalty.points.rules import WalletKey, hold_source
from loyalty.programs.rules import Program


@dataclass(frozen=True)
class NewHold:
    """Points to lock; of the program's own unit unless given."""

    member_id: UUID
    points: int
    unit: str | None
    lifetime: timedelta
    metadata: dict[str, str]


@dataclass(frozen=True)
class Capture:
    """Which hold to capture, and how many of its points; all of them unless given."""

    hold_id: UUID
    points: int | None


async def create(
    session: AsyncSession, *, program: Program, wanted: Sequence[tuple[Call, NewHold]], now: datetime
) -> list[tuple[Claim, View] | None]:
    """Lock points, or repeat what an earlier call heard; None for each that is to be done by itself.

    Locks what a single hold locks, each kind for all at once: keys, wallets.
    """
    made: dict[UUID, point_models.Hold] = {}
    claims = await idempotency.each_once(
        session,
        wanted,
        resource=lambda _: ids.new(),
        look=partial(_standings, session, program=program),
        make=partial(_make, session, made=made, program=program, now=now),
        now=now,
    )
    return await _told(session, claims, made, program=program, now=now)


async def capture(
    session: AsyncSession, *, program: Program, wanted: Sequence[tuple[Call, Capture]], now: datetime
) -> list[tuple[Claim, View] | None]:
    """Spend what holds have locked, or repeat what an earlier call heard; None for each that is to be done by itself.

    Locks what a single capture locks, each kind for all at once: keys, wallets.
    """
    made: dict[UUID, point_models.Hold] = {}
    claims = await idempotency.each_once(
        session,
        wanted,
        resource=lambda own: own.hold_id,
        look=partial(_holds, session, program=program),
        make=partial(_capture, session, made=made, program=program, now=now),
        now=now,
    )
    return await _told(session, claims, made, program=program, now=now)


async def _standings(session: AsyncSession, holds: Mapping[UUID, NewHold], *, program: Program) -> dict[UUID, Standing]:
    who = {own.member_id for own in holds.values()}
    return await members.standings(session, program_id=program.id, member_ids=who)


async def _make(
    session: AsyncSession,
    holds: Mapping[UUID, NewHold],
    standings: Mapping[UUID, Standing],
    *,
    made: dict[UUID, point_models.Hold],
    program: Program,
    now: datetime,
) -> Collection[UUID]:
    """Make holds of these ids, and return which; `made` gets them as they are stored."""
    keys = {
        hold_id: WalletKey(program.id, own.member_id, own.unit or program.rules.unit)
        for hold_id, own in holds.items()
        if (standing := standings.get(own.member_id)) is not None and standing.may_burn
    }
    book = await points.open_settled(session, program=program, keys=set(keys.values()), now=now)
    keys = {hold_id: key for hold_id, key in keys.items() if key in book.wallets}
    wanted: Counter[WalletKey] = Counter()
    for hold_id, key in keys.items():
        wanted[key] += holds[hold_id].points
    await points.load_spendable(session, book, wanted)
    for hold_id, key in keys.items():
        own, last_at = holds[hold_id], book.wallets[key].last_at
        ends = max(now, last_at) + own.lifetime
        try:
            book.hold(key, points=own.points, hold_id=hold_id, expires_at=ends, notes=own.metadata)
        except NotEnoughPoints:
            continue
    await points.post(session, book)
    made.update(holding.holds_of(book, {}))
    return made


async def _holds(
    session: AsyncSession, captures: Mapping[UUID, Capture], *, program: Program
) -> dict[UUID, point_models.Hold]:
    return await holding.list_holds(session, program_id=program.id, hold_ids=captures)


async def _capture(
    session: AsyncSession,
    captures: Mapping[UUID, Capture],
    there: Mapping[UUID, point_models.Hold],
    *,
    made: dict[UUID, point_models.Hold],
    program: Program,
    now: datetime,
) -> Collection[UUID]:
    """Capture holds, and return which; `made` gets them as they are stored then."""
    held = [there[hold_id] for hold_id in captures if hold_id in there]
    keys = {WalletKey(program.id, row.member_id, row.unit) for row in held}
    book = await points.open_settled(session, program=program, keys=keys, now=now)
    live = await holding.live_holds(session, book, hold_ids=[row.id for row in held]) if book.wallets else {}
    for hold_id, hold in live.items():
        wanted = captures[hold_id].points or hold.points
        if wanted <= hold.points and hold.wallet in book.wallets:
            book.capture(hold, points=wanted, source=hold_source(hold_id))
    await points.post(session, book)
    made.update(holding.holds_of(book, there))
    return made


async def _told(
    session: AsyncSession,
    claims: Sequence[Claim | None],
    made: Mapping[UUID, point_models.Hold],
    *,
    program: Program,
    now: datetime,
) -> list[tuple[Claim, View] | None]:
    """Return what calls made, now or before, as it stands."""
    before = {claim.resource_id for claim in claims if claim is not None} - made.keys()
    rows = dict(made)
    if before:
        rows |= await holding.list_holds(session, program_id=program.id, hold_ids=before)
    return [None if claim is None else (claim, View(rows[claim.resource_id], now)) for claim in claims]
