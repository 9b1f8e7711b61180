"""The SQL of the reports. Every table's condition names one program, no statement reads the server's clock.

Statements are put together from the fragments of this file alone; values are always bound.

`as_of` freezes knowledge: what was recorded, paid, cancelled, closed or ended after it has not happened.
"""

from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Date, DateTime, Integer, RowMapping, String, TextClause, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import TypeEngine

from loyalty.metrics import rules
from loyalty.metrics.adjusted import Cell, Grid, Moment, Spread, Stratum
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
_COUNTED = """
    counted AS (
        SELECT o.id, o.external_id, o.customer_id, o.currency, o.total_minor, coalesce(o.channel, '') AS channel,
               o.placed_at, (o.placed_at AT TIME ZONE :zone)::date AS day
        FROM orders o
        WHERE o.program_id = :program_id AND o.placed_at <= :as_of AND o.recorded_at <= :as_of AND o.paid_at <= :as_of
          AND (o.cancelled_at IS NULL OR o.cancelled_at > :as_of)
    )"""
_ENROLLED = """
    enrolled AS (
        SELECT m.id AS customer_id, m.enrolled_at, m.enrolment_external_order_id AS named_order, m.status,
               CASE WHEN m.closed_at <= :as_of THEN m.closed_at END AS closed_at
        FROM members m
        WHERE m.program_id = :program_id AND m.enrolled_at <= :as_of AND m.recorded_at <= :as_of
    )"""
_BOUND = """
    bound AS (
        SELECT r.advocate_id, r.referee_id, r.ended_at <= :as_of IS TRUE AS ended, r.qualified_at,
               r.approved_at <= :as_of IS TRUE AS approved
        FROM referrals r
        WHERE r.program_id = :program_id AND r.attributed_at <= :as_of AND r.recorded_at <= :as_of
    )"""


def _statement(sql: str, *, given: tuple[str, ...] = ()) -> TextClause:
    """Begin the statement with the fragments `given`; `sql` goes on with SELECT or with more fragments."""
    more = "" if sql.lstrip().startswith("SELECT") else ","
    statement = text(f"WITH {','.join(given)}{more} {sql}" if given else sql)
    # Without a declared type a datetime would be bound as a timestamp without zone.
    names = statement.compile().params.keys()
    return statement.bindparams(*(bindparam(name, type_=_TYPES[name]) for name in names))


# Reports join large intermediate results, of which the planner, lacking statistics, may expect a single row; its
# nested loops then take minutes where hash joins take a second. Discouraging them makes plans look so dear that they
# would all be compiled, which takes seconds. Both settings end with the transaction.
_PLANNING = text("SELECT set_config('enable_nestloop', 'off', true), set_config('jit', 'off', true)")


async def _rows(session: AsyncSession, statement: TextClause, values: dict[str, object]) -> list[RowMapping]:
    await session.execute(_PLANNING)
    return list((await session.execute(statement, values)).mappings())


async def _row(session: AsyncSession, statement: TextClause, values: dict[str, object]) -> RowMapping:
    (row,) = await _rows(session, statement, values)
    return row


def _knowledge(view: View) -> dict[str, object]:
    return {"program_id": view.program_id, "as_of": view.as_of}


def _placed(view: View, window: Window) -> dict[str, object]:
    return {**_knowledge(view), "zone": view.zone.key, "starts_at": window.starts_at, "ends_at": window.ends_at}


