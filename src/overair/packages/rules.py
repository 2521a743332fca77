"""What may be said of a package, and how its state moves; no I/O.

A package comes in as *uploading*, and is *ready* once its image is whole and its signature verified. Only a
ready one is offered. *Withdrawn* is for good: campaigns that began with it go on, new ones can't. *Damaged*
is what became of an image that is no longer what came in: nothing of it is served again. A name is free
again once its package is withdrawn or damaged, so that the same firmware can be added anew.
"""

from dataclasses import replace
from types import MappingProxyType

from overair.packages.model import InvalidPackage, Kind, NewPackage, State
from overair.platform.limits import Limits

PROTOCOLS = ("LWM2M", "OMADM", "HTTP")
SHA256_BYTES = 32
LIVE = (State.UPLOADING, State.READY)
"""The states in which a package has its name for itself."""
SERVED = (State.READY, State.WITHDRAWN)

WITHDRAWAL = MappingProxyType({State.READY: State.WITHDRAWN, State.DAMAGED: State.WITHDRAWN})
"""What becomes of a package that is removed; an upload that is not done leaves nothing behind."""
DAMAGE = MappingProxyType({State.READY: State.DAMAGED, State.WITHDRAWN: State.WITHDRAWN})
"""What becomes of a package whose image is damaged."""

# Fields that may not be empty; a file has no version that a device must have before (spec lifecycle.md, 6).
_REQUIRED = {
    Kind.FIRMWARE: ("make", "model", "version_from", "version_to"),
    Kind.SOFTWARE: ("make", "model", "version_to"),
    Kind.FILE: ("make", "model", "version_to"),
}
_TEXTS = ("make", "model", "version_from", "version_to", "name")


def checked(new: NewPackage, limits: Limits) -> NewPackage:
    """Return *new* with its name; :class:`InvalidPackage` names the first field that breaks a rule."""
    for field in _REQUIRED[new.kind]:
        if not getattr(new, field):
            raise InvalidPackage(field, f"is required for {new.kind}")
    named = replace(new, name=new.name or default_name(new))
    for field in _TEXTS:
        _check_text(field, getattr(named, field), limits.text_bytes)
    _check_note(named.release_note, limits.release_note_characters)
    if named.kind is Kind.FIRMWARE and named.version_from == named.version_to:
        raise InvalidPackage("version_to", "must differ from version_from")
    if named.protocol not in PROTOCOLS:
        raise InvalidPackage("protocol", f"must be one of {', '.join(PROTOCOLS)}")
    if not 1 <= named.size_bytes <= limits.image_bytes:
        raise InvalidPackage("size", f"must be 1 to {limits.image_bytes} bytes")
    if named.sha256 is not None and len(named.sha256) != SHA256_BYTES:
        raise InvalidPackage("sha256", "must be 64 hex digits")
    _check_signature(named, limits)
    return named


def default_name(new: NewPackage) -> str:
    """Return the name after the published pattern (spec api-v3.md, section 4.1)."""
    parts = (new.make.replace(" ", ""), new.model, new.version_from, new.version_to)
    return "_".join(part for part in parts if part)


def folded(text: str) -> str:
    """Return make or model as they are compared: without regard to case (spec lifecycle.md, section 6)."""
    return text.lower()


def _check_text(field: str, text: str, limit_bytes: int) -> None:
    if text != text.strip() or not text.isprintable():
        raise InvalidPackage(field, "must be printable, and not begin or end with a space")
    if len(text.encode(errors="surrogateescape")) > limit_bytes:
        raise InvalidPackage(field, f"must be at most {limit_bytes} bytes")


def _check_note(text: str, limit: int) -> None:
    if len(text) > limit:
        raise InvalidPackage("release_note", f"must be at most {limit} characters")
    if not text.replace("\n", "").replace("\t", "").isprintable():
        raise InvalidPackage("release_note", "must be printable")


def _check_signature(new: NewPackage, limits: Limits) -> None:
    if new.certificates is not None and new.signature is None:
        raise InvalidPackage("signature", "is required where there is a certificate")
    if len(new.signature or b"") > limits.signature_bytes:
        raise InvalidPackage("signature", f"must be at most {limits.signature_bytes} bytes")
    if len(new.certificates or b"") > limits.certificates_bytes:
        raise InvalidPackage("certificates", f"must be at most {limits.certificates_bytes} bytes")
