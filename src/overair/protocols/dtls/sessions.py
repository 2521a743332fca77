"""What makes a session resumable: the store of sessions by id, and tickets (RFC 5246 7.3, RFC 5077).

Only sessions with an extended master secret are kept: a resumption without one is not bound to the
handshake that made it (RFC 7627 section 5.3).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from overair.protocols.dtls.rotation import Rotating

_NAME_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_SEALED_FROM: Final = _NAME_BYTES + _NONCE_BYTES


class Secretive(msgspec.Struct, frozen=True, array_like=True):
    """A structure whose text says nothing of what it holds."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Session(Secretive, frozen=True, gc=False):
    """What a resumption takes up. `fingerprint` tells which key it was made with."""

    suite: int
    master: bytes
    identity: bytes
    fingerprint: bytes = b""
    id: bytes = b""
    ticket: bytes = b""
    """The client's, if the server gave it one."""


class SessionStore:
    """Sessions by their id, oldest first: the server's own memory of them."""

    __slots__ = ("_entries", "_limit", "_seconds")

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._entries: OrderedDict[bytes, tuple[Session, float]] = OrderedDict()

    def __len__(self) -> int:
        """Sessions held."""
        return len(self._entries)

    def put(self, session: Session, now: float) -> None:
        """Keep a session under its id; the oldest and the expired make room."""
        entries = self._entries
        entries[session.id] = (session, now)
        while entries:
            _, made = next(iter(entries.values()))
            if len(entries) <= self._limit and now - made < self._seconds:
                break
            entries.popitem(last=False)

    def get(self, session_id: bytes, now: float) -> Session | None:
        """The session of this id, unless it is too old."""
        entry = self._entries.get(session_id)
        if entry is None or now - entry[1] >= self._seconds:
            return None
        return entry[0]

    def forget(self, session: Session) -> None:
        """Don't let it be resumed again."""
        self._entries.pop(session.id, None)

    def saved(self, now: float) -> list[tuple[Session, float]]:
        """All sessions with their age in seconds, oldest first."""
        return [(session, now - made) for session, made in self._entries.values()]


class TicketKey(Secretive, frozen=True, gc=False):
    """A key that tickets are sealed with, and its name in them."""

    name: bytes
    key: bytes


class Tickets:
    """Sessions sealed into tickets that clients keep; a key seals for `seconds`, and opens as long again."""

    __slots__ = ("_aead", "_random", "_sealing", "keys")

    def __init__(self, random: Callable[[int], bytes], seconds: float) -> None:
        self._random = random
        self.keys = Rotating(lambda: TicketKey(random(_NAME_BYTES), random(16)), seconds)
        self._sealing: TicketKey | None = None
        """The key that `_aead` is set up with."""

    def seal(self, session: Session, now: float) -> bytes:
        """The ticket for a session."""
        key, nonce = self.keys.at(now)[0], self._random(_NONCE_BYTES)
        if key is not self._sealing:
            self._sealing, self._aead = key, AESGCM(key.key)
        return key.name + nonce + self._aead.encrypt(nonce, msgspec.msgpack.encode(session), key.name)

    def open(self, ticket: bytes, now: float) -> Session | None:
        """The session in a ticket that we sealed, None for any other bytes."""
        name, nonce = ticket[:_NAME_BYTES], ticket[_NAME_BYTES:_SEALED_FROM]
        key = next((key for key in self.keys.at(now) if key.name == name), None)
        if key is None or len(nonce) < _NONCE_BYTES:
            return None
        try:
            sealed = AESGCM(key.key).decrypt(nonce, ticket[_SEALED_FROM:], name)
        except InvalidTag:
            return None
        return msgspec.msgpack.decode(sealed, type=Session)
