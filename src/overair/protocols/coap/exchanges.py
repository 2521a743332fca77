"""What is open between us and one peer: requests of ours, messages to be acknowledged, observations.

A Conversation holds it all, so a peer that changes its address, or leaves, costs one look-up however
many others there are. It exists only while something is open.

An Exchange is one request of the application and goes through these states:

    QUEUED   waits for its turn (NSTART)
    SENT     a message of it waits for an acknowledgement or a response
    WAITING  acknowledged, the response comes separately
    DONE     reported, cancelled or forgotten

A blockwise exchange passes SENT and WAITING once a block, each time with a new token, so that a late
answer to one block can never pass for the answer to the next.
"""

from __future__ import annotations

import enum

from overair.protocols.coap import codes
from overair.protocols.coap.blockwise import Body, Budget, Download, Source, Step, Upload
from overair.protocols.coap.errors import FailureReason, MessageFieldError
from overair.protocols.coap.message import Message
from overair.protocols.coap.observe import Observation
from overair.protocols.coap.options import OptionPair, Options
from overair.protocols.coap.parameters import Parameters
from overair.protocols.coap.peers import Peer
from overair.protocols.timers import Timed


class State(enum.Enum):
    """Where an exchange stands."""

    QUEUED = "queued"
    SENT = "sent"
    WAITING = "waiting"
    DONE = "done"


class Transmission(Timed):
    """One message of ours that the peer may acknowledge or reject by its id (RFC 7252 section 4.2).

    It belongs to an exchange, or is a notification (`token` says of which observation), or else a
    separate response.
    """

    __slots__ = (
        "conversation",
        "datagram",
        "exchange",
        "message_id",
        "notification",
        "parameters",
        "replacement",
        "retransmissions",
        "timeout_seconds",
        "token",
    )

    def __init__(self, conversation: Conversation, message_id: int, token: bytes, datagram: bytes) -> None:
        super().__init__()
        self.conversation = conversation
        self.message_id = message_id
        self.token = token
        self.datagram = datagram
        self.exchange: Exchange | None = None
        self.parameters: Parameters
        self.notification = False
        self.replacement: Message | None = None
        """The newer notification that takes this one's place at the next attempt."""
        self.retransmissions = 0
        self.timeout_seconds = 0.0


class Conversation:
    """Everything open with one peer."""

    __slots__ = (
        "exchanges",
        "in_flight",
        "notified",
        "observations",
        "peer",
        "queue",
        "tokens",
        "transmissions",
    )

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.tokens: dict[bytes, Exchange | Observation] = {}
        self.transmissions: dict[int, Transmission] = {}
        self.queue: list[Exchange] = []
        self.notified: dict[int, bytes] = {}
        """Message id and token of Non-confirmable notifications, which a Reset can still reject."""
        self.exchanges = 0
        self.in_flight = 0
        self.observations = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is open."""
        return not (self.tokens or self.transmissions or self.queue or self.notified)


class Exchange(Timed):
    """One request of the application. `context` is the application's own object."""

    __slots__ = (
        "code",
        "confirmable",
        "context",
        "conversation",
        "download",
        "failed_at",
        "fetches",
        "holds_slot",
        "observation",
        "observe",
        "options",
        "parameters",
        "payload",
        "raw",
        "state",
        "token",
        "transmission",
        "upload",
    )

    def __init__(
        self,
        conversation: Conversation,
        code: int,
        options: Options,
        payload: Body | Source,
        *,
        context: object,
        confirmable: bool,
        parameters: Parameters,
    ) -> None:
        super().__init__()
        self.conversation = conversation
        self.code = code
        self.options = options
        self.payload = payload
        self.context = context
        self.confirmable = confirmable
        self.parameters = parameters
        self.state = State.QUEUED
        self.token = b""
        self.observe: int | None = None
        self.observation: Observation | None = None
        """After the response to `observe`: the observation, if the peer agreed to one."""
        self.fetches: Observation | None = None
        """The observation whose notification this exchange completes."""
        self.transmission: Transmission | None = None
        self.holds_slot = False
        self.failed_at: float | None = None
        self.upload: Upload | None = None
        self.download: Download | None = None
        # Whoever names a block himself drives the transfer himself.
        self.raw = any(number in (codes.BLOCK1, codes.BLOCK2) for number, _ in options)
        if not self.raw and len(payload) > parameters.block_size:
            self.upload = Upload(payload, parameters.block_size)
            if not self.upload.fits:
                raise MessageFieldError(f"payload: more than 2**20 blocks of {parameters.block_size} bytes")

    @property
    def peer(self) -> Peer:
        """The peer that is asked, wherever it moved."""
        return self.conversation.peer

    @property
    def done(self) -> bool:
        """Whether it was answered, failed or cancelled."""
        return self.state is State.DONE

    @property
    def bytes_sent(self) -> int:
        """Bytes of the payload that the peer confirmed, for progress of a blockwise transfer."""
        if self.upload is None or self.download is not None:
            return len(self.payload)
        return self.upload.offset

    @property
    def bytes_received(self) -> int:
        """Bytes of a blockwise response that are there."""
        return len(self.download.body) if self.download is not None else 0

    def compose(self) -> tuple[list[OptionPair], bytes]:
        """(options, payload) of the message to send now."""
        options = list(self.options)
        if self.download is not None and self.download.body:
            options.append((codes.BLOCK2, self.download.block.encode()))
            # FETCH says in its payload what is wanted (RFC 8132 section 2.3.1); others are known by path.
            repeated = self.code == codes.FETCH and self.upload is None
            return options, bytes(self.payload[:]) if repeated else b""
        if self.observe is not None and self.download is None:
            options.append((codes.OBSERVE, b"\x01" if self.observe else b""))
        if self.upload is None:
            return options, bytes(self.payload[:])
        added, chunk = self.upload.compose()
        return options + added, chunk

    def take(self, message: Message, limit_bytes: int, budget: Budget) -> Step | FailureReason:
        """Go on by a response: the transfer of the request body first, then that of the answer."""
        if self.raw:
            return Step.DONE
        if self.upload is not None and self.download is None:
            step = self.upload.take(message)
            if step is not Step.DONE:
                return step
        elif self._must_cut(message):
            return Step.SEND
        return self._take_block2(message, limit_bytes, budget)

    def answer(self, message: Message) -> Message:
        """The response to report when `take` said DONE by `message`."""
        if self.download is None or not _is_block(message):
            return message
        return self.download.whole() or message

    def _must_cut(self, message: Message) -> bool:
        """Whether a request sent whole was refused with a block size to send it in."""
        hint = message.block1 if message.code == codes.REQUEST_ENTITY_TOO_LARGE else None
        if hint is None or self.download is not None or len(self.payload) <= hint.size_bytes:
            return False
        self.upload = Upload(self.payload, hint.size_bytes)
        return True

    def _take_block2(self, message: Message, limit_bytes: int, budget: Budget) -> Step | FailureReason:
        if not _is_block(message):
            return Step.DONE
        block = message.block2
        if self.download is None:
            if block is not None and not block.more and not block.number:
                return Step.DONE
            self.download = Download(self.parameters.block_size, limit_bytes, budget)
        step = self.download.take(message)
        if step is Step.SEND and not self.download.body and not self._may_repeat:
            return FailureReason.BLOCKS
        return step

    @property
    def _may_repeat(self) -> bool:
        """Whether the request can be made again from its start without doing anything twice."""
        return self.upload is None and self.code in (codes.GET, codes.FETCH)


def _is_block(message: Message) -> bool:
    return codes.is_success(message.code) and message.option(codes.BLOCK2) is not None
