from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.activities import counting, models, queries, rules
from loyalty.activities.errors import ActivityDiffers
from loyalty.activities.rules import BIRTHDAY, SIGNED_UP, NewActivity, Paid
from loyalty.core import idempotency, ids, paging
from loyalty.core.idempotency import Call, Claim
from loyalty.core.paging import Page
from loyalty.earning import service as earning
from loyalty.earning.evaluation import judge_activity
from loyalty.earning.facts import read_facts
from loyalty.earning.verdicts import Verdict
from loyalty.members import merging
from loyalty.members import service as members
from loyalty.members.errors import MemberNotFound
from loyalty.members.rules import Standing
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.points import history as points_history
from loyalty.points import models as point_models
from loyalty.points.rules import EntryKind
from loyalty.programs.policies import start_of_day
from loyalty.programs.rules import Program

_EXISTED: Final = 200


@dataclass(frozen=True)
class View:
    """An activity, what it earned, and what each rule said of it."""

    activity: models.Activity
    awards: list[models.ActivityAward]
    trace: list[Verdict]
    entries: list[point_models.Entry]


async def record(
    session: AsyncSession,
    *,
    program: Program,
    call: Call,
    member_id: UUID,
    type_: str,
    external_id: str | None,
    occurred_at: datetime | None,
    metadata: dict[str, str],
    now: datetime,
) -> Claim:
    """Record what a member did and let it earn, once per key and once per type and external id.

    Locks the customer, the activity by its external id, what limits rules, then wallets. Raises MemberNotFound,
    MergedJustNow, ActivityDiffers, OccurredOutOfTime.
    """
    claim = await idempotency.claim(session, call=call, resource_id=ids.new(), now=now)
    if claim.replayed:
        return claim
    member = await _lock_doer(session, program_id=program.id, member_id=member_id)
    # Of two servers one may be behind: what says no time of its own occurred no sooner than its member joined.
    at = occurred_at or max(now, member.enrolled_at)
    did = NewActivity(claim.resource_id, member.id, type_, external_id, at, now, metadata)
    if not await queries.insert_activity(session, did, program_id=program.id):
        there = await _same(session, did, program_id=program.id, occurred_at=occurred_at)
        await idempotency.repoint(session, claim, resource_id=there, status=_EXISTED)
        return Claim(call, there, _EXISTED, replayed=False)
    rules.check_occurred(occurred_at or now, now=now, late_days=program.rules.late_order_days)
    await counting.count(session, program=program, did=did, member=member)
    await outbox.tell(session, program_id=program.id, events=[_recorded(did)])
    return claim


async def sign_up(session: AsyncSession, *, program: Program, member_id: UUID, now: datetime) -> None:
    """Record that somebody became a member just now, and let it earn. Locks what limits rules, then wallets."""
    did = rules.signing_up(member_id, at=now)
    if not await queries.insert_activity(session, did, program_id=program.id):
        raise AssertionError("a membership begins once")
    member = await members.standing(session, program_id=program.id, member_id=member_id)
    await counting.count(session, program=program, did=did, member=member)
    await outbox.tell(session, program_id=program.id, events=[_recorded(did)])


async def have_birthday(
    session: AsyncSession, *, program: Program, member_id: UUID, at: datetime, now: datetime
) -> None:
    """Record a member's birthday, once a year, and let it earn, if they were a member as it began.

    Locks the customer, what limits rules, then wallets.
    """
    member = await _lock_doer(session, program_id=program.id, member_id=member_id)
    if member.id != member_id or not member.may_earn_at(at):
        return
    zone = program.rules.zone
    year = at.astimezone(zone).year
    since, until = start_of_day(date(year, 1, 1), zone), start_of_day(date(year + 1, 1, 1), zone)
    if await queries.has_activity(
        session, program_id=program.id, member_id=member_id, type_=BIRTHDAY, since=since, until=until
    ):
        return
    did = rules.birthday(member_id, at=at, year=year, now=now)
    if not await queries.insert_activity(session, did, program_id=program.id):
        return
    await counting.count(session, program=program, did=did, member=member)
    await outbox.tell(session, program_id=program.id, events=[_recorded(did)])


