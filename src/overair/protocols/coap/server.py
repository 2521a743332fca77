"""The server role: requests in, answers and notifications out (RFC 7252 section 5.2).

An answer given within `processing_ack_seconds` rides on the acknowledgement; a later one goes out by
itself and is repeated until acknowledged. Both ways are the same call, so the application may first
commit what it did.
"""

from __future__ import annotations

import random as random_module
from collections import deque
from typing import Final, Literal

from overair.protocols.coap import codes
from overair.protocols.coap.assembly import Assemblies, BlockReply
from overair.protocols.coap.blockwise import Body, Portion, cut, portion_of, portion_options
from overair.protocols.coap.errors import ExchangeStateError, LimitReachedError, MessageFieldError
from overair.protocols.coap.events import ObservationCancelled, Request
from overair.protocols.coap.exchanges import Conversation, Transmission
from overair.protocols.coap.link import Link
from overair.protocols.coap.message import Message, encode_fields
from overair.protocols.coap.options import (
    RESERVED_SZX,
    Options,
    decode_block,
    encode_uint,
    examine,
)
from overair.protocols.coap.parameters import CoapLimits, Parameters
from overair.protocols.coap.peers import Peer, Record

MAX_OBSERVE_NUMBER: Final = (1 << 24) - 1
NO_KEY: Final = b""
"""The key of a receipt that matches no message any more."""


