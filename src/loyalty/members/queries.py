from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Select, Uuid, bindparam, delete, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids
from loyalty.core.db import insert_rows
from loyalty.members import models
from loyalty.members.errors import MemberNotFound
from loyalty.members.rules import IdentifierKind, Identifiers, Person, Standing, Status, Suspends


async def find_customers(
    session: AsyncSession, *, program_id: UUID, identifiers: Collection[tuple[IdentifierKind, str]]
) -> dict[tuple[IdentifierKind, str], UUID]:
    """Return which customer each live identifier belongs to."""
    identifier = models.Identifier
    found = await session.execute(
        select(identifier.kind, identifier.value, identifier.customer_id).where(
            identifier.program_id == program_id,
            identifier.removed_at.is_(None),
            tuple_(identifier.kind, identifier.value).in_([(str(kind), value) for kind, value in identifiers]),
        )
    )
    return {(IdentifierKind(kind), value): customer_id for kind, value, customer_id in found}


async def find_by_external_ids(
    session: AsyncSession, *, program_id: UUID, external_ids: Collection[str]
) -> dict[str, UUID]:
    identifier = models.Identifier
    found = await session.execute(
        select(identifier.value, identifier.customer_id).where(
            identifier.program_id == program_id,
            identifier.kind == IdentifierKind.EXTERNAL_ID,
            identifier.removed_at.is_(None),
            identifier.value.in_(list(external_ids)),
        )
    )
    return {row.value: row.customer_id for row in found}


async def lock_customers(session: AsyncSession, *, program_id: UUID, customer_ids: Collection[UUID]) -> set[UUID]:
    """Lock customers in order of id; return those that are there."""
    customer = models.Customer
    found = await session.execute(
        select(customer.id)
        .where(customer.program_id == program_id, customer.id.in_(list(customer_ids)))
        .order_by(customer.id)
        .with_for_update(key_share=True)
    )
    return set(found.scalars())


async def insert_customers(
    session: AsyncSession, *, program_id: UUID, created: Mapping[UUID, datetime], recorded_at: datetime | None = None
) -> None:
    await insert_rows(
        session,
        models.Customer,
        [
            {
                "program_id": program_id,
                "id": customer_id,
                "created_at": at,
                "recorded_at": recorded_at or at,
                "merged_into": None,
                "erased_at": None,
            }
            for customer_id, at in created.items()
        ],
    )


async def insert_identifiers(
    session: AsyncSession, *, program_id: UUID, rows: Sequence[tuple[UUID, IdentifierKind, str, datetime]]
) -> None:
    """Add identifiers known to be free; a parallel taker makes this raise."""
    await insert_rows(
        session,
        models.Identifier,
        [
            {
                "program_id": program_id,
                "id": ids.new(),
                "customer_id": customer_id,
                "kind": str(kind),
                "value": value,
                "added_at": at,
                "removed_at": None,
            }
            for customer_id, kind, value, at in rows
        ],
    )


async def claim_identifiers(
    session: AsyncSession, *, program_id: UUID, customer_id: UUID, identifiers: Identifiers, now: datetime
) -> list[IdentifierKind]:
    """Add identifiers to a customer; return the kinds that are another's, or that this customer has already."""
    if not identifiers:
        return []
    added = await session.execute(
        insert(models.Identifier)
        .values(
            [
                {
                    "program_id": program_id,
                    "id": ids.new(),
                    "customer_id": customer_id,
                    "kind": str(kind),
                    "value": value,
                    "added_at": now,
                }
                for kind, value in sorted(identifiers.items())
            ]
        )
        .on_conflict_do_nothing()
        .returning(models.Identifier.kind)
    )
    taken = {IdentifierKind(kind) for kind in added.scalars()}
    return [kind for kind in sorted(identifiers) if kind not in taken]


async def end_identifiers(
    session: AsyncSession, *, program_id: UUID, customer_id: UUID, kinds: Collection[IdentifierKind], now: datetime
) -> None:
    await session.execute(
        update(models.Identifier)
        .where(
            models.Identifier.program_id == program_id,
            models.Identifier.customer_id == customer_id,
            models.Identifier.kind.in_([str(kind) for kind in kinds]),
            models.Identifier.removed_at.is_(None),
        )
        .values(removed_at=now)
    )


