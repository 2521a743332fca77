"""Whose signatures count: public keys and certificates in the folder ``trust`` of the data directory.

One PEM file each, named after the fingerprint of what is in it; files that were put there by hand under
other names count as well. Every function blocks on files.
"""

import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from overair.packages.model import TrustError

FOLDER = "trust"
FILE_BYTES = 256 * 1024
ANCHORS = 64  # a signature without a certificate is tried with each key

_NAME_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Anchor:
    """A trusted public key, or a trusted certificate with its key."""

    name: str
    """The beginning of the SHA-256 of its DER form, in hex."""
    key: PublicKeyTypes = field(repr=False)
    certificate: x509.Certificate | None
    pem: bytes = field(repr=False)

    @property
    def subject(self) -> str:
        """Whom it is of; a bare key is nobody's."""
        return self.certificate.subject.rfc4514_string() if self.certificate else ""

    @property
    def expires_ms(self) -> int | None:
        """When a certificate ends; a key never does."""
        if self.certificate is None:
            return None
        return round(self.certificate.not_valid_after_utc.timestamp() * 1000)


class TrustFolder:
    """The trusted keys and certificates of one data directory."""

    def __init__(self, data: Path) -> None:
        self._folder = data / FOLDER

    def anchors(self) -> list[Anchor]:
        """Return everything trusted, by name; :class:`TrustError` for a file that holds nothing to trust."""
        found = {anchor.name: anchor for file in self._files() for anchor in read_anchors(file)}
        return [found[name] for name in sorted(found)]

    def add(self, file: Path) -> list[Anchor]:
        """Trust what is in a PEM file, a public key or certificates; return it."""
        new = read_anchors(file)
        names = {anchor.name for anchor in self.anchors()} | {anchor.name for anchor in new}
        if len(names) > ANCHORS:
            raise TrustError(f"{file}: more than {ANCHORS} keys and certificates would be trusted")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for anchor in new:
            _write(self._folder / f"{anchor.name}.pem", anchor.pem)
        return new

    def remove(self, name: str) -> None:
        """Trust no longer what has a name; :class:`TrustError` if nothing has."""
        holding = [file for file in self._files() if any(one.name == name for one in read_anchors(file))]
        if not holding:
            raise TrustError(f"nothing that is trusted is named {name!r}")
        for file in holding:
            if len(read_anchors(file)) > 1:
                raise TrustError(f"{file} holds other certificates too: take them apart first")
        for file in holding:
            file.unlink()

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.pem"))


def read_anchors(file: Path) -> list[Anchor]:
    """Return the public key or the certificates of a PEM file; :class:`TrustError` if it has none."""
    with file.open("rb") as opened:
        pem = opened.read(FILE_BYTES + 1)
    if len(pem) > FILE_BYTES:
        raise TrustError(f"{file}: must be at most {FILE_BYTES} bytes")
    if b"PRIVATE KEY" in pem:
        raise TrustError(f"{file}: holds a private key: give the public one, and keep that one secret")
    try:
        if b"CERTIFICATE" in pem:
            return [_of_certificate(each) for each in x509.load_pem_x509_certificates(pem)]
        return [_of_key(load_pem_public_key(pem))]
    except ValueError as error:
        raise TrustError(f"{file}: must be a public key or certificates in PEM") from error


def _of_certificate(certificate: x509.Certificate) -> Anchor:
    name = _name(certificate.public_bytes(Encoding.DER))
    return Anchor(name, certificate.public_key(), certificate, certificate.public_bytes(Encoding.PEM))


def _of_key(key: PublicKeyTypes) -> Anchor:
    name = _name(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return Anchor(name, key, None, key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def _name(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()[:_NAME_DIGITS]


def _write(file: Path, content: bytes) -> None:
    """Make a file whole or not at all: the service may read the folder at any time."""
    draft = file.with_name(f".{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(descriptor)
    draft.replace(file)
