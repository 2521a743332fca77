"""CoAP over datagrams, both roles, without input or output (RFC 7252, RFC 7641, RFC 7959).

`Endpoint` is the door in; `codes` has the numbers of methods, responses and options.
"""

from __future__ import annotations

from overair.protocols.coap import codes
from overair.protocols.coap.blockwise import Portion, Source
from overair.protocols.coap.echo import EchoGuard
from overair.protocols.coap.endpoint import Endpoint
from overair.protocols.coap.errors import (
    CoapError,
    ExchangeStateError,
    FailureReason,
    LimitReachedError,
    MessageFieldError,
    MessageFormatError,
    ParameterError,
)
from overair.protocols.coap.events import (
    Event,
    Failure,
    Notification,
    ObservationCancelled,
    Request,
    Response,
)
from overair.protocols.coap.exchanges import Exchange
from overair.protocols.coap.message import Message, decode, encode
from overair.protocols.coap.observe import Observation
from overair.protocols.coap.options import Block, OptionPair, Options, decode_block, encode_uint
from overair.protocols.coap.parameters import CELLULAR, CoapLimits, Counters, Parameters
from overair.protocols.coap.peers import Peer

__all__ = [
    "CELLULAR",
    "Block",
    "CoapError",
    "CoapLimits",
    "Counters",
    "EchoGuard",
    "Endpoint",
    "Event",
    "Exchange",
    "ExchangeStateError",
    "Failure",
    "FailureReason",
    "LimitReachedError",
    "Message",
    "MessageFieldError",
    "MessageFormatError",
    "Notification",
    "Observation",
    "ObservationCancelled",
    "OptionPair",
    "Options",
    "ParameterError",
    "Parameters",
    "Peer",
    "Portion",
    "Request",
    "Response",
    "Source",
    "codes",
    "decode",
    "decode_block",
    "encode",
    "encode_uint",
]
