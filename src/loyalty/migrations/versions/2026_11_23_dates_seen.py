"""Wallets that had lost sight of when their points or holds end look for it again.

An order placed late together with a later one of the same member could clear what is due next. No date is lost: it lies
with the lots and holds, and a wallet may look too early, never too late.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute(
        """
        UPDATE wallets SET next_due_at = least(next_due_at, due_at, CASE WHEN next_due_at IS NULL THEN idle_from END)
        FROM (
            SELECT program_id, member_id, unit, min(due_at) AS due_at, min(idle_from) AS idle_from FROM (
                SELECT program_id, member_id, unit,
                    CASE WHEN activated_at IS NULL THEN activates_at ELSE expires_at END AS due_at,
                    CASE WHEN idle_days > 0 OR idle_months > 0 THEN earned_at END AS idle_from
                FROM lots WHERE remaining > reserved
                UNION ALL
                SELECT program_id, member_id, unit, expires_at, NULL FROM holds WHERE ended_at IS NULL
            ) AS dated GROUP BY program_id, member_id, unit
        ) AS seen
        WHERE wallets.program_id = seen.program_id AND wallets.member_id = seen.member_id
            AND wallets.unit = seen.unit AND (
                seen.due_at < coalesce(wallets.next_due_at, 'infinity')
                OR (wallets.next_due_at IS NULL AND seen.idle_from IS NOT NULL)
            )
        """
    )


def downgrade() -> None:
    """A wallet that looks in time stays as it is."""
