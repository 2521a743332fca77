"""Licences of devices, upgrades billed as events, and when a subscription last changed."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("accounts", sa.Column("subscription_ms", sa.BigInteger))
    op.create_table(
        "licenses",
        sa.Column("account_id", sa.Integer, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("imei", sa.BigInteger, nullable=False),
        sa.Column("assigned_ms", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("campaign_id", sa.String(36)),
        sa.Column("leaving", sa.Boolean, nullable=False),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "imei", name="pk_licenses"),
    )
    op.create_table(
        "billed_events",
        sa.Column("campaign_id", sa.String(36), nullable=False),
        sa.Column("imei", sa.BigInteger, nullable=False),
        sa.Column("account_id", sa.Integer, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "imei", name="pk_billed_events"),
    )
    op.create_index("ix_billed_events_account_id", "billed_events", ["account_id"])
