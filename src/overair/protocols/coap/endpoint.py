"""A CoAP endpoint without input or output (RFC 7252): datagrams and the time in, events and datagrams out.

The driver owns the socket and the clock. It hands each datagram to `receive`, calls `advance` when
`next_due` has come, and after either sends what is in `outbox`. The same class serves and asks, since in
LwM2M both ends do both.

What becomes of a message, by its class and type:

    code         CON              NON           ACK                    RST
    0.00         Reset (ping)     ignored       stop repeating         fail, or end notifications
    request      request          request       ignored                ignored
    response     ACK, response    response      response, by id        ignored
    class 1 6 7  ignored          ignored       ignored                ignored

A malformed Confirmable message and a response with an unknown token are answered with a Reset.
"""

from __future__ import annotations

from overair.protocols.coap import codes
from overair.protocols.coap.client import ClientRole
from overair.protocols.coap.errors import FailureReason, MessageFormatError
from overair.protocols.coap.events import Event, ObservationCancelled
from overair.protocols.coap.exchanges import Exchange, Transmission
from overair.protocols.coap.message import Message, decode
from overair.protocols.coap.peers import Peer
from overair.protocols.coap.server import ServerRole


class Endpoint(ServerRole, ClientRole):
    """Both roles of one endpoint; times are seconds of any clock that only goes forward."""

    def receive(self, datagram: bytes, peer: Peer, now: float) -> Event | None:
        """Take one datagram; at most one event comes of it. No bytes make this raise."""
        self._now = now
        self.counters.received += 1
        if len(datagram) > self.limits.datagram_bytes:
            self.counters.oversized += 1
            return None
        try:
            message = decode(datagram)
        except MessageFormatError as error:
            self._receive_malformed(error, peer)
            return None
        code = message.code
        if code == codes.EMPTY:
            return self._receive_empty(message, peer, now)
        if code < 32:
            return self._receive_request(message, datagram, peer, now)
        if 64 <= code < 192 and message.type != codes.RST:
            return self._receive_response(message, datagram, peer, now)
        self.counters.ignored += 1
        return None

    def next_due(self) -> float | None:
        """When `advance` must be called next, None if nothing waits."""
        if self._freed:
            return self._now
        timer = self._timers.next_due()
        processing = self._next_processing_ack()
        if timer is None or processing is None:
            return timer if processing is None else processing
        return min(timer, processing)

    def advance(self, now: float) -> list[Event]:
        """Do what is due: repeat messages, acknowledge slow requests, give up; returns what failed."""
        self._now = now
        self._acknowledge_slow(now)
        self._assemblies.expire(now)
        self._memory.rotate(now)
        events: list[Event] = []
        while self._freed:
            self._start_next(self._freed.popleft(), now)
        while (timed := self._timers.pop_due(now)) is not None:
            event: Event | None = None
            if isinstance(timed, Exchange):
                event = self._exchange_due(timed, now)
            elif isinstance(timed, Transmission):
                event = self._transmission_due(timed, now)
            if event is not None:
                events.append(event)
        return events

    def _transmission_due(self, sent: Transmission, now: float) -> Event | None:
        if sent.notification:
            return self._notification_due(sent, now)
        if self._retransmit(sent, now):
            return None
        if sent.exchange is not None:
            return self._fail(sent.exchange, FailureReason.TIMEOUT, now)
        self._settle(sent)
        self._drop_idle(sent.conversation)
        return None

    def _receive_malformed(self, error: MessageFormatError, peer: Peer) -> None:
        self.counters.malformed += 1
        if error.type == codes.CON and error.message_id is not None:
            self._send_empty(codes.RST, error.message_id, peer)

    def _receive_empty(self, message: Message, peer: Peer, now: float) -> Event | None:
        if message.type == codes.CON:
            self._send_empty(codes.RST, message.message_id, peer)
            return None
        conversation = self._conversations.get(peer)
        sent = None if conversation is None else conversation.transmissions.get(message.message_id)
        if sent is not None and message.type == codes.ACK:
            self._receive_ack(sent, now)
            return None
        if sent is not None and message.type == codes.RST:
            return self._receive_reset(sent, now)
        if conversation is not None and message.type == codes.RST:
            token = conversation.notified.pop(message.message_id, None)
            self._drop_idle(conversation)
            if token is not None:
                return ObservationCancelled(peer, token, "reset")
        self.counters.ignored += 1
        return None

    def _receive_ack(self, sent: Transmission, now: float) -> None:
        if sent.exchange is not None:
            self._exchange_acknowledged(sent.exchange, sent, now)
        elif sent.notification:
            self._notification_acknowledged(sent, now)
        else:
            self._settle(sent)
            self._drop_idle(sent.conversation)

    def _receive_reset(self, sent: Transmission, now: float) -> Event | None:
        if sent.exchange is not None:
            return self._fail(sent.exchange, FailureReason.RESET, now)
        if sent.notification:
            return self._end_notifications(sent, "reset")
        self._settle(sent)
        self._drop_idle(sent.conversation)
        return None
