from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids
from loyalty.core.rows import fetch, fetch_rows, insert_new_rows, insert_rows
from loyalty.members import models
from loyalty.members.errors import MemberNotFound
from loyalty.members.rules import Person, Standing, Status, Suspends


async def insert_members(
    session: AsyncSession,
    *,
    program_id: UUID,
    members: Sequence[tuple[UUID, datetime, str | None]],
    recorded_at: datetime | None = None,
) -> None:
    """Enrol customers: (customer, when, external id of the order at whose checkout)."""
    await insert_rows(
        session,
        models.Member,
        [
            {
                "program_id": program_id,
                "id": customer_id,
                "enrolled_at": at,
                "recorded_at": recorded_at or at,
                "enrolment_external_order_id": order,
                "status": str(Status.ACTIVE),
                "suspends": None,
                "closed_at": None,
            }
            for customer_id, at, order in members
        ],
    )


async def claim_membership(
    session: AsyncSession, *, program_id: UUID, customer_id: UUID, order: str | None, now: datetime
) -> bool:
    """Enrol a customer; False if a membership is there already."""
    row = {
        "program_id": program_id,
        "id": customer_id,
        "enrolled_at": now,
        "recorded_at": now,
        "enrolment_external_order_id": order,
        "status": str(Status.ACTIVE),
    }
    return bool(await insert_new_rows(session, models.Member, [row], returning="id"))


async def list_standings(
    session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]
) -> dict[UUID, Standing]:
    if not member_ids:
        return {}
    found = await fetch(
        session,
        "SELECT id, enrolled_at, status, suspends FROM members WHERE program_id = $1 AND id = ANY($2::uuid[])",
        program_id,
        list(member_ids),
    )
    return {row[0]: _standing(row) for row in found}


async def hold_standings(
    session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]
) -> dict[UUID, Standing]:
    """Return where members stand, in order of id, and keep them standing so until the transaction ends."""
    if not member_ids:
        return {}
    found = await fetch(
        session,
        """
        SELECT id, enrolled_at, status, suspends FROM members
        WHERE program_id = $1 AND id = ANY($2::uuid[]) ORDER BY id FOR SHARE
        """,
        program_id,
        list(member_ids),
    )
    return {row[0]: _standing(row) for row in found}


async def get_member(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> models.Member:
    found = await session.execute(_member(program_id, member_id))
    member = found.scalar_one_or_none()
    if member is None:
        raise MemberNotFound
    return member


async def lock_member(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> models.Member:
    found = await session.execute(_member(program_id, member_id).with_for_update(key_share=True))
    member = found.scalar_one_or_none()
    if member is None:
        raise MemberNotFound
    return member


async def list_members(
    session: AsyncSession, *, program_id: UUID, after: UUID | None, limit: int
) -> list[models.Member]:
    query = select(models.Member).where(models.Member.program_id == program_id)
    if after is not None:
        query = query.where(models.Member.id > after)
    return list((await session.execute(query.order_by(models.Member.id).limit(limit))).scalars())


async def list_members_by_id(
    session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]
) -> list[models.Member]:
    member = models.Member
    query = select(member).where(member.program_id == program_id, member.id.in_(list(member_ids)))
    return list((await session.execute(query)).scalars())


async def list_profiles(
    session: AsyncSession, *, program_id: UUID, customer_ids: Collection[UUID]
) -> dict[UUID, Person]:
    ending = "WHERE program_id = $1 AND customer_id = ANY($2::uuid[])"
    return {
        row.customer_id: Person(row.given_name, row.family_name, row.birth_on, row.locale, row.attributes, row.notes)
        for row in await fetch_rows(session, models.Profile, ending, program_id, list(customer_ids))
    }


async def insert_profiles(
    session: AsyncSession, *, program_id: UUID, persons: Mapping[UUID, Person], now: datetime
) -> None:
    """Keep who customers are of whom nothing is kept yet."""
    await insert_rows(
        session,
        models.Profile,
        [
            {
                "program_id": program_id,
                "customer_id": customer_id,
                "given_name": person.given_name,
                "family_name": person.family_name,
                "birth_on": person.birth_on,
                "locale": person.locale,
                "attributes": person.attributes,
                "metadata": person.notes,
                "updated_at": now,
            }
            for customer_id, person in persons.items()
        ],
    )


async def put_profile(
    session: AsyncSession, *, program_id: UUID, customer_id: UUID, changes: Mapping[str, Any], now: datetime
) -> None:
    """Write the fields of a `Person` named in `changes`; the others stay."""
    values = {**changes, "updated_at": now}
    await session.execute(
        insert(models.Profile)
        .values(program_id=program_id, customer_id=customer_id, **values)
        .on_conflict_do_update(
            index_elements=["program_id", "customer_id"],
            set_={getattr(models.Profile, name): value for name, value in values.items()},
        )
    )


async def change_status(
    session: AsyncSession,
    *,
    program_id: UUID,
    member_id: UUID,
    status: Status,
    suspends: Suspends | None,
    reason: str,
    actor: str,
    now: datetime,
) -> None:
    closed_at = now if status is Status.CLOSED else None
    await session.execute(
        update(models.Member)
        .where(models.Member.program_id == program_id, models.Member.id == member_id)
        .values(status=str(status), suspends=suspends and str(suspends), closed_at=closed_at)
    )
    await session.execute(
        insert(models.MemberStatusChange).values(
            program_id=program_id,
            member_id=member_id,
            id=ids.new(),
            status=str(status),
            suspends=suspends and str(suspends),
            reason=reason,
            actor=actor,
            occurred_at=now,
        )
    )


def _standing(row: Any) -> Standing:
    return Standing(row[0], row[1], Status(row[2]), Suspends(row[3]) if row[3] else None)


def _member(program_id: UUID, member_id: UUID) -> Select[models.Member]:
    return select(models.Member).where(models.Member.program_id == program_id, models.Member.id == member_id)
