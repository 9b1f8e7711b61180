from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.activities import models
from loyalty.activities.errors import ActivityNotFound
from loyalty.activities.rules import Judged, NewActivity, Paid
from loyalty.core.rows import fetch, insert_new_rows, insert_rows


async def insert_activity(session: AsyncSession, did: NewActivity, *, program_id: UUID) -> bool:
    """Record an activity; False if its type and external id are there already (a parallel one is waited for)."""
    return bool(await insert_new_rows(session, models.Activity, [_row(did, program_id)], returning="id"))


async def insert_activities(session: AsyncSession, judged: Sequence[Judged], *, program_id: UUID) -> None:
    """Record activities known to be new, with how they were judged where any rule did."""
    rows = [_row(own.did, program_id) | (_judgement(own) if own.verdicts else {}) for own in judged]
    await insert_rows(session, models.Activity, rows)


async def set_judgement(session: AsyncSession, judged: Judged, *, program_id: UUID) -> None:
    """Say by what an activity was judged."""
    own = models.Activity
    await session.execute(
        update(own).where(own.program_id == program_id, own.id == judged.did.id).values(_judgement(judged))
    )


async def insert_awards(session: AsyncSession, paid: Sequence[Paid], *, program_id: UUID) -> None:
    rows = [
        {
            "program_id": program_id,
            "activity_id": each.judged.did.id,
            "rule_id": own.rule.rule_id,
            "rule_version": own.rule.version,
            "unit": own.rule.terms.unit,
            "points": own.points,
            "entry_id": each.entries[own.rule.rule_id],
        }
        for each in paid
        for own in each.judged.counting
    ]
    await insert_rows(session, models.ActivityAward, rows)


async def get_activity(session: AsyncSession, *, program_id: UUID, activity_id: UUID) -> models.Activity:
    own = models.Activity
    found = await session.execute(
        select(own).where(own.program_id == program_id, own.id == activity_id),
        execution_options={"populate_existing": True},
    )
    row = found.scalar_one_or_none()
    if row is None:
        raise ActivityNotFound
    return row


async def get_recorded(session: AsyncSession, *, program_id: UUID, type_: str, external_id: str) -> models.Activity:
    """Return the activity of this type and external id."""
    own = models.Activity
    found = await session.execute(
        select(own).where(own.program_id == program_id, own.type == type_, own.external_id == external_id)
    )
    return found.scalar_one()


async def list_activities(
    session: AsyncSession, *, program_id: UUID, member_id: UUID | None, before: UUID | None, limit: int
) -> list[models.Activity]:
    """Return activities, the last recorded first."""
    own = models.Activity
    query = select(own).where(own.program_id == program_id)
    if member_id is not None:
        query = query.where(own.member_id == member_id)
    if before is not None:
        query = query.where(own.id < before)
    return list((await session.execute(query.order_by(own.id.desc()).limit(limit))).scalars())


async def list_awards(
    session: AsyncSession, *, program_id: UUID, activity_ids: Collection[UUID]
) -> list[models.ActivityAward]:
    own = models.ActivityAward
    found = await session.execute(
        select(own)
        .where(own.program_id == program_id, own.activity_id.in_(list(activity_ids)))
        .order_by(own.activity_id, own.rule_id)
    )
    return list(found.scalars())


async def sum_points(
    session: AsyncSession, *, program_id: UUID, type_: str, external_ids: Collection[str]
) -> dict[str, int]:
    """Return how many points the activities of this type and these external ids earned; those without are left out."""
    found = await fetch(
        session,
        """
        SELECT external_id, sum(points)::bigint FROM activities JOIN activity_awards
            ON activity_awards.program_id = activities.program_id AND activity_awards.activity_id = activities.id
        WHERE activities.program_id = $1 AND type = $2 AND external_id = ANY($3::text[]) GROUP BY external_id
        """,
        program_id,
        type_,
        list(external_ids),
    )
    return dict(found)


async def set_member(session: AsyncSession, *, program_id: UUID, giver: UUID, receiver: UUID) -> None:
    own = models.Activity
    await session.execute(
        update(own).where(own.program_id == program_id, own.member_id == giver).values(member_id=receiver)
    )


async def clear_notes(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> None:
    own = models.Activity
    await session.execute(update(own).where(own.program_id == program_id, own.member_id == member_id).values(notes={}))


def _row(did: NewActivity, program_id: UUID) -> dict[str, Any]:
    return {"program_id": program_id, **vars(did), "rule_set": None, "facts": {}}


def _judgement(judged: Judged) -> dict[str, Any]:
    return {"rule_set": judged.rule_set, "facts": judged.facts}


async def lock_birthdays(
    session: AsyncSession, *, program_id: UUID, yesterday: date, wait: bool = False
) -> tuple[date, UUID | None] | None:
    """Return until when birthdays are recorded, and the last member of the day after.

    None while another records some, unless that is waited for. The first ever is the day after `yesterday`.
    """
    own = models.BirthdayProgress
    await session.execute(insert(own).values(program_id=program_id, done_on=yesterday).on_conflict_do_nothing())
    found = await session.execute(
        select(own.done_on, own.after_member).where(own.program_id == program_id).with_for_update(skip_locked=not wait)
    )
    row = found.first()
    return None if row is None else (row[0], row[1])


async def find_birthdays(session: AsyncSession, *, program_id: UUID) -> date | None:
    """Return until when birthdays are recorded."""
    own = models.BirthdayProgress
    return (await session.execute(select(own.done_on).where(own.program_id == program_id))).scalar_one_or_none()


async def set_birthdays(session: AsyncSession, *, program_id: UUID, done_on: date, after: UUID | None) -> None:
    own = models.BirthdayProgress
    await session.execute(update(own).where(own.program_id == program_id).values(done_on=done_on, after_member=after))


async def has_activity(
    session: AsyncSession, *, program_id: UUID, member_id: UUID, type_: str, since: datetime, until: datetime
) -> bool:
    """Tell whether a member has an activity of a type within a span of time."""
    own = models.Activity
    found = await session.execute(
        select(own.id)
        .where(own.program_id == program_id, own.member_id == member_id, own.type == type_)
        .where(own.occurred_at >= since, own.occurred_at < until)
        .limit(1)
    )
    return found.first() is not None