_SETTLEMENT = _statement("""
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
    row = await _row(
        session, _SETTLEMENT, {**_knowledge(view), "starts_at": window.starts_at, "ends_at": window.ends_at}
    )
    return {
        "cancelled_orders": row["cancelled"],
        "unpaid_orders": row["unpaid"],
        "unidentified_orders": row["unidentified"],
    }


_RETENTION = _statement(
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
    given=(_COUNTED, _ENROLLED),
)


async def list_retention_sets(
    session: AsyncSession, *, view: View, window: Window
) -> dict[rules.Standing, rules.RetentionSets]:
    """Buyers of the window and of the one before, by standing at the first instant of the earlier one."""
    values = {**_placed(view, window), "previous_starts_at": window.previous().starts_at}
    return {
        rules.Standing(row["standing"]): rules.RetentionSets(
            retained=row["retained"], lost=row["lost"], new=row["new"], reactivated=row["reactivated"]
        )
        for row in await _rows(session, _RETENTION, values)
    }


_UNIDENTIFIED = _statement(
    """
    SELECT currency, count(*) AS orders, sum(total_minor)::bigint AS revenue_minor
    FROM counted
    WHERE customer_id IS NULL AND placed_at >= :starts_at AND placed_at < :ends_at
    GROUP BY currency ORDER BY currency
    """,
    given=(_COUNTED,),
)


async def list_unidentified(session: AsyncSession, *, view: View, window: Window) -> list[rules.Takings]:
    return [
        rules.Takings(currency=row["currency"], orders=row["orders"], revenue_minor=row["revenue_minor"])
        for row in await _rows(session, _UNIDENTIFIED, _placed(view, window))
    ]


_REPEAT = _statement(
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
    given=(_COUNTED,),
)


async def count_repeat_buyers(
    session: AsyncSession, *, view: View, window: Window, horizon_days: int
) -> rules.RepeatCounts:
    values: dict[str, object] = {
        **_knowledge(view),
        "zone": view.zone.key,
        "as_of_day": view.as_of_day,
        "first": window.first,
        "end": window.end,
        "horizon": horizon_days,
    }
    row = await _row(session, _REPEAT, values)
    return rules.RepeatCounts(entrants=row["entrants"], repeated=row["repeated"], immature=row["immature"])


_REFERRERS = _statement(
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
    given=(_ENROLLED, _BOUND),
)


async def count_referrers(
    session: AsyncSession, *, view: View, window: Window, tenured_by: datetime
) -> rules.ReferrerCounts:
    """Members eligible in the window, and who of them referred somebody that qualified in it."""
    values: dict[str, object] = {
        **_knowledge(view),
        "starts_at": window.starts_at,
        "ends_at": window.ends_at,
        "tenured_by": tenured_by,
    }
    return rules.ReferrerCounts(**await _row(session, _REFERRERS, values))


_REFERRED = _statement(
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
    given=(_COUNTED, _BOUND),
)


async def count_referred_customers(session: AsyncSession, *, view: View, window: Window) -> rules.ReferredCounts:
    """Count customers whose first counted order is in the window, and who of them have a live binding."""
    return rules.ReferredCounts(**await _row(session, _REFERRED, _placed(view, window)))


# A trial is a counted order of somebody who is not yet a member. `joins` marks the order that an enrolment belongs to:
# the one it names, else the last at or before it, both only if it came within the grace days of the order. A later
# enrolment would carry the days survived until then into its arm (immortal time): there the order stays a control.
_TRIALS = """
    known AS (SELECT * FROM counted WHERE customer_id IS NOT NULL),
    placed AS (
        SELECT id, customer_id, day, placed_at, currency, channel,
               row_number() OVER c AS rank, lead(placed_at) OVER c AS next_at,
               div(sum(total_minor) OVER s, row_number() OVER s)::bigint AS spend,
               dense_rank() OVER d AS day_rank, first_value(day) OVER d AS first_day,
               max(day) OVER (d RANGE BETWEEN UNBOUNDED PRECEDING AND '1 day' PRECEDING) AS previous_day,
               min(day) OVER (PARTITION BY customer_id ORDER BY day DESC
                              RANGE BETWEEN UNBOUNDED PRECEDING AND '1 day' PRECEDING) AS next_day
        FROM known
        WINDOW c AS (PARTITION BY customer_id ORDER BY placed_at, id),
               s AS (PARTITION BY customer_id, currency ORDER BY placed_at, id),
               d AS (PARTITION BY customer_id ORDER BY day)
    ),
    bought AS (
        SELECT *, day - previous_day AS gap, next_day - day AS wait,
               previous_day - max(previous_day) OVER (
                   PARTITION BY customer_id ORDER BY day
                   RANGE BETWEEN UNBOUNDED PRECEDING AND '1 day' PRECEDING) AS gap_before
        FROM placed
    ),
    joined AS (
        SELECT e.customer_id, e.enrolled_at, (e.enrolled_at AT TIME ZONE :zone)::date AS day,
               e.named_order IS NULL AS unnamed, k.id AS order_id, k.placed_at AS order_at
        FROM enrolled e LEFT JOIN known k
          ON k.external_id = e.named_order AND k.customer_id = e.customer_id
         AND (e.enrolled_at AT TIME ZONE :zone)::date - k.day <= :grace
    ),
    candidates AS MATERIALIZED (
        SELECT b.customer_id, b.rank, width_bucket(b.rank, :rank_edges) AS rank_class,
               width_bucket(b.spend, :spend_edges) AS spend_class,
               width_bucket(coalesce(b.gap, 0)::bigint, :gap_edges) AS gap_class,
               b.currency, b.channel, date_trunc('month', b.day::timestamp)::date AS month, b.spend,
               b.gap, b.gap_before, (b.day - b.first_day)::double precision / nullif(b.day_rank - 1, 0) AS mean_gap,
               coalesce(b.wait <= :grace + :horizon, false) AS returned,
               coalesce(b.wait <= :grace, false) AS inside_grace,
               b.day + :grace + :horizon < :as_of_day AS mature,
               coalesce(b.id = j.order_id OR j.unnamed AND j.day - b.day <= :grace
                        AND (b.next_at > j.enrolled_at) IS NOT FALSE, false) AS joins,
               coalesce(j.day - b.day <= :grace + :horizon, false) AS joins_soon
        FROM bought b LEFT JOIN joined j USING (customer_id)
        WHERE b.day >= :first AND b.day < :end
          AND (j.customer_id IS NULL
               OR b.id = j.order_id
               OR b.placed_at <= j.enrolled_at
                  AND (j.order_id IS NULL OR (b.placed_at, b.id) < (j.order_at, j.order_id)))
    ),
    trials AS MATERIALIZED (
        SELECT c.customer_id, c.joins, c.returned::int AS returned, c.month, c.currency, c.channel,
               c.rank_class, c.spend_class, c.gap_class,
               dense_rank() OVER (
                   ORDER BY c.rank_class, c.month, c.currency, c.spend_class, c.gap_class, c.channel) AS stratum,
               (c.gap_before <= :horizon)::int AS short_before,
               c.rank::double precision AS x1, ln(1 + c.spend::double precision) AS x2,
               c.mean_gap AS x3, c.gap::double precision AS x4,
               NOT c.joins AND c.joins_soon AS joins_later
        FROM candidates c WHERE c.mature AND NOT c.inside_grace
    )"""
_COMPARISON = _statement(
    """
    cells AS (
        SELECT stratum, rank_class, month, currency, spend_class, gap_class, channel, joins,
               count(*) AS trials, sum(returned) AS returned,
               count(short_before) AS placebo_trials, coalesce(sum(short_before), 0) AS placebo_short,
               count(*) FILTER (WHERE joins_later) AS joins_later,
               count(x1) AS n1, coalesce(sum(x1), 0) AS s1, coalesce(sum(x1 * x1), 0) AS q1,
               count(x2) AS n2, coalesce(sum(x2), 0) AS s2, coalesce(sum(x2 * x2), 0) AS q2,
               count(x3) AS n3, coalesce(sum(x3), 0) AS s3, coalesce(sum(x3 * x3), 0) AS q3,
               count(x4) AS n4, coalesce(sum(x4), 0) AS s4, coalesce(sum(x4 * x4), 0) AS q4
        FROM trials GROUP BY stratum, rank_class, month, currency, spend_class, gap_class, channel, joins
    ),
    sizes AS (
        SELECT stratum,
               (sum(trials) FILTER (WHERE joins))::double precision AS n1,
               (sum(trials) FILTER (WHERE NOT joins))::double precision AS n0,
               (sum(returned) FILTER (WHERE joins))::double precision AS y1,
               (sum(returned) FILTER (WHERE NOT joins))::double precision AS y0,
               nullif(sum(placebo_trials) FILTER (WHERE joins), 0)::double precision AS m1,
               nullif(sum(placebo_trials) FILTER (WHERE NOT joins), 0)::double precision AS m0,
               (sum(placebo_short) FILTER (WHERE joins))::double precision AS z1,
               (sum(placebo_short) FILTER (WHERE NOT joins))::double precision AS z0
        FROM cells GROUP BY stratum HAVING bool_or(joins) AND bool_or(NOT joins)
    ),
    arms AS (
        SELECT stratum, n1, y1, y0 / n0 AS p0, n1 / n0 * sqrt(n0 / greatest(n0 - 1, 1)) AS weight,
               CASE WHEN n0 > 1 THEN sqrt(n0 / (n0 + 1)) ELSE 1 END AS share,
               m1, m0, z1, z0 / m0 AS q0, m1 / m0 * sqrt(m0 / greatest(m0 - 1, 1)) AS placebo_weight,
               CASE WHEN m0 > 1 THEN sqrt(m0 / (m0 + 1)) ELSE 1 END AS placebo_share
        FROM sizes
    ),
    rates AS MATERIALIZED (
        SELECT sum(y1) / sum(n1) AS a, sum(n1 * p0) / sum(n1) AS b,
               sum(z1 - m1 * q0) / sum(m1) FILTER (WHERE m0 > 0) AS c
        FROM arms
    ),
    influence AS (
        SELECT t.customer_id,
               sum(CASE WHEN joins THEN share * (returned - a) ELSE 0 END) AS on_joined,
               sum(CASE WHEN joins THEN share * (p0 - b) ELSE weight * (returned - p0) END) AS on_control,
               sum(CASE WHEN joins THEN placebo_share * (short_before - q0 - c)
                        ELSE - placebo_weight * (short_before - q0) END) AS on_placebo
        FROM trials t JOIN arms USING (stratum) CROSS JOIN rates GROUP BY t.customer_id
    ),
    spread AS (
        SELECT count(*) AS customers,
               coalesce(sum(on_joined * on_joined), 0) AS joined_squares,
               coalesce(sum(on_joined * on_control), 0) AS crossed,
               coalesce(sum(on_control * on_control), 0) AS control_squares,
               count(on_placebo) AS placebo_customers, coalesce(sum(on_placebo * on_placebo), 0) AS placebo_squares
        FROM influence
    ),
    left_out AS (
        SELECT count(*) FILTER (WHERE NOT mature) AS immature,
               count(*) FILTER (WHERE mature AND inside_grace) AS inside_grace,
               count(*) FILTER (WHERE NOT mature AND joins) AS immature_joins,
               count(*) FILTER (WHERE mature AND inside_grace AND joins) AS inside_grace_joins
        FROM candidates
    )
    SELECT * FROM left_out CROSS JOIN spread LEFT JOIN cells ON true ORDER BY stratum, joins
    """,
    given=(_COUNTED, _ENROLLED, _TRIALS),
)


async def find_trials(
    session: AsyncSession, *, view: View, window: Window, grid: Grid, grace_days: int, horizon_days: int
) -> rules.Trials:
    """Return the trials of the window's orders in cells, and the clustered sums of influence (see `adjusted`)."""
    values: dict[str, object] = {
        **_knowledge(view),
        "zone": view.zone.key,
        "as_of_day": view.as_of_day,
        "first": window.first,
        "end": window.end,
        "grace": grace_days,
        "horizon": horizon_days,
        "rank_edges": grid.rank_edges,
        "spend_edges": grid.spend_edges,
        "gap_edges": grid.gap_edges,
    }
    rows = await _rows(session, _COMPARISON, values)
    held = [row for row in rows if row["trials"] is not None]
    first = rows[0]
    return rules.Trials(
        cells=tuple(_cell(row) for row in held),
        spread=Spread(
            customers=first["customers"],
            joined_squares=first["joined_squares"],
            crossed=first["crossed"],
            control_squares=first["control_squares"],
            placebo_customers=first["placebo_customers"],
            placebo_squares=first["placebo_squares"],
        ),
        controls_joining_later=sum(row["joins_later"] for row in held),
        immature=first["immature"],
        immature_joins=first["immature_joins"],
        inside_grace=first["inside_grace"],
        inside_grace_joins=first["inside_grace_joins"],
    )


def _cell(row: RowMapping) -> Cell:
    return Cell(
        stratum=Stratum(
            rank=row["rank_class"],
            month=row["month"],
            currency=row["currency"],
            spend=row["spend_class"],
            gap=row["gap_class"],
            channel=row["channel"],
        ),
        joined=row["joins"],
        trials=row["trials"],
        returned=row["returned"],
        placebo_trials=row["placebo_trials"],
        placebo_short=row["placebo_short"],
        covariates=tuple(Moment(row[f"n{k}"], row[f"s{k}"], row[f"q{k}"]) for k in (1, 2, 3, 4)),
    )


_JOINS_WITHOUT_TRIAL = _statement(
    """
    joined AS (
        SELECT e.*, (e.enrolled_at AT TIME ZONE :zone)::date AS day FROM enrolled e
        WHERE (e.enrolled_at AT TIME ZONE :zone)::date >= :first AND (e.enrolled_at AT TIME ZONE :zone)::date < :end
    ),
    placed AS (
        SELECT j.customer_id, j.day, j.named_order IS NOT NULL AS named,
               max(c.day) FILTER (WHERE c.external_id = j.named_order) AS named_day,
               max(c.day) FILTER (WHERE c.placed_at <= j.enrolled_at) AS last_day
        FROM joined j LEFT JOIN counted c USING (customer_id)
        GROUP BY j.customer_id, j.day, j.named_order
    )
    SELECT count(*) AS joins,
           count(*) FILTER (WHERE named AND named_day IS NULL) AS order_not_counted,
           count(*) FILTER (WHERE NOT named AND last_day IS NULL) AS before_first_order,
           count(*) FILTER (WHERE day - CASE WHEN named THEN named_day ELSE last_day END > :grace) AS away_from_an_order
    FROM placed
    """,
    given=(_COUNTED, _ENROLLED),
)


async def count_joins(session: AsyncSession, *, view: View, window: Window, grace_days: int) -> rules.JoinCounts:
    """Enrolments of the window, and those of them that belong to no order."""
    values: dict[str, object] = {
        **_knowledge(view),
        "zone": view.zone.key,
        "first": window.first,
        "end": window.end,
        "grace": grace_days,
    }
    return rules.JoinCounts(**await _row(session, _JOINS_WITHOUT_TRIAL, values))


_EVER_MEMBERS = _statement(
    """
    buyers AS (
        SELECT customer_id, count(DISTINCT day) > 1 AS repeated FROM counted WHERE customer_id IS NOT NULL
        GROUP BY customer_id HAVING bool_or(day >= :first AND day < :end)
    )
    SELECT count(e.customer_id) AS members, count(e.customer_id) FILTER (WHERE b.repeated) AS members_repeated,
           count(*) - count(e.customer_id) AS others,
           count(*) FILTER (WHERE b.repeated AND e.customer_id IS NULL) AS others_repeated
    FROM buyers b LEFT JOIN enrolled e USING (customer_id)
    """,
    given=(_COUNTED, _ENROLLED),
)


async def count_ever_members(session: AsyncSession, *, view: View, window: Window) -> rules.EverMembers:
    """Buyers of the window, by whether they are members at `as_of`, and who bought on two days or more at any time."""
    values: dict[str, object] = {
        **_knowledge(view),
        "zone": view.zone.key,
        "first": window.first,
        "end": window.end,
    }
    return rules.EverMembers(**await _row(session, _EVER_MEMBERS, values))


_LINKABLE = _statement(
    """
    arms AS (
        SELECT c.channel, count(*) AS orders,
               count(*) FILTER (WHERE c.customer_id IS NULL) AS unidentified,
               count(*) FILTER (WHERE e.enrolled_at <= c.placed_at OR e.named_order = c.external_id) AS members
        FROM counted c LEFT JOIN enrolled e USING (customer_id)
        WHERE c.day >= :first AND c.day < :end
        GROUP BY c.channel
    ),
    ranked AS (
        SELECT *, CASE WHEN row_number() OVER (ORDER BY orders DESC, channel) <= :channels THEN channel END AS shown
        FROM arms
    )
    SELECT shown AS channel, sum(members)::bigint AS members, sum(unidentified)::bigint AS unidentified,
           sum(orders - members - unidentified)::bigint AS others
    FROM ranked GROUP BY shown ORDER BY sum(orders) DESC, shown
    """,
    given=(_COUNTED, _ENROLLED),
)


async def list_linkable(
    session: AsyncSession, *, view: View, first: date, end: date, channels: int
) -> list[rules.Linkable]:
    """List counted orders by channel and who placed them; beyond the `channels` largest they add up under None."""
    values: dict[str, object] = {
        **_knowledge(view),
        "zone": view.zone.key,
        "first": first,
        "end": end,
        "channels": channels,
    }
    return [rules.Linkable(**row) for row in await _rows(session, _LINKABLE, values)]
