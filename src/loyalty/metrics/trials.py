"""The SQL of members against non-members, like with like: trials, joins, and who can be recognised at all."""

from datetime import date

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.metrics import rules
from loyalty.metrics.adjusted import Spread
from loyalty.metrics.fragments import COUNTED, ENROLLED, fetch_row, fetch_rows, knowledge, statement_of
from loyalty.metrics.rules import View
from loyalty.metrics.strata import Cell, Grid, Moment, Stratum
from loyalty.metrics.windows import Window

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
_COMPARISON = statement_of(
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
    given=(COUNTED, ENROLLED, _TRIALS),
)


async def find_trials(
    session: AsyncSession, *, view: View, window: Window, grid: Grid, grace_days: int, horizon_days: int
) -> rules.Trials:
    """Return the trials of the window's orders in cells, and the clustered sums of influence (see `adjusted`)."""
    values: dict[str, object] = {
        **knowledge(view),
        "zone": view.zone.key,
        "as_of_day": view.complete_day,
        "first": window.first,
        "end": window.end,
        "grace": grace_days,
        "horizon": horizon_days,
        "rank_edges": grid.rank_edges,
        "spend_edges": grid.spend_edges,
        "gap_edges": grid.gap_edges,
    }
    rows = await fetch_rows(session, _COMPARISON, values)
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


_JOINS_WITHOUT_TRIAL = statement_of(
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
    given=(COUNTED, ENROLLED),
)


async def count_joins(session: AsyncSession, *, view: View, window: Window, grace_days: int) -> rules.JoinCounts:
    """Enrolments of the window, and those of them that belong to no order."""
    values: dict[str, object] = {
        **knowledge(view),
        "zone": view.zone.key,
        "first": window.first,
        "end": window.end,
        "grace": grace_days,
    }
    return rules.JoinCounts(**await fetch_row(session, _JOINS_WITHOUT_TRIAL, values))


_EVER_MEMBERS = statement_of(
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
    given=(COUNTED, ENROLLED),
)


async def count_ever_members(session: AsyncSession, *, view: View, window: Window) -> rules.EverMembers:
    """Buyers of the window, by whether they are members at `as_of`, and who bought on two days or more at any time."""
    values: dict[str, object] = {
        **knowledge(view),
        "zone": view.zone.key,
        "first": window.first,
        "end": window.end,
    }
    return rules.EverMembers(**await fetch_row(session, _EVER_MEMBERS, values))


_LINKABLE = statement_of(
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
    given=(COUNTED, ENROLLED),
)


async def list_linkable(
    session: AsyncSession, *, view: View, first: date, end: date, channels: int
) -> list[rules.Linkable]:
    """List counted orders by channel and who placed them; beyond the `channels` largest they add up under None."""
    values: dict[str, object] = {
        **knowledge(view),
        "zone": view.zone.key,
        "first": first,
        "end": end,
        "channels": channels,
    }
    return [rules.Linkable(**row) for row in await fetch_rows(session, _LINKABLE, values)]