async def list_identifiers(
    session: AsyncSession, *, program_id: UUID, customer_ids: Collection[UUID]
) -> dict[UUID, Identifiers]:
    identifier = models.Identifier
    found = await session.execute(
        select(identifier.customer_id, identifier.kind, identifier.value).where(
            identifier.program_id == program_id,
            identifier.customer_id.in_(list(customer_ids)),
            identifier.removed_at.is_(None),
        )
    )
    known: dict[UUID, Identifiers] = {customer_id: {} for customer_id in customer_ids}
    for customer_id, kind, value in found:
        known[customer_id][IdentifierKind(kind)] = value
    return known


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
    added = await session.execute(
        insert(models.Member)
        .values(
            program_id=program_id,
            id=customer_id,
            enrolled_at=now,
            recorded_at=now,
            enrolment_external_order_id=order,
            status=str(Status.ACTIVE),
        )
        .on_conflict_do_nothing()
        .returning(models.Member.id)
    )
    return added.first() is not None


async def list_standings(
    session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]
) -> dict[UUID, Standing]:
    member = models.Member
    found = await session.execute(
        select(member.id, member.enrolled_at, member.status, member.suspends).where(
            member.program_id == program_id, member.id.in_(list(member_ids))
        )
    )
    return {
        row.id: Standing(row.id, row.enrolled_at, Status(row.status), Suspends(row.suspends) if row.suspends else None)
        for row in found
    }


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
    profile = models.Profile
    found = await session.execute(
        select(profile).where(profile.program_id == program_id, profile.customer_id.in_(list(customer_ids)))
    )
    return {
        row.customer_id: Person(row.given_name, row.family_name, row.birth_on, row.locale, row.attributes, row.notes)
        for row in found.scalars()
    }


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


async def find_merged(session: AsyncSession, *, program_id: UUID, customer_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Return who stands now for these customers, where they were merged into another, who may be merged since too."""
    found = await session.execute(
        text(
            """
            WITH RECURSIVE heirs (id, heir) AS (
                SELECT id, merged_into FROM customers
                WHERE program_id = :program_id AND id = ANY(:ids) AND merged_into IS NOT NULL
                UNION ALL
                SELECT heirs.id, next.merged_into FROM heirs
                JOIN customers AS next ON next.program_id = :program_id AND next.id = heirs.heir
                WHERE next.merged_into IS NOT NULL
            )
            SELECT heirs.id, heirs.heir FROM heirs
            JOIN customers AS last ON last.program_id = :program_id AND last.id = heirs.heir
            WHERE last.merged_into IS NULL
            """
        ).bindparams(bindparam("ids", type_=ARRAY(Uuid())), bindparam("program_id", type_=Uuid())),
        {"program_id": program_id, "ids": list(customer_ids)},
    )
    return {row[0]: row[1] for row in found}


async def set_merged(session: AsyncSession, *, program_id: UUID, customer_id: UUID, into: UUID) -> None:
    """Say into whom a customer was merged."""
    customer = models.Customer
    await session.execute(
        update(customer).where(customer.program_id == program_id, customer.id == customer_id).values(merged_into=into)
    )


async def set_erased(session: AsyncSession, *, program_id: UUID, customer_id: UUID, now: datetime) -> bool:
    """Mark a customer as erased; False if they were before."""
    customer = models.Customer
    marked = await session.execute(
        update(customer)
        .where(customer.program_id == program_id, customer.id == customer_id, customer.erased_at.is_(None))
        .values(erased_at=now)
        .returning(customer.id)
    )
    return marked.first() is not None


async def delete_personal(session: AsyncSession, *, program_id: UUID, customer_id: UUID) -> None:
    """Delete a customer's identifiers, former ones included, and profile."""
    for table in (models.Identifier, models.Profile):
        await session.execute(delete(table).where(table.program_id == program_id, table.customer_id == customer_id))


async def hand_over_identifiers(
    session: AsyncSession, *, program_id: UUID, giver: UUID, receiver: UUID, kinds: Collection[IdentifierKind]
) -> None:
    """Let another customer be known by these identifiers of one."""
    identifier = models.Identifier
    await session.execute(
        update(identifier)
        .where(
            identifier.program_id == program_id,
            identifier.customer_id == giver,
            identifier.kind.in_([str(kind) for kind in kinds]),
            identifier.removed_at.is_(None),
        )
        .values(customer_id=receiver)
    )


def _member(program_id: UUID, member_id: UUID) -> Select[models.Member]:
    return select(models.Member).where(models.Member.program_id == program_id, models.Member.id == member_id)
