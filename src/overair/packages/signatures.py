"""Who signed an image: a trusted key, or the key of a certificate that a trusted one vouches for.

A signature stands beside the image. Ed25519 signs the image itself (RFC 8032); RSA (PSS or PKCS #1 v1.5,
from 2048 bits) and ECDSA on P-256 sign its SHA-256. Chains are checked as RFC 5280, section 6, has it, by
the library; what is ours is what a certificate must be for: where it names purposes, signing code is one
of them. The choice and its reasons: docs/decisions/0010.
"""

import mmap
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from overair.packages.model import BadSignature
from overair.packages.trust import Anchor

CHAIN_CERTIFICATES = 8
MIN_RSA_BITS = 2048
SIGNED_BY_CHARACTERS = 255

_DIGEST = Prehashed(SHA256())
_RSA_PADDINGS = (
    padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=padding.PSS.AUTO),
    padding.PKCS1v15(),
)


def decoded(content: bytes) -> bytes:
    """Return the signature of a file: as it is, or out of base64 text."""
    try:
        return b64decode(b"".join(content.split()), validate=True)
    except NotBase64:
        return content


def signer(
    image: Path,
    sha256: bytes,
    signature: bytes,
    certificates: bytes | None,
    anchors: Sequence[Anchor],
    now_ms: int,
) -> str:
    """Return who signed a file whose SHA-256 is known; :class:`BadSignature` says why nobody did.

    Blocks: an Ed25519 signature takes another pass over the file.
    """
    if certificates is None:
        for anchor in anchors:
            if anchor.certificate is None and _signed(anchor.key, image, sha256, signature):
                return f"key {anchor.name}"
        raise BadSignature("the signature is not of this image by a trusted key")
    leaf = _vouched_for(certificates, anchors, now_ms)
    subject = leaf.subject.rfc4514_string()[:SIGNED_BY_CHARACTERS]
    _check_strength(leaf.public_key())
    if not _signed(leaf.public_key(), image, sha256, signature):
        raise BadSignature(f"the signature is not of this image by the key of {subject!r}")
    return subject


def _signed(key: PublicKeyTypes, image: Path, sha256: bytes, signature: bytes) -> bool:
    if isinstance(key, ed25519.Ed25519PublicKey):
        # Mapped: the whole is signed at once, and may be larger than the memory.
        with (
            image.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as whole,
        ):
            return _holds(lambda: key.verify(signature, whole))
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _holds(lambda: key.verify(signature, sha256, ec.ECDSA(_DIGEST)))
    if isinstance(key, rsa.RSAPublicKey):
        return any(
            _holds(lambda: key.verify(signature, sha256, scheme, _DIGEST))  # noqa: B023 - called at once
            for scheme in _RSA_PADDINGS
        )
    return False


def _holds(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except InvalidSignature:
        return False
    return True


def _check_strength(key: PublicKeyTypes) -> None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return
    raise BadSignature(
        f"the certificate's key must be Ed25519, ECDSA on P-256, or RSA of {MIN_RSA_BITS} bits or more"
    )


# Certificates.


def _vouched_for(pem: bytes, anchors: Sequence[Anchor], now_ms: int) -> x509.Certificate:
    """Return the first certificate, if a chain leads from it to a trusted one."""
    leaf, *between = _chain(pem)
    roots = [anchor.certificate for anchor in anchors if anchor.certificate is not None]
    if not roots:
        raise BadSignature("no certificate is trusted: run 'overair package trust add FILE'")
    policy = (
        verification.PolicyBuilder()
        .store(verification.Store(roots))
        .time(datetime.fromtimestamp(now_ms / 1000, UTC))
        .max_chain_depth(CHAIN_CERTIFICATES)
        .extension_policies(ca_policy=_issuers(), ee_policy=_signers())
    )
    try:
        policy.build_client_verifier().verify(leaf, between)
    except verification.VerificationError as error:
        raise BadSignature(_why(leaf, roots, now_ms, error)) from error
    return leaf


def _chain(pem: bytes) -> list[x509.Certificate]:
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise BadSignature("the certificates must be PEM, the signer's own first") from error
    if len(certificates) > CHAIN_CERTIFICATES:
        raise BadSignature(f"there must be at most {CHAIN_CERTIFICATES} certificates")
    return certificates


def _why(leaf: x509.Certificate, roots: Sequence[x509.Certificate], now_ms: int, error: Exception) -> str:
    """Word the commonest refusals; for the others the library's own words have to do."""
    subject = leaf.subject.rfc4514_string()[:SIGNED_BY_CHARACTERS]
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    if now > leaf.not_valid_after_utc:
        return f"the certificate of {subject!r} has expired on {leaf.not_valid_after_utc:%Y-%m-%d}"
    if now < leaf.not_valid_before_utc:
        return f"the certificate of {subject!r} is not valid before {leaf.not_valid_before_utc:%Y-%m-%d}"
    first = str(error).partition(" (encountered processing")[0].removeprefix("validation failed: ")
    return f"no chain leads from the certificate of {subject!r} to one of {len(roots)} trusted: {first}"


_AGNOSTIC = verification.Criticality.AGNOSTIC


def _issuers() -> verification.ExtensionPolicy:
    return (
        verification.ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, _AGNOSTIC, None)
        .may_be_present(x509.KeyUsage, _AGNOSTIC, _signs_certificates)
        .may_be_present(x509.ExtendedKeyUsage, _AGNOSTIC, _is_for_code)
    )


def _signers() -> verification.ExtensionPolicy:
    return (
        verification.ExtensionPolicy.permit_all()
        .may_be_present(x509.KeyUsage, _AGNOSTIC, _signs_data)
        .may_be_present(x509.ExtendedKeyUsage, _AGNOSTIC, _is_for_code)
    )


# What these raise, the library words as the reason of its own error.


def _signs_certificates(_: object, __: object, found: x509.KeyUsage | None) -> None:
    if found is not None and not found.key_cert_sign:
        raise ValueError("an issuer may not sign certificates")


def _signs_data(_: object, __: object, found: x509.KeyUsage | None) -> None:
    if found is not None and not found.digital_signature:
        raise ValueError("the certificate is not for signatures")


def _is_for_code(_: object, __: object, found: x509.ExtendedKeyUsage | None) -> None:
    allowed = (ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    if found is not None and not any(purpose in found for purpose in allowed):
        raise ValueError("a certificate is not for signing code")
