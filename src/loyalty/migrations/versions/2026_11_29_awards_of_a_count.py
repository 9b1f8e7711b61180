"""What rules gave an order lies with by what it was counted: one row an order, and not one more a rule.

Every order's count is written anew under a lock: some minutes for tens of millions of orders, in which orders can
neither be placed nor read. Servers of the release before can neither record nor show orders from then on: stop them first.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "order_counts",
        sa.Column("awards", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
    )
    op.alter_column("order_counts", "rule_set", existing_type=sa.Integer(), nullable=True)
    op.execute(
        """
        INSERT INTO order_counts (program_id, order_id, counted_at, facts)
        SELECT program_id, order_id, max(orders.placed_at), '{}'
        FROM order_awards JOIN orders USING (program_id)
        WHERE orders.id = order_awards.order_id
        GROUP BY program_id, order_id
        ON CONFLICT DO NOTHING
        """
    )
    op.execute(
        """
        UPDATE order_counts SET awards = given.awards FROM (
            SELECT program_id, order_id, jsonb_agg(jsonb_build_object(
                'rule', rule_id, 'version', rule_version, 'unit', unit, 'base', base_minor, 'points', points,
                'lines', to_jsonb(line_points), 'entry', entry_id
            ) ORDER BY rule_id) AS awards
            FROM order_awards GROUP BY program_id, order_id
        ) AS given
        WHERE given.program_id = order_counts.program_id AND given.order_id = order_counts.order_id
        """
    )
    op.drop_table("order_awards")


def downgrade() -> None:
    op.create_table(
        "order_awards",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("base_minor", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("line_points", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("(points > 0) = (entry_id IS NOT NULL)", name=op.f("ck_order_awards_points_have_an_entry")),
        sa.CheckConstraint("points >= 0", name=op.f("ck_order_awards_points_not_negative")),
        sa.ForeignKeyConstraint(
            ["program_id", "order_id"],
            ["orders.program_id", "orders.id"],
            name=op.f("fk_order_awards_program_id_order_id"),
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "rule_id", "rule_version"],
            ["earning_rule_versions.program_id", "earning_rule_versions.rule_id", "earning_rule_versions.version"],
            name=op.f("fk_order_awards_program_id_rule_id_rule_version"),
        ),
        sa.PrimaryKeyConstraint("program_id", "order_id", "rule_id", name=op.f("pk_order_awards")),
    )
    op.execute(
        """
        INSERT INTO order_awards
            (program_id, order_id, rule_id, rule_version, base_minor, unit, points, line_points, entry_id)
        SELECT program_id, order_id, (own ->> 'rule')::uuid, (own ->> 'version')::int, (own ->> 'base')::bigint,
            own ->> 'unit', (own ->> 'points')::bigint,
            ARRAY(SELECT part::bigint FROM jsonb_array_elements_text(own -> 'lines') WITH ORDINALITY AS one (part, place)
                  ORDER BY place),
            (own ->> 'entry')::uuid
        FROM order_counts CROSS JOIN jsonb_array_elements(awards) AS own
        """
    )
    op.execute("DELETE FROM order_counts WHERE rule_set IS NULL")
    op.alter_column("order_counts", "rule_set", existing_type=sa.Integer(), nullable=False)
    op.drop_column("order_counts", "awards")
