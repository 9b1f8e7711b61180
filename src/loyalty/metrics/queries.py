"""The SQL of the figures, one function a statement; what it is put together from is in `fragments`."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.metrics import rules
from loyalty.metrics.fragments import BOUND, COUNTED, ENROLLED, fetch_row, fetch_rows, knowledge, placed, statement_of
from loyalty.metrics.rules import View
from loyalty.metrics.windows import Window

_SETTLEMENT = statement_of("""
    SELECT count(*) FILTER (WHERE o.cancelled_at <= :as_of) AS cancelled,
           count(*) FILTER (WHERE o.cancelled_at <= :as_of IS NOT TRUE AND o.paid_at <= :as_of IS NOT TRUE) AS unpaid,
           count(*) FILTER (WHERE o.cancelled_at <= :as_of IS NOT TRUE AND o.paid_at <= :as_of
                              AND o.customer_id IS NULL) AS unidentified
    FROM orders o
    WHERE o.program_id = :program_id AND o.recorded_at <= :as_of AND o.placed_at <= :as_of
      AND o.placed_at >= :starts_at AND o.placed_at < :ends_at
""")


async def count_orders_left_out(session: AsyncSession, *, view: View, window: Window) -> dict[str, int]:
    """Orders of the window that no customer's figure holds, each under its first reason."""
    row = await fetch_row(
        session, _SETTLEMENT, {**knowledge(view), "starts_at": window.starts_at, "ends_at": window.ends_at}
    )
    return {
        "cancelled_orders": row["cancelled"],
        "unpaid_orders": row["unpaid"],
        "unidentified_orders": row["unidentified"],
    }


_RETENTION = statement_of(
    """
    buyers AS (
        SELECT c.customer_id,
               bool_or(c.placed_at < :previous_starts_at) AS before,
               bool_or(c.placed_at >= :previous_starts_at AND c.placed_at < :starts_at) AS previous,
               bool_or(c.placed_at >= :starts_at) AS present
        FROM counted c
        WHERE c.customer_id IS NOT NULL AND c.placed_at < :ends_at
        GROUP BY c.customer_id
    ),
    standing AS (
        SELECT b.*,
               CASE WHEN e.customer_id IS NULL OR e.enrolled_at >= :ends_at THEN 'non_member'
                    WHEN e.enrolled_at > :previous_starts_at THEN 'joined_during'
                    WHEN e.closed_at <= :previous_starts_at THEN 'non_member'
                    WHEN e.closed_at < :ends_at THEN 'left_during'
                    ELSE 'member' END AS standing
        FROM buyers b LEFT JOIN enrolled e USING (customer_id)
    )
    SELECT standing,
           count(*) FILTER (WHERE previous AND present) AS retained,
           count(*) FILTER (WHERE previous AND NOT present) AS lost,
           count(*) FILTER (WHERE present AND NOT previous AND NOT before) AS new,
           count(*) FILTER (WHERE present AND NOT previous AND before) AS reactivated
    FROM standing WHERE previous OR present GROUP BY standing
    """,
    given=(COUNTED, ENROLLED),
)


async def list_retention_sets(
    session: AsyncSession, *, view: View, window: Window
) -> dict[rules.Standing, rules.RetentionSets]:
    """Buyers of the window and of the one before, by standing at the first instant of the earlier one."""
    values = {**placed(view, window), "previous_starts_at": window.previous().starts_at}
    return {
        rules.Standing(row["standing"]): rules.RetentionSets(
            retained=row["retained"], lost=row["lost"], new=row["new"], reactivated=row["reactivated"]
        )
        for row in await fetch_rows(session, _RETENTION, values)
    }


_UNIDENTIFIED = statement_of(
    """
    SELECT currency, count(*) AS orders, sum(total_minor)::bigint AS revenue_minor
    FROM counted
    WHERE customer_id IS NULL AND placed_at >= :starts_at AND placed_at < :ends_at
    GROUP BY currency ORDER BY currency
    """,
    given=(COUNTED,),
)


async def list_unidentified(session: AsyncSession, *, view: View, window: Window) -> list[rules.Takings]:
    return [
        rules.Takings(currency=row["currency"], orders=row["orders"], revenue_minor=row["revenue_minor"])
        for row in await fetch_rows(session, _UNIDENTIFIED, placed(view, window))
    ]


