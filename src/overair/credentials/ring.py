"""Where the DTLS door finds keys, in the middle of a handshake.

Why this reads the database on the calling thread, and keeps nothing beyond a turn of the event loop:
docs/decisions/0007.
"""

import asyncio
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
    """The keys that are valid now. Belongs to one event loop; close it on that loop's thread."""

    def __init__(self, reader: PskReader, sealer: Sealer, clock: Clock) -> None:
        self._reader = reader
        self._sealer = sealer
        self._clock = clock
        self.is_empty = False
        """Whether there was no key at all when somebody looked last; spares :meth:`has_key` its query."""
        self._loop = asyncio.get_running_loop()
        self._found: dict[bytes, int] = {}

    def find(self, identity: bytes) -> Sequence[bytes]:
        """Return the keys of an identity, newest first; none for a stranger."""
        rows = self._valid(identity)
        self._remember(identity, rows)
        return [key for row in rows for key in self._opened(identity, row)]

    def owner(self, identity: bytes) -> int | None:
        """Return the IMEI of the device that an identity belongs to; None for a stranger's.

        In the turn of the loop in which :meth:`find` read it, it is not read again.
        """
        found = self._found.get(identity)
        if found is not None:
            return found
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

    def _remember(self, identity: bytes, rows: Sequence[PskRow]) -> None:
        if not rows:
            self._found.pop(identity, None)
            return
        if not self._found:
            # Until then nobody on this loop can know of a change that came after the keys were read.
            self._loop.call_soon(self._found.clear)
        self._found[identity] = rows[0][0]

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
