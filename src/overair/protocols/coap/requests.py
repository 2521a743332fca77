"""Requests of ours on their way: queueing, sending, ending (RFC 7252 sections 4.7 and 5.3).

One Confirmable request at a time is in flight to a peer (NSTART); the others wait in the peer's own
queue. What comes back is in `client`.
"""

from __future__ import annotations

import random as random_module
from collections import deque
from collections.abc import Sequence
from typing import Final

from overair.protocols.coap import codes
from overair.protocols.coap.blockwise import Body, Budget, Source
from overair.protocols.coap.errors import ExchangeStateError, LimitReachedError, MessageFieldError
from overair.protocols.coap.exchanges import Conversation, Exchange, State, Transmission
from overair.protocols.coap.link import Link
from overair.protocols.coap.observe import END
from overair.protocols.coap.options import Options, request_options
from overair.protocols.coap.parameters import CoapLimits, Parameters
from overair.protocols.coap.peers import Peer

TOKEN_BYTES: Final = 4


class Requests(Link):
    """Requests of ours until their response comes."""

    def __init__(
        self,
        *,
        random: random_module.Random,
        parameters: Parameters | None = None,
        limits: CoapLimits | None = None,
    ) -> None:
        super().__init__(random=random, parameters=parameters, limits=limits)
        self._downloads = Budget(self.limits.body_budget_bytes)
        self._freed: deque[Conversation] = deque()
        """Conversations whose next request may go out, as soon as somebody says what time it is."""

    def request(
        self,
        peer: Peer,
        code: int,
        *,
        path: Sequence[str] = (),
        queries: Sequence[str] = (),
        options: Options = (),
        payload: Body | Source = b"",
        context: object = None,
        now: float,
        confirmable: bool = True,
        parameters: Parameters | None = None,
    ) -> Exchange:
        """Ask a peer, at once or when its turn comes. `parameters` replaces the endpoint's for this one.

        A payload above the block size goes by Block1, a response by Block2 is fetched whole, unless
        `options` has a Block1 or Block2: then each message is the caller's own affair. A payload that
        goes by Block1 is read block by block where it is; every block has timers of its own.
        LimitReachedError if too many are open; MessageFieldError for a code or option out of range.
        """
        exchange = self._new_exchange(
            peer, code, path, queries, options, payload, context, confirmable, parameters
        )
        self._enqueue(exchange, now)
        return exchange

    def cancel(self, exchange: Exchange) -> None:
        """Forget a request without an event. What the peer still says about it is rejected."""
        if exchange.done:
            return
        self._end(exchange)
        self._freed.append(exchange.conversation)

    def resume(self, exchange: Exchange, *, peer: Peer | None = None, now: float) -> None:
        """Take up a request that failed, where it failed: a blockwise transfer at the same block.

        For devices that sleep in mid-transfer; `peer` is where the device is now, if it moved meanwhile.
        After an exchange lifetime it has forgotten the blocks it got, and an upload begins again.
        ExchangeStateError if the request did not fail.
        """
        failed_at = exchange.failed_at
        if failed_at is None:
            raise ExchangeStateError("exchange: did not fail")
        peer = exchange.peer if peer is None else peer
        self._check_room(self._conversations.get(peer))
        if exchange.upload is not None and now - failed_at > self.parameters.exchange_lifetime_seconds:
            exchange.upload.restart()
        exchange.failed_at = None
        exchange.conversation = self._conversation(peer)
        self._enqueue(exchange, now)

    def _new_exchange(
        self,
        peer: Peer,
        code: int,
        path: Sequence[str],
        queries: Sequence[str],
        options: Options,
        payload: Body | Source,
        context: object,
        confirmable: bool,
        parameters: Parameters | None,
    ) -> Exchange:
        if not 0 < code < 32:
            raise MessageFieldError("code: 0.01 to 0.31 for a request")
        known = self._conversations.get(peer)
        self._check_room(known)
        return Exchange(
            known or Conversation(peer),
            code,
            request_options(path, queries, options),
            payload,
            context=context,
            confirmable=confirmable,
            parameters=parameters or self.parameters,
        )

    def _check_room(self, conversation: Conversation | None) -> None:
        limits = self.limits
        if self._open >= limits.exchanges:
            raise LimitReachedError("exchanges", limits.exchanges)
        if conversation is None:
            self._check_conversations()
        elif conversation.exchanges > limits.queue_per_peer:
            raise LimitReachedError("queue_per_peer", limits.queue_per_peer)

    def _enqueue(self, exchange: Exchange, now: float) -> None:
        conversation = exchange.conversation
        self._conversations[conversation.peer] = conversation
        conversation.exchanges += 1
        self._open += 1
        exchange.state = State.QUEUED
        if exchange.confirmable and (conversation.queue or conversation.in_flight >= self.parameters.nstart):
            conversation.queue.append(exchange)
        else:
            self._start(exchange, now)

    def _start(self, exchange: Exchange, now: float) -> None:
        if exchange.confirmable:
            exchange.holds_slot = True
            exchange.conversation.in_flight += 1
        self._transmit(exchange, now)

    def _start_next(self, conversation: Conversation, now: float) -> None:
        while conversation.queue and conversation.in_flight < self.parameters.nstart:
            self._start(conversation.queue.pop(0), now)
        self._drop_idle(conversation)

    def _transmit(self, exchange: Exchange, now: float) -> None:
        """Send the message an exchange has to send now."""
        conversation = exchange.conversation
        if exchange.observe != END:
            exchange.token = self._new_token(conversation)
        options, payload = exchange.compose()
        kind = codes.CON if exchange.confirmable else codes.NON
        sent = self._new_transmission(
            conversation, kind, exchange.code, exchange.token, options, payload, now
        )
        sent.exchange = exchange
        exchange.transmission = sent
        conversation.tokens[exchange.token] = exchange
        exchange.state = State.SENT
        if exchange.confirmable:
            self._repeat_until_acknowledged(sent, exchange.parameters, now)
        else:
            self._timers.set(exchange, now + exchange.parameters.separate_response_wait_seconds)

    def _new_token(self, conversation: Conversation) -> bytes:
        while True:
            token = self._random.getrandbits(8 * TOKEN_BYTES).to_bytes(TOKEN_BYTES, "big")
            if token not in conversation.tokens:
                return token

    def _exchange_acknowledged(self, exchange: Exchange, sent: Transmission, now: float) -> None:
        """An empty ACK: stop repeating, and wait for the response."""
        if not exchange.confirmable:
            return
        self._settle(sent)
        exchange.transmission = None
        exchange.state = State.WAITING
        self._timers.set(exchange, now + exchange.parameters.separate_response_wait_seconds)

    def _finish(self, exchange: Exchange, now: float) -> None:
        self._end(exchange)
        self._start_next(exchange.conversation, now)

    def _end(self, exchange: Exchange) -> None:
        """Take an exchange out of every table."""
        conversation = exchange.conversation
        if exchange.state is State.QUEUED:
            conversation.queue.remove(exchange)
        self._settle_exchange(exchange)
        exchange.state = State.DONE
        if exchange.holds_slot:
            exchange.holds_slot = False
            conversation.in_flight -= 1
        if exchange.download is not None:
            exchange.download.release()
            exchange.download = None
        conversation.exchanges -= 1
        self._open -= 1

    def _settle_exchange(self, exchange: Exchange) -> None:
        """Its message waits for nothing any more, whatever becomes of the exchange."""
        self._timers.clear(exchange)
        if exchange.transmission is not None:
            self._settle(exchange.transmission)
            exchange.transmission = None
        tokens = exchange.conversation.tokens
        if tokens.get(exchange.token) is exchange:
            del tokens[exchange.token]