_REPEAT = statement_of(
    """
    days AS (SELECT DISTINCT customer_id, day FROM counted WHERE customer_id IS NOT NULL),
    firsts AS (
        SELECT customer_id, day AS first, lead(day) OVER w AS second, row_number() OVER w AS rank
        FROM days WINDOW w AS (PARTITION BY customer_id ORDER BY day)
    )
    SELECT count(*) FILTER (WHERE first + :horizon < :as_of_day) AS entrants,
           count(*) FILTER (WHERE first + :horizon < :as_of_day AND second - first <= :horizon) AS repeated,
           count(*) FILTER (WHERE first + :horizon >= :as_of_day) AS immature
    FROM firsts WHERE rank = 1 AND first >= :first AND first < :end
    """,
    given=(COUNTED,),
)


async def count_repeat_buyers(
    session: AsyncSession, *, view: View, window: Window, horizon_days: int
) -> rules.RepeatCounts:
    values: dict[str, object] = {
        **knowledge(view),
        "zone": view.zone.key,
        "as_of_day": view.complete_day,
        "first": window.first,
        "end": window.end,
        "horizon": horizon_days,
    }
    row = await fetch_row(session, _REPEAT, values)
    return rules.RepeatCounts(entrants=row["entrants"], repeated=row["repeated"], immature=row["immature"])


_REFERRERS = statement_of(
    """
    eligible AS (
        SELECT e.customer_id, e.enrolled_at <= :tenured_by AS tenured, e.status = 'suspended' AS suspended
        FROM enrolled e JOIN customers c ON c.program_id = :program_id AND c.id = e.customer_id
        WHERE e.enrolled_at < :ends_at
          AND (e.closed_at IS NULL OR e.closed_at > :starts_at) AND (c.erased_at IS NULL OR c.erased_at > :starts_at)
    ),
    hits AS (
        SELECT b.*, e.customer_id IS NOT NULL AS eligible
        FROM bound b LEFT JOIN eligible e ON e.customer_id = b.advocate_id
        WHERE b.qualified_at >= :starts_at AND b.qualified_at < :ends_at AND b.qualified_at <= :as_of
    ),
    advocates AS (
        SELECT advocate_id, bool_or(approved) AS approved FROM hits WHERE eligible AND NOT ended GROUP BY advocate_id
    )
    SELECT m.*, r.* FROM (
        SELECT count(*) AS members,
               count(*) FILTER (WHERE e.tenured) AS tenured,
               count(*) FILTER (WHERE e.suspended) AS suspended,
               count(*) FILTER (WHERE a.approved) AS approved,
               count(*) FILTER (WHERE a.approved AND e.tenured) AS approved_tenured,
               count(*) FILTER (WHERE a.advocate_id IS NOT NULL) AS qualified
        FROM eligible e LEFT JOIN advocates a ON a.advocate_id = e.customer_id
    ) m CROSS JOIN (
        SELECT count(*) FILTER (WHERE ended) AS ended,
               count(*) FILTER (WHERE NOT ended AND NOT eligible) AS by_others,
               count(*) FILTER (WHERE NOT ended AND eligible AND NOT approved) AS waiting
        FROM hits
    ) r
    """,
    given=(ENROLLED, BOUND),
)


async def count_referrers(
    session: AsyncSession, *, view: View, window: Window, tenured_by: datetime
) -> rules.ReferrerCounts:
    """Members eligible in the window, and who of them referred somebody that qualified in it."""
    values: dict[str, object] = {
        **knowledge(view),
        "starts_at": window.starts_at,
        "ends_at": window.ends_at,
        "tenured_by": tenured_by,
    }
    return rules.ReferrerCounts(**await fetch_row(session, _REFERRERS, values))


_REFERRED = statement_of(
    """
    newcomers AS (
        SELECT customer_id FROM counted WHERE customer_id IS NOT NULL GROUP BY customer_id
        HAVING min(placed_at) >= :starts_at AND min(placed_at) < :ends_at
    ),
    referees AS (SELECT referee_id AS customer_id, bool_or(NOT ended) AS live FROM bound GROUP BY referee_id)
    SELECT count(*) AS newcomers, count(*) FILTER (WHERE r.live) AS referred,
           count(*) FILTER (WHERE NOT r.live) AS ended
    FROM newcomers n LEFT JOIN referees r USING (customer_id)
    """,
    given=(COUNTED, BOUND),
)


async def count_referred_customers(session: AsyncSession, *, view: View, window: Window) -> rules.ReferredCounts:
    """Count customers whose first counted order is in the window, and who of them have a live binding."""
    return rules.ReferredCounts(**await fetch_row(session, _REFERRED, placed(view, window)))
