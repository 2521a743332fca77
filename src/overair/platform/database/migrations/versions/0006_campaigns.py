"""Tables of campaigns, and the columns by which campaigns find devices."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ROWS_AT_ONCE = 1000


def upgrade() -> None:
    # Made anew, since a column at the end would stand behind the documents, on another page.
    with op.batch_alter_table("devices", recreate="always") as devices:
        devices.add_column(sa.Column("make", sa.String(255)), insert_after="mdn")
        devices.add_column(sa.Column("model", sa.String(255)), insert_after="make")
        devices.add_column(
            sa.Column("campaigning", sa.Boolean, nullable=False, server_default=sa.text("0")),
            insert_after="monitored",
        )
    fill_models(op.get_bind())
    op.create_index("ix_devices_model", "devices", ["account_id", "make", "model", "imei"])
    make_tables()


def fill_models(connection: sa.Connection) -> None:
    """Take make and model out of the documents that devices have already."""
    page = sa.text("SELECT imei, listed FROM devices WHERE imei > :after ORDER BY imei LIMIT :count")
    put = sa.text("UPDATE devices SET make = :make, model = :model WHERE imei = :imei")
    after = -1
    while rows := connection.execute(page, {"after": after, "count": ROWS_AT_ONCE}).all():
        said = [(imei, json.loads(listed)) for imei, listed in rows]
        values = [
            {"imei": imei, "make": each["make"].lower() or None, "model": each["model"].lower() or None}
            for imei, each in said
        ]
        connection.execute(put, values)
        after = rows[-1][0]


def make_tables() -> None:
    imei = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "campaigns",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("uuid", sa.String(36), nullable=False, unique=True),
        sa.Column("account_id", sa.Integer, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("version", sa.String(2), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("package_id", sa.String(36), nullable=False),
        sa.Column("package_name", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("version_from", sa.String(255), nullable=False),
        sa.Column("version_to", sa.String(255), nullable=False),
        sa.Column("make", sa.String(255), nullable=False),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("protocol", sa.String(8), nullable=False),
        sa.Column("start_day", sa.Integer, nullable=False),
        sa.Column("end_day", sa.Integer, nullable=False),
        sa.Column("windows", sa.String(1024), nullable=False),
        sa.Column("auto_assign", sa.Boolean, nullable=False),
        sa.Column("auto_add", sa.Boolean, nullable=False),
        sa.Column("status", sa.String(24), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
        sa.Column("auto_add_ms", sa.BigInteger),
        sa.Column("auto_add_after", sa.BigInteger, nullable=False),
        sa.Column("open_rows", sa.Integer, nullable=False),
        sa.Column("closed_ms", sa.BigInteger),
    )
    op.create_index("ix_campaigns_status", "campaigns", ["account_id", "version", "status", "uuid"])
    op.create_index("ix_campaigns_closed_ms", "campaigns", ["closed_ms"])
    op.create_table(
        "campaign_rows",
        sa.Column("campaign_id", sa.Integer, sa.ForeignKey("campaigns.id"), primary_key=True),
        sa.Column("imei", imei, primary_key=True),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("detail", sa.String(255)),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
        sa.Column("recent_ms", sa.BigInteger),
        sa.Column("next_ms", sa.BigInteger),
        sa.Column("not_before_ms", sa.BigInteger),
        sa.Column("open", sa.SmallInteger, nullable=False),
        sa.Column("news", sa.SmallInteger, nullable=False),
        sa.Column("progress", sa.LargeBinary(4096)),
        sqlite_with_rowid=False,
    )
    is_open, has_news = sa.text("open = 1"), sa.text("news = 1")
    op.create_index(
        "uq_campaign_rows_open",
        "campaign_rows",
        ["imei"],
        unique=True,
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_index("ix_campaign_rows_due", "campaign_rows", ["campaign_id", "status", "next_ms"])
    op.create_index("ix_campaign_rows_imei", "campaign_rows", ["imei"])
    op.create_index(
        "ix_campaign_rows_news",
        "campaign_rows",
        ["campaign_id"],
        sqlite_where=has_news,
        postgresql_where=has_news,
    )
    op.create_table(
        "campaign_strays",
        sa.Column("campaign_id", sa.Integer, sa.ForeignKey("campaigns.id"), primary_key=True),
        sa.Column("device_id", sa.String(64), primary_key=True),
    )
