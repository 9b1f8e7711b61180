"""The first schema.

Made for lots, allocations, holds, several units and rule versions from the start; program_id leads every tenant's key.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "customers",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("merged_into", sa.Uuid(), nullable=True),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["program_id", "merged_into"],
            ["customers.program_id", "customers.id"],
            name=op.f("fk_customers_program_id_merged_into"),
        ),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_customers")),
    )
    op.create_table(
        "earning_rules",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_earning_rules")),
    )
    op.create_table(
        "events",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=True),
        sa.Column("customer_id", sa.Uuid(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_events")),
    )
    op.create_index(
        "ix_events_unnumbered", "events", ["program_id", "id"], unique=False, postgresql_where=sa.text("number IS NULL")
    )
    op.create_index(
        "uq_events_number",
        "events",
        ["program_id", "number"],
        unique=True,
        postgresql_where=sa.text("number IS NOT NULL"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("program_id", "operation", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_recorded", "idempotency_keys", ["program_id", "recorded_at"], unique=False)
    op.create_table(
        "managers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_managers")),
        sa.UniqueConstraint("email", name=op.f("uq_managers_email")),
    )
    op.create_table(
        "programs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("clock_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settings_version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("clock_at IS NULL OR mode = 'test'", name=op.f("ck_programs_clock_only_in_test")),
        sa.CheckConstraint("mode IN ('test', 'live')", name=op.f("ck_programs_mode_known")),
        sa.CheckConstraint("slug ~ '^[a-z0-9][a-z0-9-]{1,38}[a-z0-9]$'", name=op.f("ck_programs_slug_shape")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_programs")),
        sa.UniqueConstraint("slug", name=op.f("uq_programs_slug")),
    )
    op.create_table(
        "referral_campaigns",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("landing_url", sa.Text(), nullable=False),
        sa.Column("window_days", sa.Integer(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("advocate_points", sa.BigInteger(), nullable=False),
        sa.Column("referee_points", sa.BigInteger(), nullable=False),
        sa.Column("minimum_minor", sa.BigInteger(), nullable=False),
        sa.Column("minimum_currency", sa.CHAR(length=3), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "advocate_points >= 0 AND referee_points >= 0", name=op.f("ck_referral_campaigns_points_not_negative")
        ),
        sa.CheckConstraint("minimum_minor >= 0", name=op.f("ck_referral_campaigns_minimum_not_negative")),
        sa.CheckConstraint(
            "retired_at IS NULL OR retired_at >= started_at", name=op.f("ck_referral_campaigns_retired_after_started")
        ),
        sa.CheckConstraint("window_days BETWEEN 1 AND 3650", name=op.f("ck_referral_campaigns_window_in_bounds")),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_referral_campaigns")),
    )
    op.create_index(
        "uq_referral_campaigns_active",
        "referral_campaigns",
        ["program_id"],
        unique=True,
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    op.create_table(
        "referral_clicks",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("clicked_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('visit', 'bot', 'prefetch')", name=op.f("ck_referral_clicks_kind_known")),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_referral_clicks")),
    )
    op.create_index("ix_referral_clicks_code", "referral_clicks", ["program_id", "code", "clicked_at"], unique=False)
    op.create_table(
        "rewards",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("cost_points", sa.BigInteger(), nullable=False),
        sa.Column("stock_left", sa.BigInteger(), nullable=True),
        sa.Column("coupon_days", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('amount_off', 'percent_off', 'free_product', 'free_shipping', 'gift_card', 'perk')",
            name=op.f("ck_rewards_kind_known"),
        ),
        sa.CheckConstraint("cost_points > 0", name=op.f("ck_rewards_cost_positive")),
        sa.CheckConstraint("coupon_days > 0", name=op.f("ck_rewards_coupon_days_positive")),
        sa.CheckConstraint("stock_left >= 0", name=op.f("ck_rewards_stock_not_negative")),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_rewards")),
    )
    op.create_table(
        "api_keys",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('secret', 'publishable', 'restricted')", name=op.f("ck_api_keys_kind_known")),
        sa.ForeignKeyConstraint(["program_id"], ["programs.id"], name=op.f("fk_api_keys_program_id")),
        sa.PrimaryKeyConstraint("program_id", "digest", name=op.f("pk_api_keys")),
    )
    op.create_table(
        "earning_rule_versions",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("definition", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("active_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("active_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('points_per_amount')", name=op.f("ck_earning_rule_versions_kind_known")),
        sa.CheckConstraint(
            "active_until IS NULL OR active_until > active_from", name=op.f("ck_earning_rule_versions_ends_after_start")
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "rule_id"],
            ["earning_rules.program_id", "earning_rules.id"],
            name=op.f("fk_earning_rule_versions_program_id_rule_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "rule_id", "version", name=op.f("pk_earning_rule_versions")),
    )
    op.create_index(
        "uq_earning_rule_versions_start", "earning_rule_versions", ["program_id", "rule_id", "active_from"], unique=True
    )
    op.create_table(
        "identifiers",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('external_id', 'email', 'phone', 'card')", name=op.f("ck_identifiers_kind_known")),
        sa.ForeignKeyConstraint(
            ["program_id", "customer_id"],
            ["customers.program_id", "customers.id"],
            name=op.f("fk_identifiers_program_id_customer_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_identifiers")),
    )
    op.create_index(
        "uq_identifiers_kind",
        "identifiers",
        ["program_id", "customer_id", "kind"],
        unique=True,
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "uq_identifiers_live",
        "identifiers",
        ["program_id", "kind", "value"],
        unique=True,
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_table(
        "manager_roles",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("manager_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "role IN ('owner', 'manager', 'analyst', 'support')", name=op.f("ck_manager_roles_role_known")
        ),
        sa.ForeignKeyConstraint(["manager_id"], ["managers.id"], name=op.f("fk_manager_roles_manager_id")),
        sa.ForeignKeyConstraint(["program_id"], ["programs.id"], name=op.f("fk_manager_roles_program_id")),
        sa.PrimaryKeyConstraint("program_id", "manager_id", name=op.f("pk_manager_roles")),
    )
    op.create_table(
        "manager_sessions",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("manager_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["manager_id"], ["managers.id"], name=op.f("fk_manager_sessions_manager_id")),
        sa.ForeignKeyConstraint(["program_id"], ["programs.id"], name=op.f("fk_manager_sessions_program_id")),
        sa.PrimaryKeyConstraint("program_id", "digest", name=op.f("pk_manager_sessions")),
    )
    op.create_table(
        "members",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("enrolment_external_order_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("suspends", sa.Text(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(status = 'closed') = (closed_at IS NOT NULL)", name=op.f("ck_members_closed_says_when")),
        sa.CheckConstraint(
            "(status = 'suspended') = (suspends IS NOT NULL)", name=op.f("ck_members_suspended_says_what")
        ),
        sa.CheckConstraint("status IN ('active', 'suspended', 'closed')", name=op.f("ck_members_status_known")),
        sa.CheckConstraint("suspends IN ('earn', 'burn', 'both')", name=op.f("ck_members_suspends_known")),
        sa.ForeignKeyConstraint(
            ["program_id", "id"], ["customers.program_id", "customers.id"], name=op.f("fk_members_program_id_id")
        ),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_members")),
    )
    op.create_index("ix_members_enrolled", "members", ["program_id", "enrolled_at"], unique=False)
    op.create_table(
        "orders",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=True),
        sa.Column("email_digest", sa.LargeBinary(), nullable=True),
        sa.Column("content_digest", sa.LargeBinary(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("payment_recorded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paid_when_placed", sa.Boolean(), nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("imported", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "(paid_at IS NULL) = (payment_recorded_at IS NULL)", name=op.f("ck_orders_payment_is_recorded")
        ),
        sa.CheckConstraint("paid_at IS NULL OR paid_at >= placed_at", name=op.f("ck_orders_paid_after_placed")),
        sa.CheckConstraint("total_minor BETWEEN 0 AND 9007199254740991", name=op.f("ck_orders_total_in_bounds")),
        sa.ForeignKeyConstraint(
            ["program_id", "customer_id"],
            ["customers.program_id", "customers.id"],
            name=op.f("fk_orders_program_id_customer_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_orders")),
    )
    op.create_index("ix_orders_customer", "orders", ["program_id", "customer_id", "id"], unique=False)
    op.create_index("ix_orders_placed", "orders", ["program_id", "placed_at"], unique=False)
    op.create_index("uq_orders_external_id", "orders", ["program_id", "external_id"], unique=True)
    op.create_table(
        "profiles",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("given_name", sa.Text(), nullable=True),
        sa.Column("family_name", sa.Text(), nullable=True),
        sa.Column("birth_on", sa.Date(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column(
            "attributes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["program_id", "customer_id"],
            ["customers.program_id", "customers.id"],
            name=op.f("fk_profiles_program_id_customer_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "customer_id", name=op.f("pk_profiles")),
    )
    op.create_table(
        "program_settings",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["program_id"], ["programs.id"], name=op.f("fk_program_settings_program_id")),
        sa.PrimaryKeyConstraint("program_id", "version", name=op.f("pk_program_settings")),
    )
    op.create_table(
        "coupons",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reward_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("from_stock", sa.Boolean(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("used_external_order_id", sa.Text(), nullable=True),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("used_at IS NULL OR voided_at IS NULL", name=op.f("ck_coupons_used_or_voided")),
        sa.ForeignKeyConstraint(
            ["program_id", "member_id"],
            ["members.program_id", "members.id"],
            name=op.f("fk_coupons_program_id_member_id"),
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "reward_id"],
            ["rewards.program_id", "rewards.id"],
            name=op.f("fk_coupons_program_id_reward_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_coupons")),
    )
    op.create_index("ix_coupons_member", "coupons", ["program_id", "member_id", "id"], unique=False)
    op.create_index("uq_coupons_code", "coupons", ["program_id", "code"], unique=True)
    op.create_table(
        "member_status_changes",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("suspends", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["program_id", "member_id"],
            ["members.program_id", "members.id"],
            name=op.f("fk_member_status_changes_program_id_member_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "member_id", "id", name=op.f("pk_member_status_changes")),
    )
    op.create_table(
        "order_awards",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("base_minor", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("line_points", sa.ARRAY(sa.BigInteger()), nullable=False),
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
    op.create_table(
        "order_lines",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.SmallInteger(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_order_lines_quantity_positive")),
        sa.CheckConstraint("total_minor >= 0", name=op.f("ck_order_lines_total_not_negative")),
        sa.ForeignKeyConstraint(
            ["program_id", "order_id"],
            ["orders.program_id", "orders.id"],
            name=op.f("fk_order_lines_program_id_order_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "order_id", "line", name=op.f("pk_order_lines")),
    )
    op.create_table(
        "referral_codes",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("is_primary", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('generated', 'vanity')", name=op.f("ck_referral_codes_kind_known")),
        sa.ForeignKeyConstraint(
            ["program_id", "member_id"],
            ["members.program_id", "members.id"],
            name=op.f("fk_referral_codes_program_id_member_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "code", name=op.f("pk_referral_codes")),
    )
    op.create_index("ix_referral_codes_member", "referral_codes", ["program_id", "member_id"], unique=False)
    op.create_index(
        "uq_referral_codes_primary",
        "referral_codes",
        ["program_id", "member_id"],
        unique=True,
        postgresql_where=sa.text("is_primary AND retired_at IS NULL"),
    )
    op.create_table(
        "referral_touches",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("referee_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint("outcome IN ('won', 'lost', 'refused')", name=op.f("ck_referral_touches_outcome_known")),
        sa.ForeignKeyConstraint(
            ["program_id", "referee_id"],
            ["members.program_id", "members.id"],
            name=op.f("fk_referral_touches_program_id_referee_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "referee_id", "position", name=op.f("pk_referral_touches")),
    )
    op.create_table(
        "referrals",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("referee_id", sa.Uuid(), nullable=False),
        sa.Column("advocate_id", sa.Uuid(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("click_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attributed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("qualified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("qualifying_order_id", sa.Uuid(), nullable=True),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rewarded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_recorded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("method IN ('code', 'click', 'import')", name=op.f("ck_referrals_method_known")),
        sa.CheckConstraint(
            "state IN ('signed_up', 'qualified', 'approved', 'rewarded', 'rejected', 'expired', 'voided', 'reversed')",
            name=op.f("ck_referrals_state_known"),
        ),
        sa.CheckConstraint(
            "(qualified_at IS NULL) = (qualifying_order_id IS NULL)", name=op.f("ck_referrals_qualified_by_an_order")
        ),
        sa.CheckConstraint("referee_id <> advocate_id", name=op.f("ck_referrals_not_oneself")),
        sa.ForeignKeyConstraint(
            ["program_id", "advocate_id"],
            ["members.program_id", "members.id"],
            name=op.f("fk_referrals_program_id_advocate_id"),
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "campaign_id"],
            ["referral_campaigns.program_id", "referral_campaigns.id"],
            name=op.f("fk_referrals_program_id_campaign_id"),
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "referee_id"],
            ["members.program_id", "members.id"],
            name=op.f("fk_referrals_program_id_referee_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_referrals")),
    )
    op.create_index("ix_referrals_advocate", "referrals", ["program_id", "advocate_id"], unique=False)
    op.create_index(
        "ix_referrals_order",
        "referrals",
        ["program_id", "qualifying_order_id"],
        unique=False,
        postgresql_where=sa.text("qualifying_order_id IS NOT NULL"),
    )
    op.create_index(
        "uq_referrals_live",
        "referrals",
        ["program_id", "referee_id"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "wallets",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("pending", sa.BigInteger(), nullable=False),
        sa.Column("available", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("debt", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "pending >= 0 AND available >= 0 AND held >= 0 AND debt >= 0", name=op.f("ck_wallets_nothing_negative")
        ),
        sa.CheckConstraint("version >= 0", name=op.f("ck_wallets_version_not_negative")),
        sa.ForeignKeyConstraint(
            ["program_id", "member_id"],
            ["members.program_id", "members.id"],
            name=op.f("fk_wallets_program_id_member_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "member_id", "unit", name=op.f("pk_wallets")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(
        "ix_wallets_due",
        "wallets",
        ["program_id", "next_due_at"],
        unique=False,
        postgresql_where=sa.text("next_due_at IS NOT NULL"),
    )
    op.create_table(
        "entries",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("from_account", sa.Text(), nullable=False),
        sa.Column("to_account", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("balance_after", sa.BigInteger(), nullable=False),
        sa.Column("available_after", sa.BigInteger(), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("corrects_id", sa.Uuid(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "from_account IN ('pending', 'available', 'held', 'debt', 'issued', 'opening', 'redeemed', 'expired', 'reversed', 'adjusted', 'forfeited', 'written_off')",
            name=op.f("ck_entries_from_account_known"),
        ),
        sa.CheckConstraint(
            "kind IN ('earn', 'referral', 'activate', 'spend', 'restore')", name=op.f("ck_entries_kind_known")
        ),
        sa.CheckConstraint(
            "to_account IN ('pending', 'available', 'held', 'debt', 'issued', 'opening', 'redeemed', 'expired', 'reversed', 'adjusted', 'forfeited', 'written_off')",
            name=op.f("ck_entries_to_account_known"),
        ),
        sa.CheckConstraint("from_account <> to_account", name=op.f("ck_entries_two_accounts")),
        sa.CheckConstraint("points > 0 AND points <= 9007199254740991", name=op.f("ck_entries_points_in_bounds")),
        sa.ForeignKeyConstraint(
            ["program_id", "member_id", "unit"],
            ["wallets.program_id", "wallets.member_id", "wallets.unit"],
            name=op.f("fk_entries_program_id_member_id_unit"),
        ),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_entries")),
    )
    op.create_index("ix_entries_source", "entries", ["program_id", "source_id"], unique=False)
    op.create_index("uq_entries_version", "entries", ["program_id", "member_id", "unit", "version"], unique=True)
    op.create_table(
        "holds",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("captured", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("captured BETWEEN 0 AND points", name=op.f("ck_holds_captured_in_bounds")),
        sa.CheckConstraint("expires_at > created_at", name=op.f("ck_holds_expires_after_created")),
        sa.CheckConstraint("points > 0", name=op.f("ck_holds_points_positive")),
        sa.ForeignKeyConstraint(
            ["program_id", "member_id", "unit"],
            ["wallets.program_id", "wallets.member_id", "wallets.unit"],
            name=op.f("fk_holds_program_id_member_id_unit"),
        ),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_holds")),
    )
    op.create_index(
        "ix_holds_live",
        "holds",
        ["program_id", "member_id", "unit"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "lots",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("granted", sa.BigInteger(), nullable=False),
        sa.Column("remaining", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("earned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("expires_at IS NULL OR expires_at > earned_at", name=op.f("ck_lots_expires_after_earned")),
        sa.CheckConstraint("remaining BETWEEN 0 AND granted", name=op.f("ck_lots_remaining_in_bounds")),
        sa.CheckConstraint("reserved BETWEEN 0 AND remaining", name=op.f("ck_lots_reserved_in_bounds")),
        sa.ForeignKeyConstraint(
            ["program_id", "member_id", "unit"],
            ["wallets.program_id", "wallets.member_id", "wallets.unit"],
            name=op.f("fk_lots_program_id_member_id_unit"),
        ),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_lots")),
        postgresql_with={"fillfactor": 80},
    )
    op.create_index("ix_lots_source", "lots", ["program_id", "source_id"], unique=False)
    op.create_index(
        "ix_lots_spendable",
        "lots",
        ["program_id", "member_id", "unit", "expires_at", "id"],
        unique=False,
        postgresql_where=sa.text("remaining > 0"),
    )
    op.create_table(
        "redemptions",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("reward_id", sa.Uuid(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("redeemed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("points > 0", name=op.f("ck_redemptions_points_positive")),
        sa.ForeignKeyConstraint(
            ["program_id", "id"], ["coupons.program_id", "coupons.id"], name=op.f("fk_redemptions_program_id_id")
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "member_id"],
            ["members.program_id", "members.id"],
            name=op.f("fk_redemptions_program_id_member_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "id", name=op.f("pk_redemptions")),
    )
    op.create_index("ix_redemptions_member", "redemptions", ["program_id", "member_id", "id"], unique=False)
    op.create_table(
        "referral_rewards",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("referral_id", sa.Uuid(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=True),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.Text(), nullable=True),
        sa.CheckConstraint("side IN ('advocate', 'referee')", name=op.f("ck_referral_rewards_side_known")),
        sa.CheckConstraint(
            "(points > 0) = (entry_id IS NOT NULL)", name=op.f("ck_referral_rewards_points_have_an_entry")
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "referral_id"],
            ["referrals.program_id", "referrals.id"],
            name=op.f("fk_referral_rewards_program_id_referral_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "referral_id", "side", name=op.f("pk_referral_rewards")),
    )
    op.create_table(
        "allocations",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("lot_id", sa.Uuid(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("points <> 0", name=op.f("ck_allocations_points_not_zero")),
        sa.ForeignKeyConstraint(
            ["program_id", "lot_id"], ["lots.program_id", "lots.id"], name=op.f("fk_allocations_program_id_lot_id")
        ),
        sa.PrimaryKeyConstraint("program_id", "entry_id", "lot_id", name=op.f("pk_allocations")),
    )
    op.create_index("ix_allocations_lot", "allocations", ["program_id", "lot_id"], unique=False)
    op.create_table(
        "hold_reservations",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("hold_id", sa.Uuid(), nullable=False),
        sa.Column("lot_id", sa.Uuid(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("points > 0", name=op.f("ck_hold_reservations_points_positive")),
        sa.ForeignKeyConstraint(
            ["program_id", "hold_id"],
            ["holds.program_id", "holds.id"],
            name=op.f("fk_hold_reservations_program_id_hold_id"),
        ),
        sa.ForeignKeyConstraint(
            ["program_id", "lot_id"],
            ["lots.program_id", "lots.id"],
            name=op.f("fk_hold_reservations_program_id_lot_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "hold_id", "lot_id", name=op.f("pk_hold_reservations")),
    )
    op.create_table(
        "redemption_cancellations",
        sa.Column("program_id", sa.Uuid(), nullable=False),
        sa.Column("redemption_id", sa.Uuid(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["program_id", "redemption_id"],
            ["redemptions.program_id", "redemptions.id"],
            name=op.f("fk_redemption_cancellations_program_id_redemption_id"),
        ),
        sa.PrimaryKeyConstraint("program_id", "redemption_id", name=op.f("pk_redemption_cancellations")),
    )

    # Ledger rows are only ever added. Taking the right to change them from the owner too makes that hold for this program's
    # own role until somebody grants it again; what such a hand changes in balances, lots or allocations, `ledger verify` finds.
    op.execute("REVOKE UPDATE, DELETE, TRUNCATE ON entries, allocations FROM PUBLIC, CURRENT_USER")


def downgrade() -> None:
    op.drop_table("redemption_cancellations")
    op.drop_table("hold_reservations")
    op.drop_index("ix_allocations_lot", table_name="allocations")
    op.drop_table("allocations")
    op.drop_table("referral_rewards")
    op.drop_index("ix_redemptions_member", table_name="redemptions")
    op.drop_table("redemptions")
    op.drop_index("ix_lots_spendable", table_name="lots", postgresql_where=sa.text("remaining > 0"))
    op.drop_index("ix_lots_source", table_name="lots")
    op.drop_table("lots")
    op.drop_index("ix_holds_live", table_name="holds", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_table("holds")
    op.drop_index("uq_entries_version", table_name="entries")
    op.drop_index("ix_entries_source", table_name="entries")
    op.drop_table("entries")
    op.drop_index("ix_wallets_due", table_name="wallets", postgresql_where=sa.text("next_due_at IS NOT NULL"))
    op.drop_table("wallets")
    op.drop_index("uq_referrals_live", table_name="referrals", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_index(
        "ix_referrals_order", table_name="referrals", postgresql_where=sa.text("qualifying_order_id IS NOT NULL")
    )
    op.drop_index("ix_referrals_advocate", table_name="referrals")
    op.drop_table("referrals")
    op.drop_table("referral_touches")
    op.drop_index(
        "uq_referral_codes_primary",
        table_name="referral_codes",
        postgresql_where=sa.text("is_primary AND retired_at IS NULL"),
    )
    op.drop_index("ix_referral_codes_member", table_name="referral_codes")
    op.drop_table("referral_codes")
    op.drop_table("order_lines")
    op.drop_table("order_awards")
    op.drop_table("member_status_changes")
    op.drop_index("uq_coupons_code", table_name="coupons")
    op.drop_index("ix_coupons_member", table_name="coupons")
    op.drop_table("coupons")
    op.drop_table("program_settings")
    op.drop_table("profiles")
    op.drop_index("uq_orders_external_id", table_name="orders")
    op.drop_index("ix_orders_placed", table_name="orders")
    op.drop_index("ix_orders_customer", table_name="orders")
    op.drop_table("orders")
    op.drop_index("ix_members_enrolled", table_name="members")
    op.drop_table("members")
    op.drop_table("manager_sessions")
    op.drop_table("manager_roles")
    op.drop_index("uq_identifiers_live", table_name="identifiers", postgresql_where=sa.text("removed_at IS NULL"))
    op.drop_index("uq_identifiers_kind", table_name="identifiers", postgresql_where=sa.text("removed_at IS NULL"))
    op.drop_table("identifiers")
    op.drop_index("uq_earning_rule_versions_start", table_name="earning_rule_versions")
    op.drop_table("earning_rule_versions")
    op.drop_table("api_keys")
    op.drop_table("rewards")
    op.drop_index("ix_referral_clicks_code", table_name="referral_clicks")
    op.drop_table("referral_clicks")
    op.drop_index(
        "uq_referral_campaigns_active", table_name="referral_campaigns", postgresql_where=sa.text("retired_at IS NULL")
    )
    op.drop_table("referral_campaigns")
    op.drop_table("programs")
    op.drop_table("managers")
    op.drop_index("ix_idempotency_keys_recorded", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index("uq_events_number", table_name="events", postgresql_where=sa.text("number IS NOT NULL"))
    op.drop_index("ix_events_unnumbered", table_name="events", postgresql_where=sa.text("number IS NULL"))
    op.drop_table("events")
    op.drop_table("earning_rules")
    op.drop_table("customers")
