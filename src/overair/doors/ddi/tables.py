"""Tables of the door for HTTP devices."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
)

from overair.platform.database import metadata

_IMEI = BigInteger().with_variant(Integer, "sqlite")

# How an account wants its devices treated; without a row, by default.
ddi_accounts = Table(
    "ddi_accounts",
    metadata,
    Column("account_id", Integer, ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
    Column("polling_seconds", Integer, nullable=False),
    Column("jitter_percent", Integer, nullable=False),
    Column("confirmation", Boolean, nullable=False),
    # Who may certify its devices: hashes as the proxy gives them, in lower case, one a line.
    Column("issuers", String(4096), nullable=False),
)

# What is known of a device besides its record.
ddi_targets = Table(
    "ddi_targets",
    metadata,
    Column("imei", _IMEI, primary_key=True, autoincrement=False),
    Column("account_id", Integer, nullable=False),
    Column("attributes", LargeBinary),  # JSON
    Column("reported_ms", BigInteger),
    # Whether it is to be asked for its attributes.
    Column("wanted", Boolean, nullable=False),
    Column("installed_id", Integer),
    # The firmware that it said it installed, until it says what it has.
    Column("expected", String(255)),
    Column("auto_confirm", LargeBinary),  # JSON
)

ddi_actions = Table(
    "ddi_actions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("imei", _IMEI, nullable=False),
    Column("account_id", Integer, nullable=False),
    Column("campaign_id", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("package_id", String(36), nullable=False),
    Column("closed_ms", BigInteger),
    Column("document", LargeBinary, nullable=False),
    # However often an attempt is taken up again, it is one action.
    UniqueConstraint("campaign_id", "imei", "attempt"),
    Index("ix_ddi_actions_imei", "imei"),
    Index("ix_ddi_actions_closed_ms", "closed_ms"),
)

# The history of actions: what devices said of them.
ddi_statuses = Table(
    "ddi_statuses",
    metadata,
    Column("action_id", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("status", String(24), nullable=False),
    Column("messages", LargeBinary, nullable=False),  # JSON
)

# What devices want to know of an image that nobody else does.
ddi_images = Table(
    "ddi_images",
    metadata,
    Column("package_id", String(36), primary_key=True),
    Column("filename", String(64), nullable=False),
    Column("sha1", LargeBinary(20), nullable=False),
    Column("md5", LargeBinary(16), nullable=False),
)
