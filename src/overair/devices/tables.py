"""Tables of the devices.

Two for a device, because they change at different speeds: its own row is some 1.5 kB and changes when
the device does; its registration is small and changes with every Update. Both documents that owners read
stand encoded in the device's row.
"""

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
    text,
)

from overair.platform.database import metadata

devices = Table(
    "devices",
    metadata,
    Column("imei", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("account_id", Integer, ForeignKey("accounts.id"), nullable=False),
    Column("protocol", String(8), nullable=False),
    Column("mdn", String(15)),
    # Make and model in lower case: packages are matched without regard to it (spec lifecycle.md, section 6).
    Column("make", String(255)),
    Column("model", String(255)),
    Column("monitored", Boolean, nullable=False),
    # Whether it is in an unfinished campaign: those are monitored too.
    Column("campaigning", Boolean, nullable=False, server_default=text("0")),
    Column("last_uplink_ms", BigInteger),
    Column("inventoried_ms", BigInteger),
    Column("version", Integer, nullable=False),
    # The documents first: what stands behind the large state costs another page to read.
    Column("record", LargeBinary, nullable=False),
    Column("listed", LargeBinary, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Index("ix_devices_page", "account_id", "protocol", "imei"),
    Index("ix_devices_all", "account_id", "imei"),
    Index("ix_devices_mdn", "account_id", "mdn"),
    Index("ix_devices_model", "account_id", "make", "model", "imei"),
)

registrations = Table(
    "registrations",
    metadata,
    Column("imei", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("account_id", Integer, nullable=False),
    Column("location", String(16), nullable=False),
    Column("endpoint", String(255), nullable=False),
    Column("host", String(45), nullable=False),
    Column("port", Integer, nullable=False),
    Column("lifetime_seconds", BigInteger, nullable=False),
    Column("lwm2m_version", String(8), nullable=False),
    Column("binding", String(8), nullable=False),
    Column("queue_mode", Boolean, nullable=False),
    Column("links", LargeBinary, nullable=False),
    Column("identity", LargeBinary(256), nullable=False),
    Column("said", LargeBinary, nullable=False),
    Column("registered_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("last_uplink_ms", BigInteger, nullable=False),
    # Whether the device's record has what the Register said.
    Column("settled", Boolean, nullable=False),
)

observations = Table(
    "observations",
    metadata,
    Column("imei", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("path", String(32), primary_key=True),
    Column("token", LargeBinary(8), nullable=False),
    Column("location", String(16), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

operations = Table(
    "operations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("imei", BigInteger, nullable=False, index=True),
    Column("kind", String(32), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    Column("outcome", String(255)),
)
