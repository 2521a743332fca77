"""The tables of tokens and of controller ids, and the statements on them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from overair.credentials.rules import is_valid
from overair.credentials.token_model import ControllerTaken, TokenRow, TokenTaken
from overair.credentials.token_rules import tokens_after
from overair.platform.database import Query, metadata
from overair.platform.limits import Limits

_IMEI = BigInteger().with_variant(Integer, "sqlite")

device_tokens = Table(
    "device_tokens",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id"), nullable=False),
    # Null for a gateway's, which is good for all devices of the account.
    Column("imei", _IMEI),
    Column("digest", LargeBinary(32), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Index("ix_device_tokens_imei", "imei"),
    Index("ix_device_tokens_digest", "digest"),
)

# What devices call themselves that is no IMEI.
controllers = Table(
    "controllers",
    metadata,
    Column("account_id", Integer, ForeignKey("accounts.id"), primary_key=True),
    Column("controller_id", String(256), primary_key=True),
    Column("imei", _IMEI, nullable=False, unique=True),
    Index("ix_controllers_controller_id", "controller_id"),
)

# One row: how often tokens changed, or what else devices are let in by. Whoever remembers that asks for it.
token_changes = Table(
    "token_changes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
)

_COLUMNS = tuple(device_tokens.c[name] for name in TokenRow.__dataclass_fields__)
_ALL = select(*_COLUMNS).order_by(device_tokens.c.id.desc())
_OF_DEVICE = Query(_ALL.where(device_tokens.c.imei == bindparam("imei")))
_OF_GATEWAY = Query(
    _ALL.where(device_tokens.c.account_id == bindparam("account"), device_tokens.c.imei.is_(None))
)
_BY_DIGEST = Query(_ALL.where(device_tokens.c.digest == bindparam("digest"), device_tokens.c.imei.is_(None)))
_NAMED = Query(select(controllers.c.imei).where(controllers.c.controller_id == bindparam("name")))
_CHANGES = Query(select(token_changes.c.number))


def named(connection: Connection, controller_id: str) -> list[int]:
    """Return the devices that call themselves so: one an account at most."""
    return [row[0] for row in _NAMED.rows(connection, (controller_id,))]


def valid(connection: Connection, account_id: int, imei: int | None, now_ms: int) -> tuple[TokenRow, ...]:
    """Return the valid tokens of a device, or of the account's gateway, newest first."""
    rows = of_owner(connection, account_id, imei)
    return tuple(row for row in rows if is_valid(row.expires_ms, now_ms))


def gateway(connection: Connection, digest: bytes, now_ms: int) -> int | None:
    """Return the account whose gateway has a token; None: nobody's."""
    rows = _tokens(_BY_DIGEST.rows(connection, (digest,)))
    return next((row.account_id for row in rows if is_valid(row.expires_ms, now_ms)), None)


def changes(connection: Connection) -> int:
    """Return how often tokens changed, or what else :func:`note_change` was called for."""
    rows = _CHANGES.rows(connection)
    return int(rows[0][0]) if rows else 0


def of_owner(connection: Connection, account_id: int, imei: int | None) -> list[TokenRow]:
    """Return all tokens of a device, or of the account's gateway, newest first."""
    if imei is None:
        return _tokens(_OF_GATEWAY.rows(connection, (account_id,)))
    return [row for row in _tokens(_OF_DEVICE.rows(connection, (imei,))) if row.account_id == account_id]


def add(connection: Connection, wanted: TokenRow, limits: Limits) -> None:
    """Add a token beside those that stay valid; raises TooManyTokens, or TokenTaken for a gateway's."""
    if wanted.imei is None:
        taken = _tokens(_BY_DIGEST.rows(connection, (wanted.digest,)))
        if any(row.account_id != wanted.account_id for row in taken):
            raise TokenTaken
    known = of_owner(connection, wanted.account_id, wanted.imei)
    after = tokens_after(wanted, known, limits)
    kept = {row.id: row for row in after[1:]}
    gone = [row.id for row in known if row.id not in kept]
    connection.execute(delete(device_tokens).where(device_tokens.c.id.in_(gone)))
    for row in kept.values():
        mine = update(device_tokens).where(device_tokens.c.id == row.id)
        connection.execute(mine.values(expires_ms=row.expires_ms))
    values = {column.name: getattr(wanted, column.name) for column in _COLUMNS if column.name != "id"}
    connection.execute(insert(device_tokens).values(values))
    note_change(connection)


def remove(connection: Connection, account_id: int, imei: int | None, number: int) -> bool:
    """Delete a token of a device or gateway; False if it has none with that number."""
    mine = delete(device_tokens).where(
        device_tokens.c.id == number, device_tokens.c.account_id == account_id, device_tokens.c.imei == imei
    )
    gone = bool(connection.execute(mine).rowcount)
    note_change(connection)
    return gone


def bind(connection: Connection, account_id: int, controller_id: str, imei: int) -> None:
    """Note what a device calls itself; :class:`ControllerTaken` if that or the device is bound otherwise."""
    rows = connection.execute(
        select(controllers.c.account_id, controllers.c.controller_id, controllers.c.imei).where(
            (controllers.c.imei == imei)
            | ((controllers.c.account_id == account_id) & (controllers.c.controller_id == controller_id))
        )
    ).all()
    if any(tuple(row) != (account_id, controller_id, imei) for row in rows):
        raise ControllerTaken(controller_id, imei)
    if not rows:
        values = {"account_id": account_id, "controller_id": controller_id, "imei": imei}
        connection.execute(insert(controllers).values(values))


def purge(connection: Connection, now_ms: int) -> int:
    """Delete tokens that have expired; return how many."""
    gone = connection.execute(delete(device_tokens).where(device_tokens.c.expires_ms <= now_ms))
    return int(gone.rowcount)


def note_change(connection: Connection) -> None:
    """Have everybody forget what they remember of tokens, and of how accounts want their devices treated."""
    counted = update(token_changes).where(token_changes.c.id == 1)
    if not connection.execute(counted.values(number=token_changes.c.number + 1)).rowcount:
        connection.execute(insert(token_changes).values(id=1, number=1))


def _tokens(rows: Sequence[tuple[Any, ...]]) -> list[TokenRow]:
    return [TokenRow(*row) for row in rows]
