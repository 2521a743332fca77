"""The client's side of a handshake: the actions of `states.CLIENT`."""

from __future__ import annotations

from typing import Final

import msgspec

from overair.protocols.dtls import codes, wire
from overair.protocols.dtls.association import Association
from overair.protocols.dtls.codes import Alert
from overair.protocols.dtls.ecdh import KeyShare
from overair.protocols.dtls.errors import FailureReason, HandshakeError
from overair.protocols.dtls.handshake import Context, Handshake
from overair.protocols.dtls.reassembly import Inbox, Message
from overair.protocols.dtls.schedule import new_transcript
from overair.protocols.dtls.sessions import Session
from overair.protocols.dtls.states import CLIENT, Input, State
from overair.protocols.dtls.suites import SUITES

_SESSION_ID_BYTES: Final = 32
_MAX_VERIFY_REQUESTS: Final = 4
"""A server whose cookie secret changes asks twice; one that asks for ever is broken."""


class ClientHandshake(Handshake):
    """A handshake that we begin, full or as a resumption of `offered`."""

    __slots__ = (
        "_cookie",
        "_hello_id",
        "_key",
        "_offered",
        "_point",
        "_server_hello",
        "_ticket",
        "_verify_requests",
    )

    is_server = False
    table = CLIENT

    _server_hello: wire.ServerHello

    def __init__(
        self,
        context: Context,
        association: Association,
        now: float,
        *,
        identity: bytes,
        key: bytes,
        offered: Session | None,
    ) -> None:
        super().__init__(context, association, now)
        self.identity = identity
        self._key = key
        self._offered = offered
        self._cookie = b""
        self._verify_requests = 0
        self._point = b""
        self._ticket = b""
        self.client_random = context.random(32)
        # With a ticket, an id of our own tells from the answer whether the ticket was taken (RFC 5077 3.4).
        ticketed = offered is not None and offered.ticket
        self._hello_id = context.random(_SESSION_ID_BYTES) if ticketed else offered.id if offered else b""

    def begin(self, now: float) -> None:
        """Say hello."""
        self._act(self._step(Input.BEGIN), b"", now)

    def receive(self, fragment: wire.Fragment, epoch: int, now: float) -> None:
        """As in every handshake; HelloRequest and HelloVerifyRequest have no place in the order."""
        if fragment.kind == codes.HELLO_REQUEST:
            return
        if fragment.kind == codes.HELLO_VERIFY_REQUEST and epoch == 0:
            if self.state is State.SERVER_HELLO and fragment.is_whole:
                # A server that keeps nothing may number each of them 0, or after our hello. What came
                # before it is of an older handshake, which the server has not given up yet.
                self._inbox = Inbox(self._context.limits, fragment.sequence + 1)
                self._take(Message(fragment.kind, epoch, fragment.sequence, fragment.body), now)
            return
        super().receive(fragment, epoch, now)

    def _input(self, message: Message) -> Input:
        if message.kind != codes.SERVER_HELLO or message.epoch or self.state is not State.SERVER_HELLO:
            return super()._input(message)
        self._server_hello = hello = wire.parse_server_hello(message.body)
        self._check_hello(hello)
        offered = self._offered
        if offered is None or not hello.session_id or hello.session_id != self._hello_id:
            return Input.FULL_SERVER_HELLO
        if hello.suite != offered.suite or codes.EXTENDED_MASTER_SECRET not in hello.extensions:
            raise HandshakeError(Alert.ILLEGAL_PARAMETER, rule="ServerHello: not the session it resumes")
        return Input.RESUMING_SERVER_HELLO

    # --- actions

    def say_hello(self, _body: bytes, now: float) -> None:
        """ClientHello, with the cookie if there is one: what is hashed begins with the last of them."""
        parameters = self._context.parameters
        hello = wire.ClientHello(
            random=self.client_random,
            session_id=self._hello_id,
            cookie=self._cookie,
            suites=parameters.suites,
            extensions=self._extensions(),
        )
        self._begin_flight()
        self._transcript = new_transcript()
        self._queue(codes.CLIENT_HELLO, wire.client_hello_body(hello))
        self._send_flight(now)

    def say_hello_again(self, body: bytes, now: float) -> None:
        """The same hello with the server's cookie; a copy of a request that was answered says nothing."""
        cookie = wire.parse_hello_verify_request(body)
        if cookie == self._cookie:
            return
        self._verify_requests += 1
        if self._verify_requests > _MAX_VERIFY_REQUESTS:
            raise HandshakeError(Alert.UNEXPECTED_MESSAGE, rule="HelloVerifyRequest: too many")
        self._cookie = cookie
        self.say_hello(body, now)

    def take_full_hello(self, _body: bytes, _now: float) -> None:
        """A new session begins, whatever we offered."""
        self._take_hello()

    def take_resumed_hello(self, _body: bytes, _now: float) -> None:
        """The server goes on with the session we offered."""
        self._take_hello()
        self.resumed = True
        self.session = self._offered
        if self._offered is not None:
            self._use(self._derive(self._offered.master))

    def take_server_key(self, body: bytes, _now: float) -> None:
        """The hint means nothing to us, we have one identity; the point counts."""
        self._point = wire.parse_server_key_exchange(body, self.suite.ecdhe).point

    def send_key_exchange(self, _body: bytes, now: float) -> None:
        """ClientKeyExchange and Finished."""
        if self.suite.ecdhe and not self._point:
            raise HandshakeError(Alert.UNEXPECTED_MESSAGE, rule="ServerKeyExchange: missing")
        self._begin_flight()
        share = KeyShare(self._context.random) if self.suite.ecdhe else None
        exchange = wire.ClientKeyExchange(self.identity, share.point if share else b"")
        self._queue(codes.CLIENT_KEY_EXCHANGE, wire.client_key_exchange_body(exchange))
        if share is not None:
            self._ecdh_secret = share.exchange(self._point)
        master = self._master_secret(self._key)
        self._use(self._derive(master))
        if self.extended:
            session_id = self._server_hello.session_id
            self.session = Session(self.suite.number, master, self.identity, id=session_id)
        self._queue_finished()
        self._send_flight(now)

    def take_ticket(self, body: bytes, _now: float) -> None:
        """What resumes the session, if the server is genuine: that shows at its Finished."""
        ticket = wire.parse_new_session_ticket(body).ticket
        if len(ticket) <= self._context.limits.ticket_bytes:
            self._ticket = ticket

    def finish_full(self, _body: bytes, _now: float) -> None:
        """Nothing more to say."""
        self._end_flight()
        self._keep_ticket()

    def finish_resumed(self, _body: bytes, now: float) -> None:
        """Our Finished is the last word."""
        self._begin_flight()
        self._queue_finished()
        self._send_flight(now, last=True)
        self._keep_ticket()

    # --- parts of them

    def _extensions(self) -> wire.Extensions:
        parameters, offered = self._context.parameters, self._offered
        extensions = {
            codes.RENEGOTIATION_INFO: b"\0",
            codes.EXTENDED_MASTER_SECRET: b"",
            codes.SESSION_TICKET: offered.ticket if offered is not None else b"",
        }
        suites = [SUITES[number] for number in parameters.suites]
        if any(suite.mode == "cbc" for suite in suites):
            extensions[codes.ENCRYPT_THEN_MAC] = b""
        if any(suite.ecdhe for suite in suites):
            extensions[codes.SUPPORTED_GROUPS] = wire.vector(2, codes.SECP256R1.to_bytes(2, "big"))
            extensions[codes.EC_POINT_FORMATS] = wire.vector(1, b"\0")
        if parameters.connection_id_bytes is not None:
            extensions[codes.CONNECTION_ID] = wire.vector(1, self.association.own_cid)
        return extensions

    def _check_hello(self, hello: wire.ServerHello) -> None:
        if hello.version != codes.DTLS_1_2:
            raise HandshakeError(Alert.PROTOCOL_VERSION, FailureReason.VERSION)
        if hello.suite not in self._context.parameters.suites or hello.compression:
            raise HandshakeError(Alert.ILLEGAL_PARAMETER, rule="ServerHello: not what was offered")
        if not hello.extensions.keys() <= self._extensions().keys():
            raise HandshakeError(Alert.UNSUPPORTED_EXTENSION)
        if hello.extensions.get(codes.RENEGOTIATION_INFO, b"\0") != b"\0":
            raise HandshakeError(
                Alert.HANDSHAKE_FAILURE, rule="renegotiation_info: a first handshake has none"
            )

    def _take_hello(self) -> None:
        hello, association = self._server_hello, self.association
        self.suite = SUITES[hello.suite]
        self.server_random = hello.random
        self.extended = codes.EXTENDED_MASTER_SECRET in hello.extensions
        self.encrypt_then_mac = codes.ENCRYPT_THEN_MAC in hello.extensions and self.suite.mode == "cbc"
        cid = hello.extensions.get(codes.CONNECTION_ID)
        if cid is None:
            association.own_cid = b""
        else:
            association.peer_cid = wire.parse_connection_id(cid)

    def _keep_ticket(self) -> None:
        if self._ticket and self.session is not None:
            self.session = msgspec.structs.replace(self.session, ticket=self._ticket)
