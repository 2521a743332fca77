"""The message layer that both roles of an endpoint stand on (RFC 7252 section 4).

It owns what they share: the outbox, the timers, the memory of peers, the conversations, and messages
that are sent again until they are acknowledged.
"""

from __future__ import annotations

import random as random_module
from collections.abc import Sequence

from overair.protocols.coap import codes
from overair.protocols.coap.blockwise import Body
from overair.protocols.coap.errors import LimitReachedError
from overair.protocols.coap.exchanges import Conversation, Transmission
from overair.protocols.coap.message import encode_fields
from overair.protocols.coap.options import OptionPair
from overair.protocols.coap.parameters import CoapLimits, Counters, Parameters
from overair.protocols.coap.peers import Peer, PeerMemory
from overair.protocols.timers import Timers


class Link:
    """The message layer of one endpoint."""

    def __init__(
        self,
        *,
        random: random_module.Random,
        parameters: Parameters | None = None,
        limits: CoapLimits | None = None,
    ) -> None:
        self.parameters = parameters or Parameters()
        self.limits = limits or CoapLimits()
        self.counters = Counters()
        self.outbox: list[tuple[bytes, Peer]] = []
        """Datagrams to send now, oldest first; the driver sends and clears them."""
        self._random = random
        self._now = 0.0
        """The last time anybody told."""
        self._memory = PeerMemory(self.limits, self.parameters.exchange_lifetime_seconds)
        self._timers = Timers()
        self._conversations: dict[Peer, Conversation] = {}
        self._open = 0
        """Exchanges, and Confirmable messages of no exchange, that wait for the peer."""

    def _conversation(self, peer: Peer) -> Conversation:
        """The conversation with a peer; it must be filled or dropped by `_drop_idle`."""
        conversation = self._conversations.get(peer)
        if conversation is None:
            self._check_conversations()
            conversation = self._conversations[peer] = Conversation(peer)
        return conversation

    def _check_conversations(self) -> None:
        if len(self._conversations) >= self.limits.conversations:
            raise LimitReachedError("conversations", self.limits.conversations)

    def _drop_idle(self, conversation: Conversation) -> None:
        if conversation.is_idle and self._conversations.get(conversation.peer) is conversation:
            del self._conversations[conversation.peer]

    def _next_message_id(self, peer: Peer, now: float) -> int:
        """Ids count per peer: one counter for a fleet would come round within an exchange lifetime."""
        record = self._memory.touch(peer, now)
        if record.message_id < 0:
            record.message_id = self._random.getrandbits(16)
        else:
            record.message_id = record.message_id + 1 & 0xFFFF
        return record.message_id

    def _new_transmission(
        self,
        conversation: Conversation,
        message_type: int,
        code: int,
        token: bytes,
        options: Sequence[OptionPair],
        payload: Body,
        now: float,
    ) -> Transmission:
        """Put a message into the outbox and into the table of ids; without a timer yet."""
        message_id = self._next_message_id(conversation.peer, now)
        while message_id in conversation.transmissions:
            message_id = self._next_message_id(conversation.peer, now)
        datagram = encode_fields(message_type, code, message_id, token, options, payload)
        transmission = Transmission(conversation, message_id, token, datagram)
        conversation.transmissions[message_id] = transmission
        self.outbox.append((datagram, conversation.peer))
        return transmission

    def _repeat_until_acknowledged(
        self, transmission: Transmission, parameters: Parameters, now: float
    ) -> None:
        spread = 1.0 + self._random.random() * (parameters.ack_random_factor - 1.0)
        transmission.parameters = parameters
        transmission.timeout_seconds = parameters.ack_timeout_seconds * spread
        self._timers.set(transmission, now + transmission.timeout_seconds)

    def _retransmit(self, transmission: Transmission, now: float) -> bool:
        """Send once more with twice the patience; False after the last attempt."""
        if transmission.retransmissions >= transmission.parameters.max_retransmit:
            self.counters.timeouts += 1
            return False
        transmission.retransmissions += 1
        transmission.timeout_seconds *= 2
        self.counters.retransmissions += 1
        self.outbox.append((transmission.datagram, transmission.conversation.peer))
        self._timers.set(transmission, now + transmission.timeout_seconds)
        return True

    def _settle(self, transmission: Transmission) -> None:
        """The peer need not react to this message any more."""
        self._timers.clear(transmission)
        conversation = transmission.conversation
        transmissions = conversation.transmissions
        if transmissions.pop(transmission.message_id, None) is not None and transmission.exchange is None:
            self._open -= 1
        if not transmissions:
            conversation.transmissions = {}  # an emptied dictionary keeps 224 bytes for as long as it lives

    def _send_alone(
        self,
        conversation: Conversation,
        code: int,
        token: bytes,
        options: Sequence[OptionPair],
        payload: Body,
        parameters: Parameters,
        now: float,
    ) -> Transmission:
        """Send a Confirmable message that belongs to no exchange."""
        sent = self._new_transmission(conversation, codes.CON, code, token, options, payload, now)
        self._open += 1
        self._repeat_until_acknowledged(sent, parameters, now)
        return sent

    def _has_room(self, conversation: Conversation) -> bool:
        """Whether one more Confirmable message of no exchange keeps within the limits."""
        return (
            self._open < self.limits.exchanges
            and len(conversation.transmissions) < self.limits.queue_per_peer
        )

    def _send_empty(self, message_type: int, message_id: int, peer: Peer) -> bytes:
        """Send an empty ACK or a Reset."""
        datagram = encode_fields(message_type, codes.EMPTY, message_id)
        self.outbox.append((datagram, peer))
        return datagram
