"""The proof of the books, as one statement: every wallet against its entries, lots, allocations and holds.

Where openings stand for a wallet's first entries, it is proven from these on.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.points.opening_queries import FLOOR


@dataclass(frozen=True)
class Difference:
    """Two figures of one wallet that should be equal and are not."""

    member_id: UUID
    unit: str
    check: str
    expected: int
    found: int


async def list_differences(session: AsyncSession, *, program_id: UUID) -> list[Difference]:
    """Compare every wallet of a program with its entries, lots, allocations and holds; return what does not agree."""
    # Right after a bulk load the planner knows nothing of the tables and would loop over them for minutes.
    await session.execute(text("SET LOCAL enable_nestloop = off"))
    found = await session.execute(text(_VERIFY), {"program_id": program_id})
    return [Difference(*row) for row in found]


async def count_wallets(session: AsyncSession, *, program_id: UUID) -> tuple[int, int]:
    """Return how many wallets a program has, and how many entries, those that openings stand for among them."""
    found = await session.execute(text(_COUNT), {"program_id": program_id})
    row = found.one()
    return int(row[0]), int(row[1])


_COUNT = f"""
SELECT (SELECT count(*) FROM wallets WHERE program_id = :program_id),
    (SELECT count(*) FROM entries WHERE program_id = :program_id AND id >= {FLOOR})
    + coalesce((SELECT entries FROM ledger_openings WHERE program_id = :program_id), 0)
