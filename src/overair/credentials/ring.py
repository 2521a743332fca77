"""Where the DTLS door finds keys, in the middle of a handshake.

Why this reads the database on the calling thread, and keeps nothing: docs/decisions/0007.
"""

from collections.abc import Sequence
from typing import Protocol

import structlog

from overair.credentials.rules import IDENTITY_BYTES, is_valid
from overair.platform.clock import Clock
from overair.platform.sealing import MasterKeyError, Sealer

_log = structlog.get_logger()

PskRow = tuple[int, bytes, int | None]
"""IMEI, sealed key, time of expiry in ms or None."""


class PskReader(Protocol):
    """Reads the keys of one identity or device, expired ones included, on the thread that asks."""

    def keys_of(self, identity: bytes) -> Sequence[PskRow]:
        """Return the keys of an identity, newest first; none if that can't be read."""
        ...

    def expiries_of(self, imei: int) -> Sequence[int | None] | None:
        """Return when a device's keys expire, in ms or None for never; None if that can't be read."""
        ...

    def close(self) -> None:
        """Give back the connection; on the thread that asked for rows."""
        ...


class KeyRing:
    """The keys that are valid now. Belongs to one thread; close it on that thread."""

    def __init__(self, reader: PskReader, sealer: Sealer, clock: Clock) -> None:
        self._reader = reader
        self._sealer = sealer
        self._clock = clock
        self.is_empty = False
        """Whether there was no key at all when somebody looked last; spares :meth:`has_key` its query."""

    def find(self, identity: bytes) -> Sequence[bytes]:
        """Return the keys of an identity, newest first; none for a stranger."""
        return [key for row in self._valid(identity) for key in self._opened(identity, row)]

    def owner(self, identity: bytes) -> int | None:
        """Return the IMEI of the device that an identity belongs to; None for a stranger's."""
        return next((imei for imei, _, _ in self._valid(identity)), None)

    def has_key(self, imei: int) -> bool:
        """Return whether a device has a key, and so must prove it."""
        if self.is_empty:
            return False
        expiries = self._reader.expiries_of(imei)
        if expiries is None:
            return True  # better one honest device too few than a stranger in its place
        now_ms = self._clock.now_ms()
        return any(is_valid(expires_ms, now_ms) for expires_ms in expiries)

    def close(self) -> None:
        """Stop reading."""
        self._reader.close()

    def _valid(self, identity: bytes) -> list[PskRow]:
        if len(identity) not in IDENTITY_BYTES:
            return []
        now_ms = self._clock.now_ms()
        return [row for row in self._reader.keys_of(identity) if is_valid(row[2], now_ms)]

    def _opened(self, identity: bytes, row: PskRow) -> list[bytes]:
        imei, sealed, _ = row
        try:
            return [self._sealer.open(identity, sealed)]
        except MasterKeyError:
            # One row that somebody tampered with must not close the door to its neighbours.
            _log.error("psk_does_not_open", imei=f"{imei:015d}")
            return []