class ServerRole(Link):
    """What an endpoint does as a server."""

    def __init__(
        self,
        *,
        random: random_module.Random,
        parameters: Parameters | None = None,
        limits: CoapLimits | None = None,
    ) -> None:
        super().__init__(random=random, parameters=parameters, limits=limits)
        self._assemblies = Assemblies(self.limits, self.parameters)
        self._block_size = self.parameters.block_size
        # Requests come in the order of their deadlines, so a queue does for a timer each.
        self._pending: deque[Request] = deque()

    def respond(
        self, request: Request, code: int, options: Options = (), payload: Body = b"", *, now: float
    ) -> None:
        """Answer a request, once. `payload` is the whole body; the block asked for is cut from it.

        A body larger than the block size goes out as its first block, and the peer asks for each
        other one by a request of its own, to be answered with the whole body again: nothing is kept
        between them. ExchangeStateError if the request is answered already.
        """
        if request.block1 is not None or request.block2 is not None or len(payload) > self._block_size:
            code, options, payload = self._fit(request, code, options, payload)
        self._send_answer(request, code, options, payload, now)

    def portion(self, request: Request, body_bytes: int) -> Portion | None:
        """Which part of a body of that many bytes a request asks for; None if it begins beyond the end.

        For bodies too large to be at hand: fetch the part, in this turn or a later one, and answer with
        `respond_portion`; None is answered with 4.00 (spec lwm2m.md 13.3).
        """
        return portion_of(body_bytes, request.wanted_block, self._block_size)

    def respond_portion(
        self,
        request: Request,
        portion: Portion,
        payload: Body,
        *,
        etag: bytes,
        options: Options = (),
        now: float,
    ) -> None:
        """Answer a GET with the part of the body that `portion` found, and nothing kept of the transfer.

        The answer isn't remembered for duplicates either: a GET does no harm twice, so a repeated one is
        a new request. `etag` names the whole body, the same in all blocks. MessageFieldError if the
        payload isn't as long as the portion; ExchangeStateError if the request is answered already.
        """
        if len(payload) != portion.size_bytes:
            raise MessageFieldError(f"payload: {portion.size_bytes} bytes, as the portion has")
        with_size = request.message.option(codes.SIZE2) is not None
        # In ascending order, or they would be encoded twice.
        options = ((codes.ETAG, etag), *options, *portion_options(portion, None, with_size))
        self._send_answer(request, codes.CONTENT, options, payload, now)
        request.record.downloading = portion.block.more
        if not request.acknowledged:
            request.receipt.key = NO_KEY
            request.receipt.reply = None

    def _send_answer(self, request: Request, code: int, options: Options, payload: Body, now: float) -> None:
        if request.answered:
            raise ExchangeStateError("request: answered already")
        message = request.message
        if request.acknowledged or message.type != codes.CON:
            self._respond_separately(request, code, options, payload, now)
        else:
            reply = encode_fields(codes.ACK, code, message.message_id, message.token, options, payload)
            request.receipt.reply = reply
            self.outbox.append((reply, request.peer))
        request.answered = True
        pending = self._pending
        while pending and pending[0].answered:
            pending.popleft()

    def notify(
        self,
        peer: Peer,
        token: bytes,
        observe_number: int | None,
        *,
        code: int = codes.CONTENT,
        options: Options = (),
        payload: Body = b"",
        confirmable: bool = True,
        now: float,
        parameters: Parameters | None = None,
    ) -> None:
        """Tell an observer the state of a resource; without a number it is the last notification.

        While a Confirmable one of the same token is unacknowledged, this one takes its place at the
        next attempt (RFC 7641 section 4.5.2). LimitReachedError if too many are on their way.
        """
        if observe_number is not None:
            if not 0 <= observe_number <= MAX_OBSERVE_NUMBER:
                raise MessageFieldError(f"observe_number: 0 to {MAX_OBSERVE_NUMBER}")
            options = (*options, (codes.OBSERVE, encode_uint(observe_number)))
        if len(payload) > self._block_size:
            first = cut(options, payload, wanted=None, block_size=self._block_size)
            if first is not None:
                options, payload = first.options, first.payload
        conversation = self._conversation(peer)
        if not confirmable:
            self._notify_once(conversation, token, code, options, payload, now)
            return
        for sent in conversation.transmissions.values():
            if sent.notification and sent.token == token:
                sent.replacement = Message(codes.CON, code, 0, token, options, bytes(payload))
                return
        if not self._has_room(conversation):
            self._drop_idle(conversation)
            limit = "exchanges" if self._open >= self.limits.exchanges else "queue_per_peer"
            raise LimitReachedError(limit, getattr(self.limits, limit))
        notification = Message(codes.CON, code, 0, token, options, bytes(payload))
        self._send_notification(conversation, notification, parameters or self.parameters, now)

    def _receive_request(self, message: Message, datagram: bytes, peer: Peer, now: float) -> Request | None:
        if message.type > codes.NON:
            self.counters.ignored += 1
            return None
        memory = self._memory
        record = memory.touch(peer, now)
        key = datagram[2 : 4 + len(message.token)]
        receipt = memory.duplicate(record, key, now)
        if receipt is not None:
            self.counters.duplicates += 1
            if receipt.reply is not None:
                self.outbox.append((receipt.reply, peer))
            return None
        rejected, block1, block2 = examine(message.options)
        continues = (block1 or block2) and self._continues_transfer(peer, record, block1, block2)
        if not (continues or memory.admit(record, now)) or len(self._pending) >= self.limits.pending_requests:
            self.counters.limited += 1
            return None
        receipt = memory.remember(record, key, now)
        request = Request(peer, message, now, record, receipt, block1, block2)
        if rejected:
            self._refuse_option(request, rejected, now)
            return None
        if block1 is not None or block2 is not None:
            return self._receive_block(request, now)
        if message.type == codes.CON:
            self._pending.append(request)
        return request

    def _continues_transfer(
        self, peer: Peer, record: Record, block1: bytes | None, block2: bytes | None
    ) -> bool:
        """Whether this is a later block of a transfer that is running, which has no rate limit."""
        if block1 is not None and decode_block(block1).number and self._assemblies.has(peer):
            return True
        return block2 is not None and decode_block(block2).number > 0 and record.downloading

    def _refuse_option(self, request: Request, number: int, now: float) -> None:
        self.counters.bad_options += 1
        message = request.message
        request.block1 = request.block2 = None
        if number in (codes.PROXY_URI, codes.PROXY_SCHEME):
            self.respond(request, codes.PROXYING_NOT_SUPPORTED, now=now)
            return
        if message.type == codes.NON:
            # RFC 7252 section 5.4.1 lets a Non-confirmable request only be rejected, not answered.
            self._send_empty(codes.RST, message.message_id, request.peer)
            return
        self.respond(request, codes.BAD_OPTION, payload=b"option %d" % number, now=now)

    def _receive_block(self, request: Request, now: float) -> Request | None:
        """A request with block options: handed over when it is whole, answered here until then."""
        wanted = request.wanted_block
        if wanted is not None and wanted.szx == RESERVED_SZX:
            request.block1 = request.block2 = None
            self.respond(request, codes.BAD_REQUEST, now=now)
            return None
        if request.block1 is not None:
            message = request.message
            taken = self._assemblies.take(request.peer, message, decode_block(request.block1), now)
            self.counters.assemblies_evicted = self._assemblies.evicted
            if isinstance(taken, BlockReply):
                request.block1 = request.block2 = None
                self.respond(request, taken.code, taken.options, now=now)
                return None
            request.message = Message(
                message.type, message.code, message.message_id, message.token, message.options, taken
            )
        if request.message.type == codes.CON:
            self._pending.append(request)
        return request

    def _fit(self, request: Request, code: int, options: Options, payload: Body) -> tuple[int, Options, Body]:
        """Answer by block options: echo Block1, cut the block that is asked for."""
        if request.block1 is not None:
            options = (*options, (codes.BLOCK1, request.block1))
        if not codes.is_success(code):
            request.record.downloading = False
            # What comes with an error is a line for people.
            return code, options, payload[: self._block_size]
        wanted = request.wanted_block
        if wanted is None and len(payload) <= self._block_size:
            return code, options, payload
        with_size = request.message.option(codes.SIZE2) is not None
        block = cut(options, payload, wanted=wanted, block_size=self._block_size, with_size=with_size)
        if block is None:
            return codes.BAD_REQUEST, (), b""
        request.record.downloading = block.more
        return code, block.options, block.payload

    def _respond_separately(
        self, request: Request, code: int, options: Options, payload: Body, now: float
    ) -> None:
        peer, token = request.peer, request.message.token
        if request.message.type == codes.CON and len(self._conversations) < self.limits.conversations:
            conversation = self._conversation(peer)
            if self._has_room(conversation):
                self._send_alone(conversation, code, token, options, payload, self.parameters, now)
                return
            self._drop_idle(conversation)
        # A Non-confirmable request, or no room to wait for an acknowledgement.
        message_id = self._next_message_id(peer, now)
        datagram = encode_fields(codes.NON, code, message_id, token, options, payload)
        self.outbox.append((datagram, peer))

    def _acknowledge_slow(self, now: float) -> None:
        """Send the empty ACK to requests whose answer takes long."""
        pending = self._pending
        wait = self.parameters.processing_ack_seconds
        # The same sum as in `_next_processing_ack`: another one may round to the other side of `now`.
        while pending and (pending[0].answered or pending[0].received + wait <= now):
            request = pending.popleft()
            if request.answered:
                continue
            request.acknowledged = True
            message_id = request.message.message_id
            request.receipt.reply = self._send_empty(codes.ACK, message_id, request.peer)

    def _next_processing_ack(self) -> float | None:
        pending = self._pending
        while pending and pending[0].answered:
            pending.popleft()
        return pending[0].received + self.parameters.processing_ack_seconds if pending else None

    def _send_notification(
        self, conversation: Conversation, notification: Message, parameters: Parameters, now: float
    ) -> Transmission:
        sent = self._send_alone(
            conversation,
            notification.code,
            notification.token,
            notification.options,
            notification.payload,
            parameters,
            now,
        )
        sent.notification = True
        return sent

    def _notify_once(
        self, conversation: Conversation, token: bytes, code: int, options: Options, payload: Body, now: float
    ) -> None:
        message_id = self._next_message_id(conversation.peer, now)
        datagram = encode_fields(codes.NON, code, message_id, token, options, payload)
        self.outbox.append((datagram, conversation.peer))
        notified = conversation.notified
        notified[message_id] = token
        if len(notified) > self.limits.observations_per_peer:
            del notified[next(iter(notified))]

    def _notification_acknowledged(self, sent: Transmission, now: float) -> None:
        self._settle(sent)
        if sent.replacement is not None:
            self._send_notification(sent.conversation, sent.replacement, sent.parameters, now)
        self._drop_idle(sent.conversation)

    def _notification_due(self, sent: Transmission, now: float) -> ObservationCancelled | None:
        """Repeat a notification, or send the newer one with the patience that is left."""
        newer = sent.replacement
        if newer is None or sent.retransmissions >= sent.parameters.max_retransmit:
            return None if self._retransmit(sent, now) else self._end_notifications(sent, "timeout")
        self._settle(sent)
        resent = self._send_notification(sent.conversation, newer, sent.parameters, now)
        resent.retransmissions = sent.retransmissions + 1
        resent.timeout_seconds = sent.timeout_seconds * 2
        self._timers.set(resent, now + resent.timeout_seconds)
        return None

    def _end_notifications(
        self, sent: Transmission, reason: Literal["reset", "timeout"]
    ) -> ObservationCancelled:
        self._settle(sent)
        self._drop_idle(sent.conversation)
        return ObservationCancelled(sent.conversation.peer, sent.token, reason)
