"""Tables of campaigns.

A row of ``campaign_rows`` is small, since a campaign may have a million. An accepted device that has not
come to an end is *open*, and the index on that keeps it from being open in two campaigns.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    text,
)

from overair.platform.database import metadata

_IMEI = BigInteger().with_variant(Integer, "sqlite")

campaigns = Table(
    "campaigns",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("account_id", Integer, ForeignKey("accounts.id"), nullable=False),
    Column("version", String(2), nullable=False),
    Column("name", String(255)),
    Column("package_id", String(36), nullable=False),
    Column("package_name", String(255), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("version_from", String(255), nullable=False),
    Column("version_to", String(255), nullable=False),
    Column("make", String(255), nullable=False),
    Column("model", String(255), nullable=False),
    Column("protocol", String(8), nullable=False),
    Column("start_day", Integer, nullable=False),
    Column("end_day", Integer, nullable=False),
    Column("windows", String(1024), nullable=False),  # JSON
    Column("auto_assign", Boolean, nullable=False),
    Column("auto_add", Boolean, nullable=False),
    Column("status", String(24), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Column("auto_add_ms", BigInteger),
    Column("auto_add_after", BigInteger, nullable=False),
    Column("open_rows", Integer, nullable=False),
    Column("closed_ms", BigInteger),
    Index("ix_campaigns_status", "account_id", "version", "status", "uuid"),
    Index("ix_campaigns_closed_ms", "closed_ms"),
)

campaign_rows = Table(
    "campaign_rows",
    metadata,
    Column("campaign_id", Integer, ForeignKey("campaigns.id"), primary_key=True),
    Column("imei", _IMEI, primary_key=True),
    Column("status", String(12), nullable=False),
    Column("detail", String(255)),
    Column("tries", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("recent_ms", BigInteger),
    Column("next_ms", BigInteger),
    Column("not_before_ms", BigInteger),
    # 1 or 0, since a condition on an index is spelt the same everywhere only with numbers.
    Column("open", SmallInteger, nullable=False),
    # Whether the owner is still to be told how it ended.
    Column("news", SmallInteger, nullable=False),
    # Whatever the driver of the attempt wants to know after a restart.
    Column("progress", LargeBinary(4096)),
    Index(
        "uq_campaign_rows_open",
        "imei",
        unique=True,
        sqlite_where=text("open = 1"),
        postgresql_where=text("open = 1"),
    ),
    Index("ix_campaign_rows_due", "campaign_id", "status", "next_ms"),
    Index("ix_campaign_rows_imei", "imei"),
    Index(
        "ix_campaign_rows_news",
        "campaign_id",
        sqlite_where=text("news = 1"),
        postgresql_where=text("news = 1"),
    ),
    sqlite_with_rowid=False,
)

# What a campaign was given as devices that is no IMEI.
campaign_strays = Table(
    "campaign_strays",
    metadata,
    Column("campaign_id", Integer, ForeignKey("campaigns.id"), primary_key=True),
    Column("device_id", String(64), primary_key=True),
)
