"""The SQL of customers, members or not: made, locked, merged, erased."""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import fetch, insert_rows
from loyalty.members import models


async def lock_customers(
    session: AsyncSession, *, program_id: UUID, customer_ids: Collection[UUID]
) -> dict[UUID, UUID | None]:
    """Lock customers in order of id; return those that are there, and into whom each was merged."""
    found = await fetch(
        session,
        """
        SELECT id, merged_into FROM customers
        WHERE program_id = $1 AND id = ANY($2::uuid[]) ORDER BY id FOR NO KEY UPDATE
        """,
        program_id,
        list(customer_ids),
    )
    return dict(found)


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


async def find_merged(session: AsyncSession, *, program_id: UUID, customer_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Return who stands now for these customers, where they were merged into another, who may be merged since too."""
    if not customer_ids:
        return {}
    found = await fetch(
        session,
        """
        WITH RECURSIVE heirs (id, heir) AS (
            SELECT id, merged_into FROM customers
            WHERE program_id = $1 AND id = ANY($2::uuid[]) AND merged_into IS NOT NULL
            UNION ALL
            SELECT heirs.id, next.merged_into FROM heirs
            JOIN customers AS next ON next.program_id = $1 AND next.id = heirs.heir
            WHERE next.merged_into IS NOT NULL
        )
        SELECT heirs.id, heirs.heir FROM heirs
        JOIN customers AS last ON last.program_id = $1 AND last.id = heirs.heir
        WHERE last.merged_into IS NULL
        """,
        program_id,
        list(customer_ids),
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


async def list_there(session: AsyncSession, *, program_id: UUID, customer_ids: Collection[UUID]) -> set[UUID]:
    """Return those of these customers that are there."""
    if not customer_ids:
        return set()
    statement = "SELECT id FROM customers WHERE program_id = $1 AND id = ANY($2::uuid[])"
    return {row[0] for row in await fetch(session, statement, program_id, list(customer_ids))}


async def list_born_on(
    session: AsyncSession, *, program_id: UUID, days: Collection[tuple[int, int]], after: UUID | None, limit: int | None
) -> list[UUID]:
    """Return members who were born on these days of the year and were not merged into others, in order of id."""
    own, customer, member = models.Profile, models.Customer, models.Member
    query = (
        select(own.customer_id)
        .join(customer, (customer.program_id == own.program_id) & (customer.id == own.customer_id))
        .join(member, (member.program_id == own.program_id) & (member.id == own.customer_id))
        .where(
            own.program_id == program_id,
            own.birthday.in_([month * 100 + day for month, day in days]),
            customer.program_id == program_id,
            customer.merged_into.is_(None),
            member.program_id == program_id,
        )
        .order_by(own.customer_id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(own.customer_id > after)
    return list((await session.execute(query)).scalars())


async def list_birthdays(session: AsyncSession, *, program_id: UUID) -> list[tuple[int, int]]:
    """Return the days of the year on which anybody was born."""
    own = models.Profile
    query = select(own.birthday).where(own.program_id == program_id, own.birthday.is_not(None)).distinct()
    return [divmod(birthday, 100) for birthday in (await session.execute(query)).scalars() if birthday is not None]
