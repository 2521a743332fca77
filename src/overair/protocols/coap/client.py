"""The client role: requests out, responses and notifications in (RFC 7252 section 5.3, RFC 7641).

Every request ends in exactly one Response or Failure, unless it is cancelled.
"""

from __future__ import annotations

import random as random_module
from collections.abc import Sequence

from overair.protocols.coap import codes
from overair.protocols.coap.blockwise import Body, Download, Step
from overair.protocols.coap.errors import (
    ExchangeStateError,
    FailureReason,
    LimitReachedError,
    MessageFieldError,
)
from overair.protocols.coap.events import Event, Failure, Notification, Response
from overair.protocols.coap.exchanges import Conversation, Exchange, State
from overair.protocols.coap.message import MAX_TOKEN_BYTES, Message
from overair.protocols.coap.observe import BEGIN, END, Observation
from overair.protocols.coap.options import Options, examine, request_options, without
from overair.protocols.coap.parameters import CoapLimits, Parameters
from overair.protocols.coap.peers import Peer
from overair.protocols.coap.requests import Requests


class ClientRole(Requests):
    """What an endpoint does as a client."""

    def __init__(
        self,
        *,
        random: random_module.Random,
        parameters: Parameters | None = None,
        limits: CoapLimits | None = None,
    ) -> None:
        super().__init__(random=random, parameters=parameters, limits=limits)
        self._observations = 0

    def observe(
        self,
        peer: Peer,
        code: int = codes.GET,
        *,
        path: Sequence[str] = (),
        queries: Sequence[str] = (),
        options: Options = (),
        payload: Body = b"",
        context: object = None,
        now: float,
        parameters: Parameters | None = None,
    ) -> Exchange:
        """Ask a peer for a resource and its changes (GET or FETCH).

        The Response event's `exchange.observation` is the observation; None if the peer does not observe.
        """
        if code not in (codes.GET, codes.FETCH):
            raise MessageFieldError("observe: only GET and FETCH")
        self._check_observations(self._conversations.get(peer))
        exchange = self._new_exchange(peer, code, path, queries, options, payload, context, True, parameters)
        exchange.observe = BEGIN
        self._enqueue(exchange, now)
        return exchange

    def restore_observation(
        self,
        peer: Peer,
        token: bytes,
        *,
        path: Sequence[str] = (),
        queries: Sequence[str] = (),
        options: Options = (),
        payload: bytes = b"",
        code: int = codes.GET,
        created: float,
        context: object = None,
    ) -> Observation:
        """Take up an observation that an endpoint before this one began."""
        if not len(token) <= MAX_TOKEN_BYTES:
            raise MessageFieldError(f"token: at most {MAX_TOKEN_BYTES} bytes")
        known = self._conversations.get(peer)
        if known is not None and token in known.tokens:
            raise ExchangeStateError("token: in use with this peer")
        self._check_observations(known)
        observation = Observation(
            self._conversation(peer),
            token,
            code=code,
            options=request_options(path, queries, options),
            payload=payload,
            created=created,
            context=context,
        )
        self._add_observation(observation)
        return observation

    def cancel_observation(self, observation: Observation, *, context: object = None, now: float) -> Exchange:
        """End an observation by asking for the resource with Observe 1 and the same token."""
        peer = observation.peer
        self._check_room(self._conversations.get(peer))
        # First this, since it may drop the conversation in which the request has to be.
        self.forget_observation(observation)
        exchange = self._new_exchange(
            peer,
            observation.code,
            (),
            (),
            observation.options,
            observation.payload,
            context,
            True,
            None,
        )
        exchange.observe = END
        exchange.token = observation.token
        self._enqueue(exchange, now)
        return exchange

    def forget_observation(self, observation: Observation) -> None:
        """End an observation without a message: the next notification is answered with a Reset."""
        if observation.ended:
            return
        observation.ended = True
        conversation = observation.conversation
        del conversation.tokens[observation.token]
        conversation.observations -= 1
        self._observations -= 1
        if observation.fetch is not None:
            self.cancel(observation.fetch)
        self._drop_idle(conversation)

    def forget_peer(self, peer: Peer) -> list[Failure]:
        """End all that is open with a peer; returns the requests this leaves without an answer.

        What the peer sent is still remembered, so that a repeated De-register is answered as before.
        """
        conversation = self._conversations.get(peer)
        if conversation is None:
            return []
        for transmission in list(conversation.transmissions.values()):
            self._settle(transmission)
        held = [*conversation.tokens.values(), *conversation.queue]
        for observation in held:
            if isinstance(observation, Observation):
                self.forget_observation(observation)
        exchanges = [exchange for exchange in held if isinstance(exchange, Exchange) and not exchange.done]
        for exchange in exchanges:
            self._end(exchange)
        self._conversations.pop(peer, None)
        return [Failure(exchange, FailureReason.CANCELLED) for exchange in exchanges]

    def move_peer(self, old: Peer, new: Peer) -> list[Failure]:
        """Carry all that is open with a device to the address it has now.

        If something is open with that address already, the two are joined. Where both use the same
        token or message id, what is open with the new address is forgotten: returns its requests.
        """
        failures: list[Failure] = []
        moved = self._conversations.get(old)
        if moved is None or old == new:
            return failures
        present = self._conversations.get(new)
        if present is not None and self._collide(moved, present):
            failures = self.forget_peer(new)
            present = None
        del self._conversations[old]
        moved.peer = new
        if present is not None:
            self._join(moved, present)
        self._conversations[new] = moved
        return failures

    def _collide(self, one: Conversation, other: Conversation) -> bool:
        same_token = not one.tokens.keys().isdisjoint(other.tokens)
        return same_token or not one.transmissions.keys().isdisjoint(other.transmissions)

    def _join(self, into: Conversation, source: Conversation) -> None:
        for held in (*source.tokens.values(), *source.queue, *source.transmissions.values()):
            held.conversation = into
        into.tokens.update(source.tokens)
        into.transmissions.update(source.transmissions)
        into.queue.extend(source.queue)
        source.queue.clear()
        into.notified.update(source.notified)
        into.exchanges += source.exchanges
        into.in_flight += source.in_flight
        into.observations += source.observations
        self._freed.append(into)

    def _check_observations(self, conversation: Conversation | None) -> None:
        limits = self.limits
        if self._observations >= limits.observations:
            raise LimitReachedError("observations", limits.observations)
        if conversation is not None and conversation.observations >= limits.observations_per_peer:
            raise LimitReachedError("observations_per_peer", limits.observations_per_peer)

    def _add_observation(self, observation: Observation) -> None:
        conversation = observation.conversation
        conversation.tokens[observation.token] = observation
        conversation.observations += 1
        self._observations += 1

    # -- receiving -------------------------------------------------------------------------------

    def _receive_response(self, message: Message, datagram: bytes, peer: Peer, now: float) -> Event | None:
        conversation = self._conversations.get(peer)
        if message.type == codes.ACK:
            return self._receive_piggybacked(conversation, message, now)
        key = datagram[2 : 4 + len(message.token)]
        if self._is_repeated(peer, key, now):
            return None
        target = None if conversation is None else conversation.tokens.get(message.token)
        if target is None:
            self.counters.unknown_tokens += 1
            self._send_empty(codes.RST, message.message_id, peer)
            return None
        receipt = self._memory.remember(self._memory.touch(peer, now), key, now)
        if examine(message.options)[0]:
            receipt.reply = self._send_empty(codes.RST, message.message_id, peer)
            return self._reject(target, message, now)
        if message.type == codes.CON:
            receipt.reply = self._send_empty(codes.ACK, message.message_id, peer)
        if isinstance(target, Observation):
            return self._receive_notification(target, message, now)
        return self._on_response(target, message, now)

    def _reject(self, target: Exchange | Observation, message: Message, now: float) -> Event:
        """A critical option that is unknown: no part of the message counts."""
        self.counters.bad_options += 1
        if isinstance(target, Exchange):
            return self._fail(target, FailureReason.BAD_OPTION, now, message)
        # The Reset ends the observation at the peer, so it ends here too, and the application hears it.
        self.forget_observation(target)
        return Notification(target, message)

    def _receive_piggybacked(
        self, conversation: Conversation | None, message: Message, now: float
    ) -> Event | None:
        sent = None if conversation is None else conversation.transmissions.get(message.message_id)
        exchange = None if sent is None else sent.exchange
        if exchange is None or not exchange.confirmable or exchange.token != message.token:
            self.counters.ignored += 1
            return None
        if examine(message.options)[0]:
            return self._reject(exchange, message, now)
        return self._on_response(exchange, message, now)

    def _is_repeated(self, peer: Peer, key: bytes, now: float) -> bool:
        record = self._memory.find(peer)
        receipt = None if record is None else self._memory.duplicate(record, key, now)
        if receipt is None:
            return False
        self.counters.duplicates += 1
        if receipt.reply is not None:
            self.outbox.append((receipt.reply, peer))
        return True

    def _receive_notification(
        self, observation: Observation, message: Message, now: float
    ) -> Notification | Failure | None:
        if not observation.accepts(message, now):
            self.counters.stale_notifications += 1
            return None
        if observation.fetch is not None:
            self.cancel(observation.fetch)
            observation.fetch = None
            self._start_next(observation.conversation, now)
        block = message.block2
        if block is not None and block.more and message.observe is not None:
            return self._fetch_rest(observation, message, now)
        if message.observe is None or not codes.is_success(message.code):
            self.forget_observation(observation)
        return Notification(observation, message)

    def _fetch_rest(self, observation: Observation, message: Message, now: float) -> Failure | None:
        """Fetch what a notification is the beginning of, by requests without Observe."""
        exchange = Exchange(
            observation.conversation,
            observation.code,
            observation.options,
            observation.payload,
            context=observation.context,
            confirmable=True,
            parameters=self.parameters,
        )
        exchange.fetches = observation
        exchange.download = Download(self.parameters.block_size, self.limits.body_bytes, self._downloads)
        step = exchange.download.take(message)
        if step is Step.SEND:
            observation.fetch = exchange
            self._enqueue(exchange, now)
            return None
        exchange.state = State.DONE
        reason = step if isinstance(step, FailureReason) else FailureReason.BLOCKS
        return Failure(exchange, reason, message)

    def _on_response(self, exchange: Exchange, message: Message, now: float) -> Event | None:
        if exchange.observe == END and message.observe is not None and message.type != codes.ACK:
            # A notification that was on its way; the response to the request has no Observe.
            return None
        self._settle_exchange(exchange)
        if exchange.observe == BEGIN and exchange.observation is None and exchange.download is None:
            self._begin_observation(exchange, message, now)
        step = exchange.take(message, self.limits.body_bytes, self._downloads)
        if step is Step.SEND:
            self._transmit(exchange, now)
            return None
        if isinstance(step, FailureReason):
            return self._fail(exchange, step, now, message)
        whole = exchange.answer(message)
        self._finish(exchange, now)
        if exchange.fetches is None:
            return Response(exchange, whole)
        return self._rest_fetched(exchange, exchange.fetches, whole)

    def _begin_observation(self, exchange: Exchange, message: Message, now: float) -> None:
        conversation = exchange.conversation
        if message.observe is None or not codes.is_success(message.code):
            return
        limits = self.limits
        full = self._observations >= limits.observations
        if full or conversation.observations >= limits.observations_per_peer:
            # Several were asked for at once; the first notification is answered with a Reset.
            return
        observation = exchange.observation = Observation(
            conversation,
            exchange.token,
            code=exchange.code,
            options=without(exchange.options, codes.OBSERVE),
            payload=bytes(exchange.payload[:]),
            created=now,
            context=exchange.context,
        )
        observation.accepts(message, now)
        self._add_observation(observation)

    def _rest_fetched(
        self, exchange: Exchange, observation: Observation, whole: Message
    ) -> Notification | Failure:
        observation.fetch = None
        if codes.is_success(whole.code):
            return Notification(observation, whole)
        return Failure(exchange, FailureReason.BLOCKS, whole)

    # -- ending ----------------------------------------------------------------------------------

    def _exchange_due(self, exchange: Exchange, now: float) -> Failure:
        """No response came in time."""
        self.counters.timeouts += 1
        return self._fail(exchange, FailureReason.TIMEOUT, now)

    def _fail(
        self, exchange: Exchange, reason: FailureReason, now: float, message: Message | None = None
    ) -> Failure:
        self._finish(exchange, now)
        exchange.failed_at = now
        observation = exchange.fetches
        if observation is not None and observation.fetch is exchange:
            observation.fetch = None
        if exchange.observation is not None:
            # The rest of the first answer could not be fetched; nobody would know of this observation.
            self.forget_observation(exchange.observation)
            exchange.observation = None
        return Failure(exchange, reason, message)
