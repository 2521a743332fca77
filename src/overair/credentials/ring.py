"""Where the DTLS door finds keys, in the middle of a handshake.

Why this reads the database on the calling thread, and keeps nothing: docs/decisions/0007.
"""

from collections.abc import Sequence
from typing import Protocol

import structlog

from overair.credentials.model import MasterKeyError
from overair.credentials.rules import IDENTITY_BYTES, is_valid
from overair.credentials.sealing import Sealer
from overair.platform.clock import Clock

_log = structlog.get_logger()

PskRow = tuple[int, bytes, int | None]
"""IMEI, sealed key, time of expiry in ms or None."""


class PskReader(Protocol):
    """Reads the rows of one identity, on the thread that asks."""

    def rows(self, identity: bytes) -> Sequence[PskRow]:
        """Return the keys of an identity, newest first, expired ones included; none if it can't be read."""
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

    def find(self, identity: bytes) -> Sequence[bytes]:
        """Return the keys of an identity, newest first; none for a stranger."""
        return [key for row in self._valid(identity) for key in self._opened(identity, row)]

    def owner(self, identity: bytes) -> int | None:
        """Return the IMEI of the device that an identity belongs to; None for a stranger's."""
        return next((imei for imei, _, _ in self._valid(identity)), None)

    def close(self) -> None:
        """Stop reading."""
        self._reader.close()

    def _valid(self, identity: bytes) -> list[PskRow]:
        if len(identity) not in IDENTITY_BYTES:
            return []
        now_ms = self._clock.now_ms()
        return [row for row in self._reader.rows(identity) if is_valid(row[2], now_ms)]

    def _opened(self, identity: bytes, row: PskRow) -> list[bytes]:
        imei, sealed, _ = row
        try:
            return [self._sealer.open(identity, sealed)]
        except MasterKeyError:
            # One row that somebody tampered with must not close the door to its neighbours.
            _log.error("psk_does_not_open", imei=f"{imei:015d}")
            return []