"""  # noqa: S608 -- a constant of ours
_KEPT = f"program_id = :program_id AND id >= {FLOOR}"
_VERIFY = f"""
WITH opened AS (
    SELECT member_id, unit, version, pending, available, held, debt, pending + available + held - debt AS balance
    FROM wallet_openings WHERE program_id = :program_id
), postings AS (
    SELECT member_id, unit, to_account AS account, points FROM entries WHERE {_KEPT}
    UNION ALL
    SELECT member_id, unit, from_account, -points FROM entries WHERE {_KEPT}
    UNION ALL
    SELECT member_id, unit, account, points FROM opened CROSS JOIN LATERAL (
        VALUES ('pending', pending), ('available', available), ('held', held), ('debt', -debt)
    ) AS held_in (account, points)
), accounts AS (
    SELECT member_id, unit,
        coalesce(sum(points) FILTER (WHERE account = 'pending'), 0) AS pending,
        coalesce(sum(points) FILTER (WHERE account = 'available'), 0) AS available,
        coalesce(sum(points) FILTER (WHERE account = 'held'), 0) AS held,
        -coalesce(sum(points) FILTER (WHERE account = 'debt'), 0) AS debt
    FROM postings GROUP BY member_id, unit
), chain AS (
    SELECT member_id, unit, count(*) AS entries,
        count(*) FILTER (
            WHERE numbered.version <> position + coalesce(opened.version, 0)
                OR balance_after <> running + coalesce(opened.balance, 0)
                OR available_after <> numbered.available + coalesce(opened.available, 0)
        ) AS broken
    FROM (
        SELECT member_id, unit, version, balance_after, available_after,
            sum(
                (CASE WHEN to_account = 'available' THEN points ELSE 0 END)
                - (CASE WHEN from_account = 'available' THEN points ELSE 0 END)
            ) OVER own AS available,
            row_number() OVER own AS position,
            sum(
                (CASE WHEN to_account IN ('pending', 'available', 'held', 'debt') THEN points ELSE 0 END)
                - (CASE WHEN from_account IN ('pending', 'available', 'held', 'debt') THEN points ELSE 0 END)
            ) OVER own AS running
        FROM entries WHERE {_KEPT}
        WINDOW own AS (PARTITION BY member_id, unit ORDER BY version)
    ) AS numbered LEFT JOIN opened USING (member_id, unit)
    GROUP BY member_id, unit
), taken AS (
    SELECT lot_id, sum(points) AS points FROM allocations WHERE program_id = :program_id GROUP BY lot_id
), taken_by AS (
    SELECT entry_id, sum(points) AS points FROM allocations WHERE program_id = :program_id GROUP BY entry_id
), granted_by AS (
    SELECT entry_id, sum(granted) AS points FROM lots WHERE program_id = :program_id GROUP BY entry_id
), reserved AS (
    SELECT r.lot_id, sum(r.points) AS points FROM hold_reservations AS r
    JOIN holds AS h ON h.program_id = r.program_id AND h.id = r.hold_id
    WHERE r.program_id = :program_id AND h.program_id = :program_id AND h.ended_at IS NULL GROUP BY r.lot_id
), lot_sums AS (
    SELECT l.member_id, l.unit,
        sum(l.remaining) FILTER (WHERE l.activated_at IS NULL) AS pending,
        sum(l.remaining - l.reserved) FILTER (WHERE l.activated_at IS NOT NULL) AS available,
        sum(l.reserved) AS held,
        count(*) FILTER (WHERE l.remaining <> l.granted + coalesce(t.points, 0)) AS lots_off,
        count(*) FILTER (WHERE l.reserved <> coalesce(r.points, 0)) AS reservations_off,
        count(*) FILTER (WHERE e.id IS NULL AND l.entry_id >= {FLOOR}) AS grants_off
    FROM lots AS l
    LEFT JOIN taken AS t ON t.lot_id = l.id
    LEFT JOIN reserved AS r ON r.lot_id = l.id
    LEFT JOIN entries AS e ON e.program_id = :program_id AND e.id = l.entry_id
        AND e.member_id = l.member_id AND e.unit = l.unit
    WHERE l.program_id = :program_id
    GROUP BY l.member_id, l.unit
), effects AS (
    SELECT e.member_id, e.unit, count(*) AS off FROM entries AS e
    LEFT JOIN taken_by AS a ON a.entry_id = e.id
    LEFT JOIN granted_by AS g ON g.entry_id = e.id
    WHERE e.program_id = :program_id AND e.id >= {FLOOR}
        AND coalesce(a.points, 0) + coalesce(g.points, 0) <>
            (CASE WHEN e.to_account IN ('pending', 'available', 'held') THEN e.points ELSE 0 END)
            - (CASE WHEN e.from_account IN ('pending', 'available', 'held') THEN e.points ELSE 0 END)
    GROUP BY e.member_id, e.unit
), unseen AS (
    SELECT member_id, unit, count(*) AS off FROM (
        SELECT member_id, unit, CASE WHEN activated_at IS NULL THEN activates_at ELSE expires_at END AS due_at
        FROM lots WHERE program_id = :program_id AND remaining > reserved
        UNION ALL
        SELECT member_id, unit, expires_at FROM holds WHERE program_id = :program_id AND ended_at IS NULL
    ) AS dated JOIN wallets USING (member_id, unit)
    WHERE wallets.program_id = :program_id AND due_at < coalesce(next_due_at, 'infinity')
    GROUP BY member_id, unit
)
SELECT w.member_id, w.unit, c.name, c.expected, c.found
FROM wallets AS w
LEFT JOIN accounts AS a ON a.member_id = w.member_id AND a.unit = w.unit
LEFT JOIN opened AS o ON o.member_id = w.member_id AND o.unit = w.unit
LEFT JOIN chain AS n ON n.member_id = w.member_id AND n.unit = w.unit
LEFT JOIN lot_sums AS l ON l.member_id = w.member_id AND l.unit = w.unit
LEFT JOIN effects AS s ON s.member_id = w.member_id AND s.unit = w.unit
LEFT JOIN unseen AS u ON u.member_id = w.member_id AND u.unit = w.unit
CROSS JOIN LATERAL (VALUES
    ('pending_is_sum_of_entries', coalesce(a.pending, 0)::bigint, w.pending),
    ('available_is_sum_of_entries', coalesce(a.available, 0)::bigint, w.available),
    ('held_is_sum_of_entries', coalesce(a.held, 0)::bigint, w.held),
    ('debt_is_sum_of_entries', coalesce(a.debt, 0)::bigint, w.debt),
    ('pending_is_sum_of_lots', coalesce(l.pending, 0)::bigint, w.pending),
    ('available_is_sum_of_lots', coalesce(l.available, 0)::bigint, w.available),
    ('held_is_sum_of_lots', coalesce(l.held, 0)::bigint, w.held),
    ('version_counts_entries', coalesce(n.entries, 0) + coalesce(o.version, 0), w.version),
    ('versions_and_balances_chain', 0::bigint, coalesce(n.broken, 0)::bigint),
    ('lots_match_allocations', 0::bigint, coalesce(l.lots_off, 0)::bigint),
    ('lots_match_holds', 0::bigint, coalesce(l.reservations_off, 0)::bigint),
    ('lots_have_entries', 0::bigint, coalesce(l.grants_off, 0)::bigint),
    ('entries_match_lots', 0::bigint, coalesce(s.off, 0)::bigint),
    ('dates_are_not_missed', 0::bigint, coalesce(u.off, 0)::bigint)
) AS c (name, expected, found)
WHERE w.program_id = :program_id AND c.expected <> c.found
ORDER BY w.member_id, w.unit, c.name
"""  # noqa: S608 -- constants of ours
