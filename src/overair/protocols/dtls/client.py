"""The client: one peer, as devices and simulators need it (RFC 6347, RFC 9146)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from overair.protocols.dtls.association import Address, Association
from overair.protocols.dtls.client_handshake import ClientHandshake
from overair.protocols.dtls.engine import Engine
from overair.protocols.dtls.errors import AssociationStateError, ParameterError, SavedStateError
from overair.protocols.dtls.events import Established, Event
from overair.protocols.dtls.handshake import Context
from overair.protocols.dtls.parameters import DtlsLimits, DtlsParameters
from overair.protocols.dtls.peers import Peers
from overair.protocols.dtls.sessions import Session
from overair.protocols.dtls.suites import SUITES

MAX_KEY_BYTES: Final = 0xFFFF


class Client(Engine):
    """DTLS 1.2 with one server. `outbox` holds datagrams for it.

    A client may send from another address at any time: with a Connection ID the server follows, without
    one it takes `resume` or `start` again.
    """

    def __init__(
        self,
        *,
        identity: bytes,
        key: bytes,
        random: Callable[[int], bytes],
        parameters: DtlsParameters | None = None,
        limits: DtlsLimits | None = None,
        session: bytes | None = None,
    ) -> None:
        """`session` is what `session()` gave another client, to `resume` it; SavedStateError if it is not."""
        parameters, limits = parameters or DtlsParameters(), limits or DtlsLimits()
        if not 1 <= len(identity) <= limits.identity_bytes:
            raise ParameterError(f"identity: 1 to {limits.identity_bytes} bytes")
        if not 1 <= len(key) <= MAX_KEY_BYTES:
            raise ParameterError(f"key: 1 to {MAX_KEY_BYTES} bytes")
        context = Context(
            parameters=parameters, limits=limits, random=random, send=self._send_to, forget=self._forget
        )
        super().__init__(context)
        self.outbox: list[bytes] = []
        self.association: Association | None = None
        """The one in use or in the making."""
        self._identity = identity
        self._key = key
        self._session = None if session is None else _load(session)

    def start(self, now: float) -> None:
        """Begin a full handshake; an association that there is is forgotten without a word."""
        self._begin(None, now)

    def resume(self, now: float) -> None:
        """Begin a handshake that takes up the last session; a full one if there is none."""
        self._begin(self._session, now)

    def receive(self, datagram: bytes, now: float) -> list[Event]:
        """Take one datagram from the server. No bytes make this raise."""
        events = self._receive(datagram, None, now)
        for event in events:
            if isinstance(event, Established):
                self._session = event.association.session
        return events

    def send(self, data: bytes) -> None:
        """Send application data; errors as in `Server.send`."""
        if self.association is None:
            raise AssociationStateError("association: none")
        self._send_data(self.association, data)

    def close(self) -> None:
        """Say close_notify and forget the association."""
        if self.association is not None:
            self._close(self.association)

    def session(self) -> bytes | None:
        """What a later client needs to resume the last session; it holds a key. None if there is nothing."""
        return None if self._session is None else msgspec.msgpack.encode(self._session)

    def _begin(self, offered: Session | None, now: float) -> None:
        if self.association is not None:
            self._remove(self.association)
        # There is one peer, so nothing of the association before is left, whatever it was found by.
        self._peers = Peers()
        self.association = association = Association(None)
        association.own_cid = self._context.random(self._cid_bytes)
        association.handshake = handshake = ClientHandshake(
            self._context, association, now, identity=self._identity, key=self._key, offered=offered
        )
        self.counters.handshakes += 1
        handshake.begin(now)
        self._peers.begin(association)
        self._timers.set(association, handshake.due())

    def _send_to(self, datagram: bytes, _address: Address) -> None:
        self.outbox.append(datagram)

    def _forget(self, _session: Session) -> None:
        self._session = None


def _load(saved: bytes) -> Session:
    try:
        session = msgspec.msgpack.decode(saved, type=Session)
    except msgspec.DecodeError:
        raise SavedStateError("session: not what Client.session gave") from None
    if session.suite not in SUITES:
        raise SavedStateError("session.suite: unknown")
    return session
