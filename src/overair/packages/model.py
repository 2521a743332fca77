"""What a package is: an image, what it is for, and whether it may be offered (spec api-v3.md, section 4.1).

Times are UTC epoch milliseconds. A package and its image have one id, a UUID that we make.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Kind(StrEnum):
    """What becomes of the image on the device."""

    FIRMWARE = "firmware"
    SOFTWARE = "software"
    FILE = "file"


class State(StrEnum):
    """Where a package stands; how it moves is in :mod:`overair.packages.rules`."""

    UPLOADING = "uploading"
    READY = "ready"
    WITHDRAWN = "withdrawn"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPackage:
    """What is said of a package when it is added."""

    kind: Kind
    make: str
    model: str
    version_from: str = ""
    """The version that a device must have; empty for any, which firmware may not be."""
    version_to: str
    protocol: str
    """``LWM2M``, ``OMADM`` or ``HTTP``."""
    name: str = ""
    """Unique among the packages of the account that are not withdrawn; empty: made of the others."""
    launch_ms: int | None = None
    """Date of release; None: now."""
    release_note: str = ""
    size_bytes: int
    sha256: bytes | None = None
    """Of the image; None if the uploader did not say."""
    signature: bytes | None = field(default=None, repr=False)
    certificates: bytes | None = field(default=None, repr=False)
    """PEM, the signer's own first, then those between it and a trusted one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package of the catalogue."""

    id: str
    account_id: int
    kind: Kind
    name: str
    make: str
    model: str
    version_from: str
    version_to: str
    protocol: str
    launch_ms: int
    release_note: str
    size_bytes: int
    sha256: bytes | None
    """As announced while it is uploading, or None; once it is ready, of the image."""
    signature: bytes | None = field(repr=False)
    certificates: bytes | None = field(repr=False)
    signed_by: str | None
    """Who signed the image, as far as we verified; None if nobody did."""
    state: State
    created_ms: int
    changed_ms: int


@dataclass(frozen=True, slots=True)
class ImageGrant:
    """The image that a device may fetch."""

    image_id: str
    size_bytes: int
    sha256: bytes


class Grants(Protocol):
    """Who may fetch what: the campaign engine, asked by the doors that serve images."""

    async def resolve(self, token: str) -> ImageGrant | None:
        """Return the image behind a token of a Package URI; None for a token that is unknown or over."""
        ...

    def fetched(self, token: str) -> None:
        """Some of the image has gone out: the download is alive."""
        ...


class PackageError(Exception):
    """A request about packages can't be met; the message says why."""


class InvalidPackage(PackageError):
    """A value breaks a rule: ``field`` names it, ``rule`` says what it must be."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class NameTaken(PackageError):
    """The account has a package of that name."""

    def __init__(self, name: str, state: State) -> None:
        super().__init__(
            f"package {name!r} exists already ({state}): remove it first, or choose another name"
        )


class UnknownPackage(PackageError):
    """There is no such package."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no package {name!r}")


class WrongState(PackageError):
    """The package is not in a state for that."""

    def __init__(self, name: str, state: State) -> None:
        super().__init__(f"package {name!r} is {state}")
        self.state = state


class TooManyPackages(PackageError):
    """A bound is reached; the message says which."""


# The uploader.


class WrongOffset(PackageError):
    """The piece does not begin where the upload stands: at ``offset``."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the upload stands at byte {offset}")
        self.offset = offset


class ImageTooLong(PackageError):
    """More bytes came than were announced; those up to the announced size are kept."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the image was announced with {size_bytes} bytes, and there are more")


class ImageIncomplete(PackageError):
    """Not all bytes have come: the upload stands at ``offset``."""

    def __init__(self, offset: int, size_bytes: int) -> None:
        super().__init__(f"the image has {offset} of {size_bytes} bytes")
        self.offset = offset


class UploadBusy(PackageError):
    """Another request is sending this image, or as many images are coming in as may; try again."""


class WrongDigest(PackageError):
    """The image is not the one that was announced."""

    def __init__(self, announced: bytes, sha256: bytes) -> None:
        super().__init__(
            f"the image has SHA-256 {sha256.hex()}, announced was {announced.hex()}: nothing is kept of it"
        )


class BadSignature(PackageError):
    """The signature is missing, wrong, or nobody's whom we trust; the message says which."""


# The operator.


class TrustError(PackageError):
    """A trusted key or certificate can't be used; the message says which, and why."""
