"""What an endpoint tells its driver."""

from __future__ import annotations

from typing import Literal

import msgspec

from overair.protocols.coap.errors import FailureReason
from overair.protocols.coap.exchanges import Exchange
from overair.protocols.coap.message import Message
from overair.protocols.coap.observe import Observation
from overair.protocols.coap.options import Block, decode_block
from overair.protocols.coap.peers import Peer, Receipt, Record


class Request(msgspec.Struct, gc=False):
    """A request to answer with `Endpoint.respond`, once. Its payload is whole.

    The fields after `message` are the endpoint's own: when it came (seconds), where the reply is
    remembered, and the block options of the message that completed it.
    """

    peer: Peer
    message: Message
    received: float
    record: Record
    receipt: Receipt
    block1: bytes | None = None
    block2: bytes | None = None
    acknowledged: bool = False
    answered: bool = False

    @property
    def wanted_block(self) -> Block | None:
        """The block of the answer that is asked for; the endpoint cuts it from the whole."""
        return None if self.block2 is None else decode_block(self.block2)


# The collector must see these events: their exchange may lead, through the caller's context, back to them.


class Response(msgspec.Struct):
    """The answer to a request of ours, of any code. Its payload is whole."""

    exchange: Exchange
    message: Message


class Failure(msgspec.Struct):
    """A request of ours that ended without an answer; `message` is what the peer said last, if it did.

    Also: the rest of a notification that could not be fetched. `exchange.fetches` is then the observation.
    """

    exchange: Exchange
    reason: FailureReason
    message: Message | None = None


class Notification(msgspec.Struct):
    """A change of an observed resource; `observation.ended` if it is the last one."""

    observation: Observation
    message: Message


class ObservationCancelled(msgspec.Struct, gc=False):
    """A peer wants no more notifications, or takes none: for the side that sends them."""

    peer: Peer
    token: bytes
    reason: Literal["reset", "timeout"]


Event = Request | Response | Failure | Notification | ObservationCancelled
