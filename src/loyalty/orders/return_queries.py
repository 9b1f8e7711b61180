"""The SQL of what goes back of orders, and what amendments add."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.db import insert_rows
from loyalty.orders import models
from loyalty.orders.errors import ReturnNotFound
from loyalty.orders.returning import NewReturn
from loyalty.orders.rules import Line


async def insert_return(session: AsyncSession, made: NewReturn, *, program_id: UUID) -> bool:
    """Record a return; False if its external id is there already (a parallel one is waited for)."""
    added = await session.execute(
        insert(models.OrderReturn)
        .values(
            program_id=program_id,
            id=made.id,
            order_id=made.order_id,
            number=made.number,
            external_id=made.external_id,
            content_digest=made.content_digest,
            kind=str(made.kind),
            total_minor=made.total_minor,
            reason=made.reason,
            actor=made.actor,
            returned_at=made.returned_at,
            recorded_at=made.recorded_at,
            notes=made.metadata,
        )
        .on_conflict_do_nothing(index_elements=["program_id", "external_id"])
        .returning(models.OrderReturn.id)
    )
    if added.first() is None:
        return False
    await insert_rows(
        session,
        models.OrderReturnLine,
        [
            {
                "program_id": program_id,
                "return_id": made.id,
                "line": line.number,
                "quantity": line.quantity,
                "total_minor": line.total_minor,
            }
            for line in made.lines
        ],
    )
    return True


async def get_return(session: AsyncSession, *, program_id: UUID, return_id: UUID) -> models.OrderReturn:
    made = models.OrderReturn
    found = await session.execute(select(made).where(made.program_id == program_id, made.id == return_id))
    row = found.scalar_one_or_none()
    if row is None:
        raise ReturnNotFound
    return row


async def find_return(session: AsyncSession, *, program_id: UUID, external_id: str) -> models.OrderReturn | None:
    made = models.OrderReturn
    found = await session.execute(select(made).where(made.program_id == program_id, made.external_id == external_id))
    return found.scalar_one_or_none()


async def list_returns(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> list[models.OrderReturn]:
    made = models.OrderReturn
    found = await session.execute(
        select(made).where(made.program_id == program_id, made.order_id == order_id).order_by(made.number)
    )
    return list(found.scalars())


async def list_return_lines(
    session: AsyncSession, *, program_id: UUID, return_ids: Collection[UUID]
) -> list[models.OrderReturnLine]:
    line = models.OrderReturnLine
    found = await session.execute(
        select(line)
        .where(line.program_id == program_id, line.return_id.in_(list(return_ids)))
        .order_by(line.return_id, line.line)
    )
    return list(found.scalars())


async def append_lines(
    session: AsyncSession, lines: Sequence[Line], *, program_id: UUID, order_id: UUID, amendment_id: UUID, first: int
) -> None:
    """Add an amendment's lines to an order that is locked, numbered from `first` on."""
    rows = [
        {"program_id": program_id, "order_id": order_id, "line": number, "amendment_id": amendment_id, **vars(line)}
        for number, line in enumerate(lines, start=first)
    ]
    await insert_rows(session, models.OrderLine, rows)
