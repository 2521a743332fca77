"""Packages, and what their images must be."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_LIVE = "state IN ('uploading', 'ready')"


def upgrade() -> None:
    op.create_table(
        "packages",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("account_id", sa.Integer, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("make", sa.String(255), nullable=False),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("make_key", sa.String(255), nullable=False),
        sa.Column("model_key", sa.String(255), nullable=False),
        sa.Column("version_from", sa.String(255), nullable=False),
        sa.Column("version_to", sa.String(255), nullable=False),
        sa.Column("protocol", sa.String(8), nullable=False),
        sa.Column("launch_ms", sa.BigInteger, nullable=False),
        sa.Column("release_note", sa.String(1000), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.LargeBinary(32)),
        sa.Column("signature", sa.LargeBinary(1024)),
        sa.Column("certificates", sa.LargeBinary(65536)),
        sa.Column("signed_by", sa.String(255)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_packages_state_changed_ms", "packages", ["state", "changed_ms"])
    op.create_index(
        "uq_packages_live_name",
        "packages",
        ["account_id", "name"],
        unique=True,
        sqlite_where=sa.text(_LIVE),
        postgresql_where=sa.text(_LIVE),
    )
    op.create_table(
        "image_digests",
        sa.Column("package_id", sa.String(36), sa.ForeignKey("packages.id"), primary_key=True),
        sa.Column("digests", sa.LargeBinary, nullable=False),
    )
