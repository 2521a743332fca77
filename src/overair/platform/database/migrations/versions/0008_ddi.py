"""Tables of devices that speak HTTP: tokens, names, targets, actions and their history."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_IMEI = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _tokens()
    op.create_table(
        "ddi_accounts",
        sa.Column("account_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("polling_seconds", sa.Integer, nullable=False),
        sa.Column("jitter_percent", sa.Integer, nullable=False),
        sa.Column("confirmation", sa.Boolean, nullable=False),
        sa.Column("issuers", sa.String(4096), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_ddi_accounts_account_id_accounts"),
    )
    op.create_table(
        "ddi_targets",
        sa.Column("imei", _IMEI, primary_key=True, autoincrement=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("attributes", sa.LargeBinary),
        sa.Column("reported_ms", sa.BigInteger),
        sa.Column("wanted", sa.Boolean, nullable=False),
        sa.Column("installed_id", sa.Integer),
        sa.Column("expected", sa.String(255)),
        sa.Column("auto_confirm", sa.LargeBinary),
    )
    op.create_table(
        "ddi_actions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("imei", _IMEI, nullable=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("campaign_id", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("package_id", sa.String(36), nullable=False),
        sa.Column("closed_ms", sa.BigInteger),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("campaign_id", "imei", "attempt", name="uq_ddi_actions_campaign_id_imei_attempt"),
    )
    op.create_index("ix_ddi_actions_imei", "ddi_actions", ["imei"])
    op.create_index("ix_ddi_actions_closed_ms", "ddi_actions", ["closed_ms"])
    op.create_table(
        "ddi_statuses",
        sa.Column("action_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(24), nullable=False),
        sa.Column("messages", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "ddi_images",
        sa.Column("package_id", sa.String(36), primary_key=True),
        sa.Column("filename", sa.String(64), nullable=False),
        sa.Column("sha1", sa.LargeBinary(20), nullable=False),
        sa.Column("md5", sa.LargeBinary(16), nullable=False),
    )


def _tokens() -> None:
    op.create_table(
        "device_tokens",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("imei", _IMEI),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_device_tokens_account_id_accounts"),
    )
    op.create_index("ix_device_tokens_imei", "device_tokens", ["imei"])
    op.create_index("ix_device_tokens_digest", "device_tokens", ["digest"])
    op.create_table(
        "controllers",
        sa.Column("account_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("controller_id", sa.String(256), primary_key=True),
        sa.Column("imei", _IMEI, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_controllers_account_id_accounts"),
        sa.UniqueConstraint("imei", name="uq_controllers_imei"),
    )
    op.create_index("ix_controllers_controller_id", "controllers", ["controller_id"])
    op.create_table(
        "token_changes",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
    )
