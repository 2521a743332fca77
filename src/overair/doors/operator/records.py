"""The JSON of the operator's calls on packages, shared with ``overair package … --json``."""

from base64 import b64decode
from binascii import Error as NotBase64
from typing import Annotated

from msgspec import Meta, Struct

from overair.packages.model import InvalidPackage, Kind, NewPackage, Package
from overair.records import RecordError
from overair.records.times import format_t2, parse_d

# Encoded, a signature is half as long again; the domain has the real bounds.
_Text = Annotated[str, Meta(max_length=1000)]


class PackageRequest(Struct, gc=False, rename="camel", kw_only=True):
    """A package that is to be uploaded (POST /operator/v1/packages)."""

    account_name: _Text
    kind: Annotated[_Text, Meta(description="`firmware`, `software` or `file`")]
    make: _Text
    model: _Text
    version_from: Annotated[_Text, Meta(description="Version that a device must have")] = ""
    version_to: _Text
    protocol: Annotated[_Text, Meta(description="`LWM2M`, `OMADM` or `HTTP`")]
    name: Annotated[_Text, Meta(description="Default: made of make, model and versions")] = ""
    launch_date: Annotated[_Text, Meta(description="Date of release; default: now")] = ""
    release_note: _Text = ""
    size_bytes: Annotated[int, Meta(description="Size of the image")]
    sha256: Annotated[_Text, Meta(description="Of the image, in hex; then it is checked")] = ""
    signature: Annotated[str, Meta(max_length=4096, description="Detached, in base64")] = ""
    certificates: Annotated[str, Meta(max_length=65_536, description="PEM, the signer's own first")] = ""


class PackageRecord(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """A package of the catalogue."""

    id: str
    account_name: str
    kind: str
    name: str
    make: str
    model: str
    version_from: str
    version_to: str
    protocol: str
    launch_date: str
    release_note: str
    size_bytes: int
    sha256: Annotated[str | None, Meta(description="Of the image; absent while not known")] = None
    signed_by: Annotated[str | None, Meta(description="Absent for what nobody signed")] = None
    state: Annotated[str, Meta(description="`uploading`, `ready`, `withdrawn` or `damaged`")]
    create_time: str
    upload_offset: Annotated[int | None, Meta(description="While uploading: bytes that have come")] = None


class PackageList(Struct, gc=False, rename="camel", kw_only=True):
    """The packages of an account, or of all (GET /operator/v1/packages)."""

    packages: list[PackageRecord]


class UploadRecord(Struct, gc=False, rename="camel", kw_only=True):
    """How far an upload has come."""

    id: str
    upload_offset: int
    size_bytes: int


def new_package(asked: PackageRequest, protocol: str) -> NewPackage:
    """Return what was asked for; :class:`InvalidPackage` for a value that has no form at all."""
    return NewPackage(
        kind=kind_of(asked.kind),
        make=asked.make,
        model=asked.model,
        version_from=asked.version_from,
        version_to=asked.version_to,
        protocol=protocol,
        name=asked.name,
        launch_ms=launch_of(asked.launch_date),
        release_note=asked.release_note,
        size_bytes=asked.size_bytes,
        sha256=_digest(asked.sha256),
        signature=_signature(asked.signature),
        certificates=asked.certificates.encode() or None,
    )


def package_record(package: Package, account_name: str, offset: int | None = None) -> PackageRecord:
    """Return the record of a package."""
    return PackageRecord(
        id=package.id,
        account_name=account_name,
        kind=package.kind,
        name=package.name,
        make=package.make,
        model=package.model,
        version_from=package.version_from,
        version_to=package.version_to,
        protocol=package.protocol,
        launch_date=format_t2(package.launch_ms),
        release_note=package.release_note,
        size_bytes=package.size_bytes,
        sha256=package.sha256.hex() if package.sha256 else None,
        signed_by=package.signed_by,
        state=package.state,
        create_time=format_t2(package.created_ms),
        upload_offset=offset,
    )


def kind_of(text: str) -> Kind:
    """Return a kind by its name."""
    if text not in list(Kind):
        raise InvalidPackage("kind", f"must be one of {', '.join(Kind)}")
    return Kind(text)


def launch_of(text: str) -> int | None:
    """Return the time of a date, or of a time as the API writes it; None for none."""
    try:
        return parse_d(text) if text else None
    except RecordError as error:
        raise InvalidPackage("launch_date", error.rule) from None


def _digest(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text) if text else None
    except ValueError:
        raise InvalidPackage("sha256", "must be 64 hex digits") from None


def _signature(text: str) -> bytes | None:
    try:
        return b64decode(text, validate=True) if text else None
    except NotBase64:
        raise InvalidPackage("signature", "must be base64") from None
