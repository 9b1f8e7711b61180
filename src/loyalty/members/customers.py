"""Whoever has bought, member or not."""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids
from loyalty.core.db import savepoint
from loyalty.members import customer_queries, identifier_queries
from loyalty.members.rules import IdentifierKind


async def ensure(session: AsyncSession, *, program_id: UUID, external_id: str, now: datetime) -> UUID:
    """Return the customer known by an external id, created if new; parallel calls agree on one."""
    key = (IdentifierKind.EXTERNAL_ID, external_id)
    known = await identifier_queries.find_customers(session, program_id=program_id, identifiers=[key])
    if key in known:
        return known[key]
    async with savepoint(session) as attempt:
        customer_id = ids.new()
        await customer_queries.insert_customers(session, program_id=program_id, created={customer_id: now})
        taken = await identifier_queries.claim_identifiers(
            session, program_id=program_id, customer_id=customer_id, identifiers={key[0]: key[1]}, now=now
        )
        if not taken:
            return customer_id
        await attempt.rollback()
    return (await identifier_queries.find_customers(session, program_id=program_id, identifiers=[key]))[key]


async def ensure_many(
    session: AsyncSession, *, program_id: UUID, named: Collection[str], seen: Mapping[str, datetime]
) -> dict[str, UUID]:
    """Return the customers known by these external ids; those in `seen` are created if new, as of their instant."""
    known = await identifier_queries.find_by_external_ids(session, program_id=program_id, external_ids=named)
    # In order of external id, so that two batches with the same newcomers never wait for each other.
    new = {external_id: ids.new() for external_id in sorted(seen) if external_id not in known}
    await customer_queries.insert_customers(
        session, program_id=program_id, created={new[external_id]: seen[external_id] for external_id in new}
    )
    await identifier_queries.insert_identifiers(
        session,
        program_id=program_id,
        rows=[
            (customer_id, IdentifierKind.EXTERNAL_ID, external_id, seen[external_id])
            for external_id, customer_id in new.items()
        ],
    )
    return known | new


async def lock(session: AsyncSession, *, program_id: UUID, customer_ids: Collection[UUID]) -> set[UUID]:
    """Lock customers, and return those that are there.

    Whoever decides on a customer's first order or attribution holds this lock, so that an enrolment and an order at the
    same time see each other.
    """
    return set(await customer_queries.lock_customers(session, program_id=program_id, customer_ids=customer_ids))


async def is_there(session: AsyncSession, *, program_id: UUID, customer_id: UUID) -> bool:
    return bool(await there(session, program_id=program_id, customer_ids=[customer_id]))


async def there(session: AsyncSession, *, program_id: UUID, customer_ids: Collection[UUID]) -> set[UUID]:
    """Return those of these customers that are there."""
    return await customer_queries.list_there(session, program_id=program_id, customer_ids=customer_ids)
