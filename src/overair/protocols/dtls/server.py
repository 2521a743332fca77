"""The server: one object for all peers of a socket (RFC 6347, RFC 9146; spec lwm2m.md 10.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from overair.protocols.dtls import codes, wire
from overair.protocols.dtls.association import Address, Association
from overair.protocols.dtls.cookies import Cookies
from overair.protocols.dtls.engine import Engine
from overair.protocols.dtls.errors import HandshakeError
from overair.protocols.dtls.events import Event, HandshakeFailed
from overair.protocols.dtls.parameters import DtlsLimits, DtlsParameters
from overair.protocols.dtls.saving import load, restored, save
from overair.protocols.dtls.server_handshake import Keys, ServerContext, ServerHandshake
from overair.protocols.dtls.sessions import SessionStore, Tickets
from overair.protocols.dtls.wire import Record

_CLIENT_HELLO: Final = bytes((codes.CLIENT_HELLO,))


class Server(Engine):
    """DTLS 1.2 for any number of peers.

    The driver hands each datagram to `receive`, calls `advance` when `next_due` has come, and after
    anything sends and clears what is in `outbox`.
    """

    def __init__(
        self,
        *,
        keys: Keys,
        random: Callable[[int], bytes],
        parameters: DtlsParameters | None = None,
        limits: DtlsLimits | None = None,
    ) -> None:
        parameters, limits = parameters or DtlsParameters(), limits or DtlsLimits()
        self._sessions = SessionStore(limits.sessions, parameters.session_seconds)
        self._tickets = Tickets(random, parameters.session_seconds)
        self._lent = ServerContext(
            parameters=parameters,
            limits=limits,
            random=random,
            send=self._send_to,
            forget=self._sessions.forget,
        )
        self._lent.lend(keys=keys, sessions=self._sessions, tickets=self._tickets, new_cid=self._new_cid)
        super().__init__(self._lent)
        self._process = bytes((parameters.process_number,))
        self._cookies = Cookies(random, parameters.cookie_seconds)
        self.outbox: list[tuple[bytes, Address]] = []
        """Datagrams to send now, oldest first; the driver sends and clears them."""

    def __len__(self) -> int:
        """Established associations."""
        return len(self._peers)

    # --- what a driver calls

    def receive(self, datagram: bytes, address: Address, now: float) -> list[Event]:
        """Take one datagram. No bytes make this raise."""
        return self._receive(datagram, address, now)

    def send(self, association: Association, data: bytes) -> None:
        """Send application data.

        AssociationStateError if the association ended or has used up its record numbers;
        DataTooLargeError above what the peer takes in one record.
        """
        self._send_data(association, data)

    def close(self, association: Association) -> None:
        """Say close_notify and forget the association; nothing happens if it ended before."""
        self._close(association)

    def save_sessions(self, now: float) -> bytes:
        """All that a restarted process needs to go on: associations, sessions to resume, ticket keys.

        It holds keys: write it where nobody else can read it. It is good once, and for as long as each
        association sends fewer than 2^24 records after it; replays of records that came after it can't
        be told.
        """
        return save(self._peers, self._sessions, self._tickets, now)

    def restore(self, saved: bytes, now: float) -> list[Association]:
        """Take up what `save_sessions` gave, in a server that did nothing yet; returns the associations.

        Those with a Connection ID of another length than ours are left out. SavedStateError for other bytes.
        """
        state = load(saved)
        self._tickets.keys.restore(*state.ticket_keys, now - state.ticket_key_age_seconds)
        for session, age in state.sessions:
            self._sessions.put(session, now - age)
        associations = [restored(entry, now) for entry in state.associations]
        kept = [one for one in associations if len(one.own_cid) in (0, self._cid_bytes)]
        for association in kept:
            self._peers.take_up(association)
            self._timers.set(association, association.last_heard + self.parameters.idle_seconds)
        return kept

    # --- hellos

    def _receive_plain(self, record: Record, address: Address, now: float, events: list[Event]) -> None:
        if record.kind == codes.HANDSHAKE and record.fragment[:1] == _CLIENT_HELLO:
            self._receive_hello(record, address, now, events)
        else:
            super()._receive_plain(record, address, now, events)

    def _receive_hello(self, record: Record, address: Address, now: float, events: list[Event]) -> None:
        """Ask a stranger to prove the address, and keep nothing; begin with who did (RFC 6347 4.2.1)."""
        fragment = wire.read_fragments(record.fragment)[0]
        if not fragment.is_whole:
            self.counters.fragmented_hellos += 1
            return
        cookie, bound = wire.split_client_hello(fragment.body)
        if not cookie or not self._cookies.is_valid(cookie, address, bound, now):
            self.counters.verify_requests += 1
            body = wire.hello_verify_request_body(self._cookies.make(address, bound, now))
            request = wire.message(codes.HELLO_VERIFY_REQUEST, fragment.sequence, body)
            self._send_to(wire.plain_record(codes.HANDSHAKE, record.number, request, codes.DTLS_1_0), address)
            return
        hello = wire.parse_client_hello(fragment.body)
        if self._is_first_copy(hello, address):
            self._begin(hello, fragment, record.number, address, now, events)

    def _is_first_copy(self, hello: wire.ClientHello, address: Address) -> bool:
        """Whether this hello has no handshake yet; if it has, its answer may be lost."""
        association = self._peers.handshakes.get(address)
        if association is None:
            return True
        handshake, last_flight = association.handshake, association.last_flight
        if handshake is not None and handshake.client_random == hello.random:
            handshake.repeat_flight()
            return False
        return last_flight is None or last_flight.client_random != hello.random

    def _begin(
        self,
        hello: wire.ClientHello,
        fragment: wire.Fragment,
        number: int,
        address: Address,
        now: float,
        events: list[Event],
    ) -> None:
        before = self._peers.handshakes.get(address)
        if before is not None:
            self._forget_handshake(before)
        if len(self._peers) + len(self._peers.handshakes) >= self.limits.associations:
            self.counters.refused += 1
            return
        association = Association(address)
        association.handshake = handshake = ServerHandshake(self._lent, association, now)
        self.counters.handshakes += 1
        try:
            handshake.begin(hello, fragment, number, now)
        except HandshakeError as error:
            handshake.send_alert(error.alert)
            self.counters.failed += 1
            events.append(HandshakeFailed(address, error.reason))
            return
        self._make_room()
        self._peers.begin(association)
        self._timers.set(association, handshake.due())

    def _make_room(self) -> None:
        handshakes = self._peers.handshakes
        while len(handshakes) >= self.limits.handshakes:
            self.counters.evicted += 1
            self._forget_handshake(next(iter(handshakes.values())))

    def _forget_handshake(self, association: Association) -> None:
        """A newer handshake takes the place; the association lives on if it is established."""
        if association.established:
            self._settle(association)
        else:
            self._remove(association)

    def _new_cid(self) -> bytes:
        """A Connection ID that nobody has: the number of this process, then random bytes."""
        if not self._cid_bytes:
            return b""
        while self._peers.has_cid(cid := self._process + self._context.random(self._cid_bytes - 1)):
            continue
        return cid

    def _send_to(self, datagram: bytes, address: Address) -> None:
        self.outbox.append((datagram, address))
