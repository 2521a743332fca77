"""The tables of packages and of what their images must be, and the statements on them."""

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
    RowMapping,
    String,
    Table,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from overair.devices.tables import devices
from overair.packages.model import Kind, NameTaken, Package, State, TooManyPackages
from overair.packages.rules import DAMAGE, LIVE, SERVED, folded
from overair.platform.database import metadata
from overair.platform.images import Manifest
from overair.platform.limits import Limits

packages = Table(
    "packages",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id"), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("name", String(255), nullable=False),
    Column("make", String(255), nullable=False),
    Column("model", String(255), nullable=False),
    # In lower case, as devices have them for comparing.
    Column("make_key", String(255), nullable=False),
    Column("model_key", String(255), nullable=False),
    Column("version_from", String(255), nullable=False),
    Column("version_to", String(255), nullable=False),
    Column("protocol", String(8), nullable=False),
    Column("launch_ms", BigInteger, nullable=False),
    Column("release_note", String(1000), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", LargeBinary(32)),
    Column("signature", LargeBinary(1024)),
    Column("certificates", LargeBinary(65536)),
    Column("signed_by", String(255)),
    Column("state", String(16), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Index("ix_packages_state_changed_ms", "state", "changed_ms"),
)
_LIVE = packages.c.state.in_(("uploading", "ready"))
# A name is one package's, whatever two writers do at once.
Index(
    "uq_packages_live_name",
    packages.c.account_id,
    packages.c.name,
    unique=True,
    sqlite_where=_LIVE,
    postgresql_where=_LIVE,
)

image_digests = Table(
    "image_digests",
    metadata,
    Column("package_id", String(36), ForeignKey("packages.id"), primary_key=True),
    # The SHA-256 of each 64 KiB, one after the other: 2 MiB for an image of 4 GiB.
    Column("digests", LargeBinary, nullable=False),
)

_COLUMNS = tuple(packages.c[name] for name in Package.__dataclass_fields__)
_ALL = select(*_COLUMNS)


def get(connection: Connection, package_id: str) -> Package | None:
    """Return a package, whatever its state."""
    return _one(connection, _ALL.where(packages.c.id == package_id))


def live(connection: Connection, account_id: int, name: str) -> Package | None:
    """Return the account's package that has the name now, uploading or ready."""
    query = _ALL.where(packages.c.account_id == account_id, packages.c.name == name)
    return _one(connection, query.where(packages.c.state.in_(LIVE)))


def named(connection: Connection, account_id: int, name: str) -> Package | None:
    """Return the account's package of that name or id that :func:`listed` would show, the newest."""
    query = _ALL.where(packages.c.account_id == account_id, packages.c.state != State.WITHDRAWN)
    query = query.where((packages.c.name == name) | (packages.c.id == name))
    return _one(connection, query.order_by(packages.c.created_ms.desc(), packages.c.id).limit(1))


def listed(connection: Connection, account_id: int | None, limit: int) -> list[Package]:
    """Return packages that are not withdrawn, by account and name; None: of all accounts."""
    query = _ALL.where(packages.c.state != State.WITHDRAWN)
    if account_id is not None:
        query = query.where(packages.c.account_id == account_id)
    query = query.order_by(packages.c.account_id, packages.c.name, packages.c.created_ms).limit(limit)
    return [_package(row) for row in connection.execute(query).mappings()]


def offered(connection: Connection, account_id: int, protocol: str | None, *, signed: bool) -> list[Package]:
    """Return the ready firmware for at least one device of the account, by name.

    None is for any protocol; *signed* leaves out what nobody signed.
    """
    mine = exists().where(
        devices.c.account_id == account_id,
        devices.c.make == packages.c.make_key,
        devices.c.model == packages.c.model_key,
    )
    query = _ALL.where(
        packages.c.account_id == account_id,
        packages.c.state == State.READY,
        packages.c.kind == Kind.FIRMWARE,
        mine,
    )
    if protocol is not None:
        query = query.where(packages.c.protocol == protocol)
    if signed:
        query = query.where(packages.c.signed_by.is_not(None))
    return [_package(row) for row in connection.execute(query.order_by(packages.c.name)).mappings()]


def add(connection: Connection, package: Package, limits: Limits) -> None:
    """Insert a package; :class:`NameTaken`, or :class:`TooManyPackages` where a bound is reached."""
    known = live(connection, package.account_id, package.name)
    if known is not None:
        raise NameTaken(known.name, known.state)
    shown = packages.c.state != State.WITHDRAWN
    if _count(connection, shown & (packages.c.account_id == package.account_id)) >= limits.account_packages:
        raise TooManyPackages(f"the account has {limits.account_packages} packages: remove some first")
    if _count(connection, packages.c.state == State.UPLOADING) >= limits.uploads:
        raise TooManyPackages(f"{limits.uploads} uploads are not done: finish or remove some first")
    values: dict[str, Any] = {column.name: getattr(package, column.name) for column in _COLUMNS}
    values |= {"make_key": folded(package.make), "model_key": folded(package.model)}
    connection.execute(insert(packages).values(values))


def make_ready(
    connection: Connection, package_id: str, image: Manifest, signed_by: str | None, now_ms: int
) -> bool:
    """Take down that the image is there, and what it is; False if the upload is no longer wanted."""
    values = {"state": State.READY, "sha256": image.sha256, "signed_by": signed_by, "changed_ms": now_ms}
    mine = update(packages).where(packages.c.id == package_id, packages.c.state == State.UPLOADING)
    if not connection.execute(mine.values(values)).rowcount:
        return False
    connection.execute(insert(image_digests).values(package_id=package_id, digests=image.digests))
    return True


def set_state(connection: Connection, package_id: str, state: State, now_ms: int) -> None:
    mine = update(packages).where(packages.c.id == package_id)
    connection.execute(mine.values(state=state, changed_ms=now_ms))


def touch(connection: Connection, package_id: str, now_ms: int) -> None:
    """Take down that an upload is going on."""
    mine = update(packages).where(packages.c.id == package_id, packages.c.state == State.UPLOADING)
    connection.execute(mine.values(changed_ms=now_ms))


def drop(connection: Connection, package_id: str) -> bool:
    """Delete a package whose upload is not done; False if it is none."""
    mine = delete(packages).where(packages.c.id == package_id, packages.c.state == State.UPLOADING)
    return bool(connection.execute(mine).rowcount)


def damage(connection: Connection, package_id: str, now_ms: int) -> Package | None:
    """Take away what the image must be: nothing of it can be served again. Return the package."""
    package = get(connection, package_id)
    if package is None or package.state not in DAMAGE:
        return None
    connection.execute(delete(image_digests).where(image_digests.c.package_id == package_id))
    set_state(connection, package_id, DAMAGE[package.state], now_ms)
    return package


def manifest(connection: Connection, package_id: str) -> Manifest | None:
    """Return what the image of a package must be; None if it may not be served."""
    query = (
        select(packages.c.size_bytes, packages.c.sha256, image_digests.c.digests)
        .join_from(packages, image_digests)
        .where(packages.c.id == package_id, packages.c.state.in_(SERVED))
    )
    row = connection.execute(query).first()
    return Manifest(*row) if row else None


def uploading(connection: Connection) -> list[tuple[str, int]]:
    """Return id and time of last change of all uploads that are not done."""
    query = select(packages.c.id, packages.c.changed_ms).where(packages.c.state == State.UPLOADING)
    return [(row[0], row[1]) for row in connection.execute(query)]


def _count(connection: Connection, which: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(packages).where(which)).scalar_one())


def _one(connection: Connection, query: Any) -> Package | None:
    rows: Sequence[RowMapping] = connection.execute(query).mappings().all()
    return _package(rows[0]) if rows else None


def _package(row: RowMapping) -> Package:
    values = dict(row)
    return Package(**values | {"kind": Kind(values["kind"]), "state": State(values["state"])})
