"""The SQL of what customers are known by."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids
from loyalty.core.rows import fetch, insert_new_rows, insert_rows
from loyalty.members import models
from loyalty.members.rules import IdentifierKind, Identifiers


async def find_customers(
    session: AsyncSession, *, program_id: UUID, identifiers: Collection[tuple[IdentifierKind, str]]
) -> dict[tuple[IdentifierKind, str], UUID]:
    """Return which customer each live identifier belongs to."""
    if not identifiers:
        return {}
    found = await fetch(
        session,
        """
        SELECT kind, value, customer_id FROM identifiers
        WHERE program_id = $1 AND removed_at IS NULL
            AND kind = ANY($2::text[]) AND value = ANY($3::text[])
            AND (kind, value) IN (SELECT * FROM unnest($2::text[], $3::text[]))
        """,
        program_id,
        [str(kind) for kind, _ in identifiers],
        [value for _, value in identifiers],
    )
    return {(IdentifierKind(kind), value): customer_id for kind, value, customer_id in found}


async def find_by_external_ids(
    session: AsyncSession, *, program_id: UUID, external_ids: Collection[str]
) -> dict[str, UUID]:
    known = [(IdentifierKind.EXTERNAL_ID, own) for own in external_ids]
    found = await find_customers(session, program_id=program_id, identifiers=known)
    return {value: customer_id for (_, value), customer_id in found.items()}


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
    rows = [
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
    taken = await insert_new_rows(session, models.Identifier, rows, returning="kind")
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
