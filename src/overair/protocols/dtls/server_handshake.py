"""The server's side of a handshake: the actions of `states.SERVER`.

An identity that nobody knows gets a random key and goes the same way as a known one: it fails at the
first record under that key, with the same alert as a wrong key, after the same work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from overair.protocols.dtls import codes, wire
from overair.protocols.dtls.association import Association
from overair.protocols.dtls.codes import Alert
from overair.protocols.dtls.ecdh import KeyShare
from overair.protocols.dtls.errors import FailureReason, HandshakeError, WireError
from overair.protocols.dtls.handshake import Context, Handshake
from overair.protocols.dtls.reassembly import Message
from overair.protocols.dtls.schedule import key_fingerprint
from overair.protocols.dtls.sessions import Session, SessionStore, Tickets
from overair.protocols.dtls.states import SERVER, Input
from overair.protocols.dtls.suites import SUITES, Suite

_FULL, _RESUMING = Input.FULL_CLIENT_HELLO, Input.RESUMING_CLIENT_HELLO
_RENEGOTIATION_ANSWER: Final = wire.extension(codes.RENEGOTIATION_INFO, b"\0")
_EXTENDED_ANSWER: Final = wire.extension(codes.EXTENDED_MASTER_SECRET, b"")
_ENCRYPT_THEN_MAC_ANSWER: Final = wire.extension(codes.ENCRYPT_THEN_MAC, b"")
_TICKET_ANSWER: Final = wire.extension(codes.SESSION_TICKET, b"")
_RANDOM_KEY_BYTES: Final = 16
_SESSION_ID_BYTES: Final = 32


class Keys(Protocol):
    """Where pre-shared keys come from."""

    def find(self, identity: bytes) -> Sequence[bytes]:
        """The keys of an identity, none of them empty: several while they change, none for a stranger."""


class ServerContext(Context):
    """What a server lends to its handshakes."""

    __slots__ = ("keys", "new_cid", "sessions", "tickets")

    def lend(
        self, *, keys: Keys, sessions: SessionStore, tickets: Tickets, new_cid: Callable[[], bytes]
    ) -> None:
        """Add what only servers have."""
        self.keys = keys
        self.sessions = sessions
        self.tickets = tickets
        self.new_cid = new_cid


class ServerHandshake(Handshake):
    """A handshake that a ClientHello with a valid cookie began."""

    __slots__ = ("_hello", "_lent", "_session_id", "_share", "_ticketed")

    is_server = True
    table = SERVER

    _hello: wire.ClientHello
    _session_id: bytes

    def __init__(self, context: ServerContext, association: Association, now: float) -> None:
        super().__init__(context, association, now)
        self._lent = context
        self._share: KeyShare | None = None
        self._ticketed = False

    def begin(self, hello: wire.ClientHello, fragment: wire.Fragment, number: int, now: float) -> None:
        """Answer a ClientHello; `number` is that of its record. HandshakeError if there is no common ground.

        Our numbers go on from the peer's, as if the cookie exchange had been ours (RFC 6347 section 4.2.2).
        """
        self.plain_number = number
        self._next_sequence = fragment.sequence
        self._inbox.next_sequence = fragment.sequence + 1
        self._hello = hello
        self.client_random = hello.random
        self.server_random = self._context.random(32)
        _check_hello(hello)
        self.session = self._resumable(now)
        found = _FULL if self.session is None else _RESUMING
        self._take(Message(codes.CLIENT_HELLO, 0, fragment.sequence, fragment.body), now, found)

    def _resumable(self, now: float) -> Session | None:
        """The session that the hello wants to go on with, if it may."""
        hello, lent = self._hello, self._lent
        ticket = hello.extensions.get(codes.SESSION_TICKET)
        session = lent.tickets.open(ticket, now) if ticket else lent.sessions.get(hello.session_id, now)
        if session is None or session.suite not in hello.suites:
            return None
        if session.suite not in self._context.parameters.suites:
            return None
        if codes.EXTENDED_MASTER_SECRET not in hello.extensions:
            raise HandshakeError(Alert.HANDSHAKE_FAILURE, rule="extended_master_secret: was in the session")
        # A key that was taken away must not live on in its sessions.
        fingerprints = [key_fingerprint(psk) for psk in self._find_keys(session.identity)]
        return session if session.fingerprint in fingerprints else None

    def _find_keys(self, identity: bytes) -> Sequence[bytes]:
        return self._lent.keys.find(identity)[: self._context.limits.keys_per_identity]

    # --- actions

    def offer_full(self, _body: bytes, now: float) -> None:
        """ServerHello to ServerHelloDone."""
        self.suite = suite = self._choose_suite()
        extensions = self._answer_extensions(suite)
        self._ticketed = self.extended and codes.SESSION_TICKET in self._hello.extensions
        if self._ticketed:
            extensions.append(_TICKET_ANSWER)
        # A client with a ticket needs no session id (RFC 5077 section 3.4).
        keeps = self.extended and not self._ticketed
        self._session_id = self._context.random(_SESSION_ID_BYTES) if keeps else b""
        self._queue_hello(suite, self._session_id, extensions)
        if suite.ecdhe:
            self._share = KeyShare(self._context.random)
            exchange = wire.ServerKeyExchange(b"", self._share.point)
            self._queue(codes.SERVER_KEY_EXCHANGE, wire.server_key_exchange_body(exchange))
        self._queue(codes.SERVER_HELLO_DONE, b"")
        self._send_flight(now)

    def offer_resumed(self, _body: bytes, now: float) -> None:
        """ServerHello and Finished: the keys come from the session and the new randoms."""
        if self.session is None:
            raise HandshakeError(Alert.INTERNAL_ERROR)
        self.resumed = True
        self.identity = self.session.identity
        self.suite = suite = SUITES[self.session.suite]
        self._queue_hello(suite, self._hello.session_id, self._answer_extensions(suite))
        self._use(self._derive(self.session.master))
        self._queue_finished()
        self._send_flight(now)

    def take_key_exchange(self, body: bytes, _now: float) -> None:
        """The identity: whether its keys are right shows at the first record under them."""
        exchange = wire.parse_client_key_exchange(body, self.suite.ecdhe)
        if len(exchange.identity) > self._context.limits.identity_bytes:
            raise WireError("ClientKeyExchange.identity: too long")
        if self._share is not None:
            self._ecdh_secret = self._share.exchange(exchange.point)
        self.identity = exchange.identity
        self._psks = self._find_keys(exchange.identity)
        if not self._psks:
            self._wrong_key = FailureReason.UNKNOWN_IDENTITY
            self._psks = [self._context.random(_RANDOM_KEY_BYTES)]

    def finish_full(self, _body: bytes, now: float) -> None:
        """[NewSessionTicket] and Finished; the session can be resumed from now on."""
        (psk,), (traffic,) = self._psks, self._trials
        self._begin_flight()
        if self.extended:
            fingerprint = key_fingerprint(psk)
            session = Session(self.suite.number, traffic.master, self.identity, fingerprint, self._session_id)
            self._keep(session, now)
        self._queue_finished()
        self._send_flight(now, last=True)

    def finish_resumed(self, _body: bytes, _now: float) -> None:
        """Nothing more to say. A session from a ticket is in no store, so there is nothing to remember."""
        self._end_flight()
        if self.session is not None and not self.session.id:
            self.session = None

    # --- parts of them

    def _keep(self, session: Session, now: float) -> None:
        if self._ticketed:
            lifetime = int(self._context.parameters.session_seconds)
            ticket = wire.NewSessionTicket(lifetime, self._lent.tickets.seal(session, now))
            self._queue(codes.NEW_SESSION_TICKET, wire.new_session_ticket_body(ticket))
        else:
            self.session = session
            self._lent.sessions.put(session, now)

    def _choose_suite(self) -> Suite:
        hello = self._hello
        groups = hello.extensions.get(codes.SUPPORTED_GROUPS)
        # No list means any group (RFC 8422 section 4).
        has_curve = groups is None or codes.SECP256R1 in wire.parse_supported_groups(groups)
        for number in self._context.parameters.suites:
            if number in hello.suites and (has_curve or not SUITES[number].ecdhe):
                return SUITES[number]
        raise HandshakeError(Alert.HANDSHAKE_FAILURE, FailureReason.NO_COMMON_SUITE)

    def _answer_extensions(self, suite: Suite) -> list[bytes]:
        """Take up what both sides can, and the extensions that say so."""
        offered, association = self._hello.extensions, self.association
        answer: list[bytes] = []
        if codes.RENEGOTIATION_INFO in offered or codes.RENEGOTIATION_SCSV in self._hello.suites:
            answer.append(_RENEGOTIATION_ANSWER)
        if codes.EXTENDED_MASTER_SECRET in offered:
            self.extended = True
            answer.append(_EXTENDED_ANSWER)
        if codes.ENCRYPT_THEN_MAC in offered and suite.mode == "cbc":
            self.encrypt_then_mac = True
            answer.append(_ENCRYPT_THEN_MAC_ANSWER)
        if (length := offered.get(codes.MAX_FRAGMENT_LENGTH)) is not None:
            association.content_bytes = wire.parse_max_fragment_length(length)
            answer.append(wire.extension(codes.MAX_FRAGMENT_LENGTH, length))
        cid = offered.get(codes.CONNECTION_ID)
        if cid is not None and self._context.parameters.connection_id_bytes is not None:
            association.peer_cid = wire.parse_connection_id(cid)
            association.own_cid = self._lent.new_cid()
            answer.append(wire.extension(codes.CONNECTION_ID, wire.vector(1, association.own_cid)))
        return answer

    def _queue_hello(self, suite: Suite, session_id: bytes, extensions: list[bytes]) -> None:
        body = wire.server_hello(self.server_random, session_id, suite.number, extensions)
        self._queue(codes.SERVER_HELLO, body)


def _check_hello(hello: wire.ClientHello) -> None:
    """What has no common ground with us at all."""
    major, minor = hello.version >> 8, hello.version & 0xFF
    if major != codes.DTLS_1_2 >> 8 or minor > codes.DTLS_1_2 & 0xFF:
        raise HandshakeError(Alert.PROTOCOL_VERSION, FailureReason.VERSION)
    if 0 not in hello.compressions:
        raise HandshakeError(Alert.ILLEGAL_PARAMETER, rule="compression_methods: must have null")
    if hello.extensions.get(codes.RENEGOTIATION_INFO, b"\0") != b"\0":
        raise HandshakeError(Alert.HANDSHAKE_FAILURE, rule="renegotiation_info: a first handshake has none")