async def record_many(session: AsyncSession, *, program_id: UUID, paid: Sequence[Paid]) -> None:
    """Record activities known to be new, with what they earned."""
    await queries.insert_activities(session, [own.judged for own in paid], program_id=program_id)
    await queries.insert_awards(session, paid, program_id=program_id)
    await outbox.tell(session, program_id=program_id, events=[_recorded(own.judged.did) for own in paid])


async def sign_up_points(session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]) -> Counter[UUID]:
    """Return how many points signing up earned each, whoever the membership was merged into since."""
    named = {rules.signing_up_id(member_id): member_id for member_id in member_ids}
    found = await queries.sum_points(session, program_id=program_id, type_=SIGNED_UP, external_ids=named)
    return Counter({named[own]: points for own, points in found.items()})


async def get(session: AsyncSession, *, program: Program, activity_id: UUID) -> View:
    """Return an activity with all that it caused, from stored rows; that its points begin or end is the wallet's."""
    found = await queries.get_activity(session, program_id=program.id, activity_id=activity_id)
    entries = (await points_history.entries_of(session, program_id=program.id, source_ids=[activity_id]))[activity_id]
    return View(
        found,
        await queries.list_awards(session, program_id=program.id, activity_ids=[activity_id]),
        await _trace(session, found, program=program),
        [entry for entry in entries if entry.kind == EntryKind.EARN],
    )


async def page(
    session: AsyncSession, *, program_id: UUID, member_id: UUID | None, cursor: str | None, limit: int
) -> tuple[Page[models.Activity], Counter[UUID]]:
    """List activities, the last recorded first, and how many points each earned. Raises MemberNotFound."""
    if member_id is not None:
        await members.standing(session, program_id=program_id, member_id=member_id)
    before = paging.last_id(cursor)
    rows = await queries.list_activities(
        session, program_id=program_id, member_id=member_id, before=before, limit=limit + 1
    )
    cut = paging.page(rows, limit=limit, key=lambda row: ids.encode(row.id))
    earned: Counter[UUID] = Counter()
    for award in await queries.list_awards(session, program_id=program_id, activity_ids=[row.id for row in cut.data]):
        earned[award.activity_id] += award.points
    return cut, earned


async def hand_over(session: AsyncSession, *, program_id: UUID, giver: UUID, receiver: UUID) -> None:
    """Make what one member did another's."""
    await queries.set_member(session, program_id=program_id, giver=giver, receiver=receiver)


async def forget(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> None:
    """Clear the metadata of what a member did, which may say something of the person."""
    await queries.clear_notes(session, program_id=program_id, member_id=member_id)


async def _lock_doer(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> Standing:
    heir = await merging.lock_heir(session, program_id=program_id, customer_id=member_id)
    if heir is None:
        raise MemberNotFound
    return await members.standing(session, program_id=program_id, member_id=heir)


async def _same(session: AsyncSession, did: NewActivity, *, program_id: UUID, occurred_at: datetime | None) -> UUID:
    """Return the activity that is there; raises ActivityDiffers unless it says the same."""
    there = await queries.get_recorded(session, program_id=program_id, type_=did.type, external_id=str(did.external_id))
    same_time = occurred_at in (None, there.occurred_at)
    if not same_time or (there.member_id, there.notes) != (did.member_id, did.metadata):
        raise ActivityDiffers(activity_id=ids.public("act", there.id))
    return there.id


async def _trace(session: AsyncSession, activity: models.Activity, *, program: Program) -> list[Verdict]:
    """Tell what each rule said when the activity was recorded; empty where none could count it."""
    if activity.rule_set is None:
        return []
    known = await earning.rule_set(session, program_id=program.id, until=activity.rule_set)
    moment = read_facts(activity.facts, local=activity.occurred_at.astimezone(program.rules.zone))
    in_force = known.at(activity.occurred_at, activity=activity.type)
    return judge_activity(in_force, activity=activity.type, moment=moment)


def _recorded(did: NewActivity) -> Event:
    return Event(
        "activity.recorded",
        did.id,
        occurred_at=did.occurred_at,
        recorded_at=did.recorded_at,
        member_id=did.member_id,
    )
