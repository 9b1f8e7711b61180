"""The SQL of the reports. Every table's condition names one program, no statement reads the server's clock.

Statements are put together from the fragments of this file alone; values are always bound.

`as_of` freezes knowledge: what was recorded, paid, cancelled, closed or ended after it has not happened.
"""

from typing import Any, Final

from sqlalchemy import BigInteger, Date, DateTime, Integer, RowMapping, String, TextClause, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import TypeEngine

from loyalty.metrics.rules import View
from loyalty.metrics.windows import Window

_TYPES: Final[dict[str, TypeEngine[Any]]] = {
    "program_id": Uuid(),
    "zone": String(),
    "previous_starts_at": DateTime(timezone=True),
    "starts_at": DateTime(timezone=True),
    "ends_at": DateTime(timezone=True),
    "tenured_by": DateTime(timezone=True),
    "as_of": DateTime(timezone=True),
    "first": Date(),
    "end": Date(),
    "as_of_day": Date(),
    "horizon": Integer(),
    "grace": Integer(),
    "channels": Integer(),
    "rank_edges": ARRAY(BigInteger()),
    "spend_edges": ARRAY(BigInteger()),
    "gap_edges": ARRAY(BigInteger()),
}

# The one meaning of a counted order, an enrolment and a live binding; a statement that needs one begins with it.
COUNTED = """
    counted AS (
        SELECT o.id, o.external_id, o.customer_id, o.currency, o.total_minor, coalesce(o.channel, '') AS channel,
               o.placed_at, (o.placed_at AT TIME ZONE :zone)::date AS day
        FROM orders o
        WHERE o.program_id = :program_id AND o.placed_at <= :as_of AND o.recorded_at <= :as_of
          AND o.paid_at <= :as_of AND o.payment_recorded_at <= :as_of
          AND (o.cancelled_at IS NULL OR o.cancelled_at > :as_of)
    )"""
ENROLLED = """
    enrolled AS (
        SELECT m.id AS customer_id, m.enrolled_at, m.enrolment_external_order_id AS named_order, m.status,
               CASE WHEN m.closed_at <= :as_of THEN m.closed_at END AS closed_at
        FROM members m
        WHERE m.program_id = :program_id AND m.enrolled_at <= :as_of AND m.recorded_at <= :as_of
    )"""
BOUND = """
    bound AS (
        SELECT r.advocate_id, r.referee_id, known AND r.ended_at <= :as_of IS TRUE AS ended,
               CASE WHEN known THEN r.qualified_at END AS qualified_at,
               known AND r.approved_at <= :as_of IS TRUE AS approved
        FROM referrals r
        CROSS JOIN LATERAL (SELECT coalesce(r.settled_recorded_at, r.ended_at) <= :as_of IS TRUE AS known) AS settled
        WHERE r.program_id = :program_id AND r.attributed_at <= :as_of AND r.recorded_at <= :as_of
    )"""


def statement_of(sql: str, *, given: tuple[str, ...] = ()) -> TextClause:
    """Begin the statement with the fragments `given`; `sql` goes on with SELECT or with more fragments."""
    more = "" if sql.lstrip().startswith("SELECT") else ","
    statement = text(f"WITH {','.join(given)}{more} {sql}" if given else sql)
    # Without a declared type a datetime would be bound as a timestamp without zone.
    names = statement.compile().params.keys()
    return statement.bindparams(*(bindparam(name, type_=_TYPES[name]) for name in names))


# Reports join large intermediate results, of which the planner, lacking statistics, may expect a single row; its
# nested loops then take minutes where hash joins take a second. The setting ends with the transaction.
_PLANNING = text("SELECT set_config('enable_nestloop', 'off', true)")


async def fetch_rows(session: AsyncSession, statement: TextClause, values: dict[str, object]) -> list[RowMapping]:
    await session.execute(_PLANNING)
    return list((await session.execute(statement, values)).mappings())


async def fetch_row(session: AsyncSession, statement: TextClause, values: dict[str, object]) -> RowMapping:
    (row,) = await fetch_rows(session, statement, values)
    return row


def knowledge(view: View) -> dict[str, object]:
    return {"program_id": view.program_id, "as_of": view.as_of}


def placed(view: View, window: Window) -> dict[str, object]:
    return {**knowledge(view), "zone": view.zone.key, "starts_at": window.starts_at, "ends_at": window.ends_at}
