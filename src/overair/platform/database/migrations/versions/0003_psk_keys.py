"""Pre-shared keys of devices, sealed under the master key."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "psk_keys",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("identity", sa.LargeBinary(128), nullable=False),
        # 15 digits need a BIGINT, except in SQLite, which knows one INTEGER only.
        sa.Column("imei", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("sealed", sa.LargeBinary(92), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger),
    )
    op.create_index("ix_psk_keys_identity", "psk_keys", ["identity"])
    op.create_index("ix_psk_keys_imei", "psk_keys", ["imei"])
    op.create_index("ix_psk_keys_expires_ms", "psk_keys", ["expires_ms"])
    op.create_index(
        "uq_psk_keys_current",
        "psk_keys",
        ["identity"],
        unique=True,
        sqlite_where=sa.text("expires_ms IS NULL"),
        postgresql_where=sa.text("expires_ms IS NULL"),
    )
