"""What an identity and a key may be, and what becomes of the old keys (spec lwm2m.md 10.2); no I/O.

A key that takes the place of another does not end it at once: a device gets its new key some time later,
and must come in until then. So the old one stays valid for some days, as one of several that the handshake
tries. A key that is given again ends its own overlap and is the current one again.
"""

import re
from collections.abc import Collection
from dataclasses import replace

from overair.credentials.model import (
    IdentityTaken,
    InvalidPsk,
    Known,
    StoredPsk,
    TooManyIdentities,
    TooManyKeys,
)
from overair.platform.clock import DAY_MS
from overair.platform.limits import Limits

IDENTITY_BYTES = range(1, 129)
KEY_BYTES = range(8, 65)  # the specification has no least length: shorter ones can be guessed
NEW_KEY_BYTES = 16

_HEX = re.compile("([0-9a-fA-F]{2})+")


def default_identity(imei: int) -> bytes:
    """Return the identity of a device that was given none: its usual endpoint name (spec lwm2m.md 2.1)."""
    return b"urn:imei:%015d" % imei


def checked_identity(identity: bytes) -> bytes:
    """Return *identity*; :class:`InvalidPsk` if it is too short or long. Any bytes will do."""
    if len(identity) not in IDENTITY_BYTES:
        raise InvalidPsk("PSK identity", "must be 1 to 128 bytes")
    return identity


def checked_key(key: bytes) -> bytes:
    """Return *key*; :class:`InvalidPsk`, without the key in it, if it is too short or long."""
    if len(key) not in KEY_BYTES:
        raise InvalidPsk("PSK key", "must be 8 to 64 bytes")
    return key


def key_from_hex(text: str) -> bytes:
    """Return the key that hex digits stand for; :class:`InvalidPsk`, without them in it."""
    if not _HEX.fullmatch(text):
        raise InvalidPsk("PSK key", "must be hex digits, two a byte")
    return checked_key(bytes.fromhex(text))


def is_valid(expires_ms: int | None, now_ms: int) -> bool:
    """Tell whether a handshake may still use a key."""
    return expires_ms is None or now_ms < expires_ms


def keys_after(
    wanted: StoredPsk, known: Known, same: Collection[StoredPsk], limits: Limits
) -> tuple[StoredPsk, ...]:
    """Return the keys of the identity, newest first, after *wanted* is added at its ``created_ms``.

    *same* are those of the known keys that are the same key. Raises :class:`IdentityTaken`,
    :class:`TooManyIdentities` or :class:`TooManyKeys`.
    """
    _check_owner(wanted, known, limits)
    valid = [key for key in known.keys if is_valid(key.expires_ms, wanted.created_ms)]
    if any(key.expires_ms is None and key in same for key in valid):
        return known.keys
    kept = [_replaced(key, wanted.created_ms, limits) for key in valid if key not in same]
    if len(kept) >= limits.keys_per_identity:
        raise TooManyKeys(wanted.identity, limits.keys_per_identity)
    return (wanted, *kept)


def _check_owner(wanted: StoredPsk, known: Known, limits: Limits) -> None:
    if any(key.imei != wanted.imei for key in known.keys):
        raise IdentityTaken(wanted.identity)
    if wanted.identity not in known.identities and len(known.identities) >= limits.identities_per_device:
        raise TooManyIdentities(wanted.imei, limits.identities_per_device)


def _replaced(key: StoredPsk, now_ms: int, limits: Limits) -> StoredPsk:
    if key.expires_ms is not None:
        return key
    return replace(key, expires_ms=now_ms + limits.key_overlap_days * DAY_MS)
