"""What a coupon does for an order: a lower price, a payment by gift card, or a perk."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("coupon_discounts", sa.Column("effect", sa.Text(), server_default="price_reduction", nullable=False))
    op.execute("UPDATE coupon_discounts SET effect = 'perk' WHERE NOT (0 < ANY (line_minor))")
    op.create_check_constraint(
        op.f("ck_coupon_discounts_effect_known"), "coupon_discounts", "effect IN ('price_reduction', 'tender', 'perk')"
    )


def downgrade() -> None:
    op.drop_column("coupon_discounts", "effect")
