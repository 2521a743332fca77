"""DTLS 1.2 with pre-shared keys, both roles, without input or output (RFC 6347, RFC 4279, RFC 9146).

`Server` and `Client` are the doors in; `suites` has the numbers of the cipher suites, `states` the course
of a handshake.
"""

from __future__ import annotations

from overair.protocols.dtls import codes, suites
from overair.protocols.dtls.association import Address, Association
from overair.protocols.dtls.client import Client
from overair.protocols.dtls.errors import (
    AssociationStateError,
    CloseReason,
    DataTooLargeError,
    DtlsError,
    FailureReason,
    ParameterError,
    SavedStateError,
    WireError,
)
from overair.protocols.dtls.events import Closed, Data, Established, Event, HandshakeFailed, Moved
from overair.protocols.dtls.parameters import CELLULAR, Counters, DtlsLimits, DtlsParameters
from overair.protocols.dtls.server import Server
from overair.protocols.dtls.server_handshake import Keys

__all__ = [
    "CELLULAR",
    "Address",
    "Association",
    "AssociationStateError",
    "Client",
    "CloseReason",
    "Closed",
    "Counters",
    "Data",
    "DataTooLargeError",
    "DtlsError",
    "DtlsLimits",
    "DtlsParameters",
    "Established",
    "Event",
    "FailureReason",
    "HandshakeFailed",
    "Keys",
    "Moved",
    "ParameterError",
    "SavedStateError",
    "Server",
    "WireError",
    "codes",
    "suites",
]
