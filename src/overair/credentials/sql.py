"""The table of pre-shared keys, and the statements on it. Keys are there sealed only.

All statements go straight to the driver: an import adds keys by the hundred thousand.
"""

from collections.abc import Sequence

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    Table,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
)

from overair.credentials.model import CredentialError, Decide, KeysRefused, Known, StoredPsk
from overair.platform.database import Query, metadata

psk_keys = Table(
    "psk_keys",
    metadata,
    Column("id", Integer, primary_key=True),  # the newest of an identity has the highest
    Column("identity", LargeBinary(128), nullable=False, index=True),
    Column("imei", BigInteger().with_variant(Integer, "sqlite"), nullable=False, index=True),
    Column("account_id", Integer, nullable=False),
    Column("sealed", LargeBinary(92), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, index=True),
)
# An identity has one current key, and so one device, whatever two writers do at once.
Index(
    "uq_psk_keys_current",
    psk_keys.c.identity,
    unique=True,
    sqlite_where=psk_keys.c.expires_ms.is_(None),
    postgresql_where=psk_keys.c.expires_ms.is_(None),
)

# In the order of the fields of their type.
COLUMNS = tuple(psk_keys.c[name] for name in StoredPsk.__dataclass_fields__)

_OF_IDENTITY = psk_keys.c.identity == bindparam("identity")
KEYS = Query(select(*COLUMNS).where(_OF_IDENTITY).order_by(psk_keys.c.id.desc()))
RING = Query(
    select(psk_keys.c.imei, psk_keys.c.sealed, psk_keys.c.expires_ms)
    .where(_OF_IDENTITY)
    .order_by(psk_keys.c.id.desc())
)
OF_DEVICE = Query(select(psk_keys.c.expires_ms).where(psk_keys.c.imei == bindparam("imei")))
IDENTITIES = Query(select(psk_keys.c.identity).where(psk_keys.c.imei == bindparam("imei")).distinct())
# An id may come again once the newest row is gone, but not with the same time. SQLite's sums end at 2**63.
TIME_BITS = 31
STATE = select(
    func.count(),
    func.coalesce(func.sum(psk_keys.c.id), 0),
    func.coalesce(func.sum(psk_keys.c.created_ms % (1 << TIME_BITS)), 0),
)
OWNED = (
    select(psk_keys.c.identity, func.min(psk_keys.c.imei), func.min(psk_keys.c.created_ms))
    .where(or_(psk_keys.c.expires_ms.is_(None), psk_keys.c.expires_ms > bindparam("now_ms")))
    .group_by(psk_keys.c.identity)
)
FORGET = Query(delete(psk_keys).where(_OF_IDENTITY))
ADD = Query(insert(psk_keys).values({column.name: bindparam(column.name) for column in COLUMNS}))


def known(connection: Connection, wanted: StoredPsk) -> Known:
    """Return what is there, when *wanted* is to be added."""
    keys = tuple(StoredPsk(*row) for row in KEYS.rows(connection, (wanted.identity,)))
    return Known(keys, frozenset(row[0] for row in IDENTITIES.rows(connection, (wanted.imei,))))


def check(connection: Connection, wanted: Sequence[StoredPsk], decide: Decide) -> None:
    """Decide each and write nothing; see :meth:`CredentialStore.check`."""
    errors: list[tuple[int, CredentialError]] = []
    for place, one in enumerate(wanted):
        try:
            decide(one, known(connection, one))
        except CredentialError as refused:
            errors.append((place, refused))
    if errors:
        raise KeysRefused(errors)


def add(connection: Connection, wanted: Sequence[StoredPsk], decide: Decide) -> None:
    """Decide each and write what was decided; see :meth:`CredentialStore.add`."""
    errors: list[tuple[int, CredentialError]] = []
    for place, one in enumerate(wanted):
        before = known(connection, one)
        try:
            after = decide(one, before)
        except CredentialError as refused:
            errors.append((place, refused))
            continue
        if after != before.keys:
            _replace(connection, before.keys, after)
    if errors:
        raise KeysRefused(errors)  # undoes the transaction


def _replace(connection: Connection, before: Sequence[StoredPsk], after: Sequence[StoredPsk]) -> None:
    if before:
        FORGET.many(connection, [(before[0].identity,)])
    rows = [tuple(getattr(key, column.name) for column in COLUMNS) for key in reversed(after)]
    ADD.many(connection, rows)
