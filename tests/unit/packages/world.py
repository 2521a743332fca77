"""A catalogue on a database of its own, with an account; images, signatures and certificates to put in."""

import datetime as dt
import hashlib
import random
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from overair.accounts.model import Account
from overair.accounts.service import AccountService
from overair.accounts.store import SqlAccountStore
from overair.devices.model import Provisioning
from overair.devices.service import DeviceService
from overair.devices.store import SqlDeviceStore
from overair.packages.model import Kind, NewPackage, Package
from overair.packages.service import PackageService
from overair.platform.clock import VirtualClock
from overair.platform.database import Database
from overair.platform.images import CHUNK_BYTES
from overair.platform.limits import Limits

ACCOUNT = "0742000123-00001"
OTHER_ACCOUNT = "0742000123-00002"
IMEI = "490154203237518"

FIRMWARE = NewPackage(
    kind=Kind.FIRMWARE,
    make="Acme Telematics",
    model="AT-410",
    version_from="AT410-1.4.2",
    version_to="AT410-1.5.0",
    protocol="LWM2M",
    size_bytes=1,
)
NAME = "AcmeTelematics_AT-410_AT410-1.4.2_AT410-1.5.0"


def image_bytes(size_bytes: int = 3 * CHUNK_BYTES + 1000, seed: int = 7) -> bytes:
    """Return an image, the same one for the same seed; by default four chunks, the last one short."""
    return random.Random(seed).randbytes(size_bytes)


def firmware(image: bytes, **said: Any) -> NewPackage:
    return replace(FIRMWARE, size_bytes=len(image), **said)


def sha256(image: bytes) -> bytes:
    return hashlib.sha256(image).digest()


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@dataclass
class World:
    """Use :func:`open_world`."""

    data: Path
    database: Database
    clock: VirtualClock
    limits: Limits
    accounts: AccountService
    devices: DeviceService
    packages: PackageService
    account: Account
    other: Account

    def stored(self, package: Package) -> Path:
        """Return where the image of a package lies."""
        return self.data / "images" / package.id

    def restarted(self, **settings: Any) -> PackageService:
        """Return the service as after a restart: nothing in memory, the same disk."""
        limits = settings.pop("limits", self.limits)
        return PackageService(self.database, self.data, self.clock, limits, **settings)

    async def add(self, image: bytes, **said: Any) -> Package:
        file = self.data / "image.bin"
        file.write_bytes(image)
        return await self.packages.add(self.account.id, firmware(image, **said), file)

    async def add_device(
        self, imei: str = IMEI, make: str = "ACME telematics", model: str = "at-410"
    ) -> None:
        said = Provisioning(imei=int(imei), make=make, model=model)
        await self.devices.add(self.account.id, [said])


async def open_world(database: Database, data: Path, limits: Limits | None = None) -> World:
    clock, limits = VirtualClock(), limits or Limits()
    accounts = AccountService(SqlAccountStore(database), clock, limits)
    return World(
        data,
        database,
        clock,
        limits,
        accounts,
        DeviceService(SqlDeviceStore(database), clock, limits),
        PackageService(database, data, clock, limits),
        await accounts.add_account(ACCOUNT, 5, ["mrc"]),
        await accounts.add_account(OTHER_ACCOUNT, 5, ["mrc"]),
    )


# Signers.

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
"""When the virtual clock begins."""


def public_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


@dataclass
class Authority:
    """Somebody who can vouch for others, or sign images."""

    name: str
    key: PrivateKey
    certificate: x509.Certificate

    def vouch(
        self,
        name: str,
        key: PrivateKey | None = None,
        *,
        ca: bool | None = None,
        path_length: int | None = None,
        days: float = 30,
        begins: float = -1,
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    ) -> "Authority":
        """Return somebody whose certificate is signed by this one."""
        own = key or ec.generate_private_key(ec.SECP256R1())
        made = certify(
            name, self.name, own, self.key, ca=ca, path_length=path_length, days=days, begins=begins,
            extensions=extensions,
        )  # fmt: skip
        return Authority(name, own, made)


def root(name: str = "Root", *, days: float = 365) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    return Authority(name, key, certify(name, name, key, key, ca=True, days=days))


def certify(
    name: str,
    issuer: str,
    key: PrivateKey,
    by: PrivateKey,
    *,
    ca: bool | None = None,
    path_length: int | None = None,
    days: float = 30,
    begins: float = -1,
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(START + dt.timedelta(days=begins))
        .not_valid_after(START + dt.timedelta(days=days))
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length), critical=True)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(by, None if isinstance(by, ed25519.Ed25519PrivateKey) else SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
