"""The SQL of what goes back of orders, and what amendments add."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import fetch_rows, insert_new_rows, insert_rows
from loyalty.orders import models
from loyalty.orders.errors import ReturnNotFound
from loyalty.orders.returning import NewReturn
from loyalty.orders.rules import Line


async def insert_return(session: AsyncSession, made: NewReturn, *, program_id: UUID) -> bool:
    """Record a return; False if its external id is there already (a parallel one is waited for)."""
    row = {
        "program_id": program_id,
        "id": made.id,
        "order_id": made.order_id,
        "number": made.number,
        "external_id": made.external_id,
        "content_digest": made.content_digest,
        "kind": str(made.kind),
        "total_minor": made.total_minor,
        "reason": made.reason,
        "actor": made.actor,
        "returned_at": made.returned_at,
        "recorded_at": made.recorded_at,
        "metadata": made.metadata,
    }
    if not await insert_new_rows(session, models.OrderReturn, [row], returning="id"):
        return False
    lines = [
        {
            "program_id": program_id,
            "return_id": made.id,
            "line": line.number,
            "quantity": line.quantity,
            "total_minor": line.total_minor,
        }
        for line in made.lines
    ]
    await insert_rows(session, models.OrderReturnLine, lines)
    return True


async def get_return(session: AsyncSession, *, program_id: UUID, return_id: UUID) -> models.OrderReturn:
    found = await fetch_rows(session, models.OrderReturn, "WHERE program_id = $1 AND id = $2", program_id, return_id)
    if not found:
        raise ReturnNotFound
    return found[0]


async def find_return(session: AsyncSession, *, program_id: UUID, external_id: str) -> models.OrderReturn | None:
    ending = "WHERE program_id = $1 AND external_id = $2"
    found = await fetch_rows(session, models.OrderReturn, ending, program_id, external_id)
    return found[0] if found else None


async def list_returns(session: AsyncSession, *, program_id: UUID, order_id: UUID) -> list[models.OrderReturn]:
    ending = "WHERE program_id = $1 AND order_id = $2 ORDER BY number"
    return await fetch_rows(session, models.OrderReturn, ending, program_id, order_id)


async def list_return_lines(
    session: AsyncSession, *, program_id: UUID, return_id: UUID
) -> list[models.OrderReturnLine]:
    ending = "WHERE program_id = $1 AND return_id = $2 ORDER BY line"
    return await fetch_rows(session, models.OrderReturnLine, ending, program_id, return_id)


async def list_lines_of_returns(
    session: AsyncSession, *, program_id: UUID, order_id: UUID
) -> list[models.OrderReturnLine]:
    """Return what all returns of an order took of its lines."""
    ending = """
        WHERE program_id = $1 AND return_id IN (SELECT id FROM order_returns WHERE program_id = $1 AND order_id = $2)
        ORDER BY return_id, line
    """
    return await fetch_rows(session, models.OrderReturnLine, ending, program_id, order_id)


async def append_lines(
    session: AsyncSession, lines: Sequence[Line], *, program_id: UUID, order_id: UUID, amendment_id: UUID, first: int
) -> None:
    """Add an amendment's lines to an order that is locked, numbered from `first` on."""
    rows = [
        {"program_id": program_id, "order_id": order_id, "line": number, "amendment_id": amendment_id, **vars(line)}
        for number, line in enumerate(lines, start=first)
    ]
    await insert_rows(session, models.OrderLine, rows)
