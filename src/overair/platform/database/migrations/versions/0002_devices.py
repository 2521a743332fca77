"""Devices, their LwM2M registrations, and what they are to be asked."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# SQLite's row id is any INTEGER primary key; elsewhere 15 digits need a BIGINT.
_IMEI = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "devices",
        sa.Column("imei", _IMEI, primary_key=True, autoincrement=False),
        sa.Column("account_id", sa.Integer, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("protocol", sa.String(8), nullable=False),
        sa.Column("mdn", sa.String(15)),
        sa.Column("monitored", sa.Boolean, nullable=False),
        sa.Column("last_uplink_ms", sa.BigInteger),
        sa.Column("inventoried_ms", sa.BigInteger),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
        sa.Column("listed", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_devices_page", "devices", ["account_id", "protocol", "imei"])
    op.create_index("ix_devices_all", "devices", ["account_id", "imei"])
    op.create_index("ix_devices_mdn", "devices", ["account_id", "mdn"])
    op.create_table(
        "registrations",
        sa.Column("imei", _IMEI, primary_key=True, autoincrement=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("location", sa.String(16), nullable=False),
        sa.Column("endpoint", sa.String(255), nullable=False),
        sa.Column("host", sa.String(45), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("lifetime_seconds", sa.BigInteger, nullable=False),
        sa.Column("lwm2m_version", sa.String(8), nullable=False),
        sa.Column("binding", sa.String(8), nullable=False),
        sa.Column("queue_mode", sa.Boolean, nullable=False),
        sa.Column("links", sa.LargeBinary, nullable=False),
        sa.Column("identity", sa.LargeBinary(256), nullable=False),
        sa.Column("said", sa.LargeBinary, nullable=False),
        sa.Column("registered_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
        sa.Column("last_uplink_ms", sa.BigInteger, nullable=False),
        sa.Column("settled", sa.Boolean, nullable=False),
    )
    op.create_table(
        "observations",
        sa.Column("imei", _IMEI, primary_key=True, autoincrement=False),
        sa.Column("path", sa.String(32), primary_key=True),
        sa.Column("token", sa.LargeBinary(8), nullable=False),
        sa.Column("location", sa.String(16), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "operations",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("imei", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_ms", sa.BigInteger),
        sa.Column("outcome", sa.String(255)),
    )
    op.create_index("ix_operations_imei", "operations", ["imei"])
