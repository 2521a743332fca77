"""Timers, offers and bounds of a DTLS engine (RFC 6347, RFC 7925; spec lwm2m.md 10.3)."""

from __future__ import annotations

from typing import Final

import msgspec

from overair.protocols.dtls.errors import ParameterError
from overair.protocols.dtls.suites import SUITES

DAY_SECONDS: Final = 86_400

_PARAMETER_RANGES: Final = (
    ("process_number", 0, 255),
    ("retransmit_seconds", 0.001, 3600),
    ("retransmit_max_seconds", 0.001, 3600),
    ("handshake_seconds", 0.001, DAY_SECONDS),
    ("linger_seconds", 0.001, DAY_SECONDS),
    ("idle_seconds", 1, 10_000 * DAY_SECONDS),
    ("session_seconds", 1, 10_000 * DAY_SECONDS),
    ("cookie_seconds", 1, DAY_SECONDS),
    ("datagram_bytes", 256, 16_384),
)
MIN_CID_BYTES: Final = 4
MAX_CID_BYTES: Final = 20


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ParameterError(f"{name} must be within {low} and {high}")


class DtlsParameters(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine offers and how patient it is. Seconds and bytes."""

    suites: tuple[int, ...] = tuple(SUITES)
    """Numbers of cipher suites, best first; the server's order decides."""
    connection_id_bytes: int | None = 8
    """Length of the Connection ID that peers put into records to us: 0 asks for none and still lets the
    peer have one, None leaves the extension away."""
    process_number: int = 0
    """The first byte of each Connection ID, so that several processes can share a port (spec engine.md 2)."""
    retransmit_seconds: float = 1.0
    """The first wait for an answer to a flight; it doubles up to `retransmit_max_seconds`."""
    retransmit_max_seconds: float = 60.0
    handshake_seconds: float = 300.0
    """A handshake takes no longer than this."""
    linger_seconds: float = 240.0
    """How long the last flight can be repeated for a peer that lost it (RFC 6347 section 4.2.4)."""
    idle_seconds: float = 7 * DAY_SECONDS
    """An association that says nothing for this long ends, without a close_notify."""
    session_seconds: float = 7 * DAY_SECONDS
    """How long a session can be resumed."""
    cookie_seconds: float = 120.0
    """A cookie is good for this long, and at most twice as long."""
    datagram_bytes: int = 1200
    """Handshake flights are cut to datagrams of at most this size."""

    def __post_init__(self) -> None:
        for name, low, high in _PARAMETER_RANGES:
            _check_range(name, getattr(self, name), low, high)
        length = self.connection_id_bytes
        if length and not MIN_CID_BYTES <= length <= MAX_CID_BYTES:
            raise ParameterError(f"connection_id_bytes must be None, 0 or {MIN_CID_BYTES} to {MAX_CID_BYTES}")
        if not self.suites or not set(self.suites) <= SUITES.keys():
            raise ParameterError(f"suites must be some of {', '.join(map(hex, SUITES))}")


CELLULAR: Final = DtlsParameters(retransmit_seconds=9.0)
"""The NB-IoT and LTE-M profile: an answer may take many seconds (RFC 7925 section 11)."""


class DtlsLimits(msgspec.Struct, frozen=True, kw_only=True):
    """A bound on everything that a peer, or all of them together, can make an engine hold."""

    datagram_bytes: int = 2048
    """Larger datagrams are dropped unread: a CoAP block of 1024, its headers and ours fit twice."""
    handshakes: int = 20_000
    """Handshakes in progress, and last flights kept; one more pushes out the oldest."""
    associations: int = 500_000
    """Associations, handshakes in progress included; above it new handshakes are not begun."""
    sessions: int = 500_000
    """Sessions that can be resumed by their id; one more pushes out the oldest."""
    handshake_message_bytes: int = 4096
    """A handshake message: those of PSK suites have some hundred bytes."""
    handshake_bytes: int = 8192
    """Messages of one handshake that wait for fragments or for their turn."""
    messages_ahead: int = 8
    """How far a message may be ahead of its turn."""
    flight_repeats: int = 32
    """How often one flight is sent again because the peer repeated its own."""
    early_records: int = 8
    """Records of the next epoch that came before the keys, for one handshake."""
    identity_bytes: int = 256
    """A PSK identity; RFC 4279 section 5.3 asks for 128."""
    keys_per_identity: int = 4
    """Keys tried for one identity: two while a key is changed."""
    ticket_bytes: int = 2048
    """A session ticket that a client keeps."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            _check_range(name, getattr(self, name), 1, 1 << 40)
        if self.handshake_bytes < self.handshake_message_bytes:
            raise ParameterError("handshake_bytes must be at least handshake_message_bytes")


class Counters(msgspec.Struct):
    """What an engine did since it was made. Every field only grows."""

    received: int = 0
    oversized: int = 0
    malformed: int = 0
    """Datagrams and handshake messages that are not what they say."""
    strayed: int = 0
    """Records of no association and no handshake: unknown address, unknown Connection ID, wrong epoch."""
    forged: int = 0
    """Records that do not authenticate."""
    replayed: int = 0
    """Records seen before, or too old to tell."""
    fragmented_hellos: int = 0
    """ClientHellos in fragments: the server keeps nothing before a cookie, so it can't join them."""
    verify_requests: int = 0
    handshakes: int = 0
    """Handshakes begun."""
    refused: int = 0
    """ClientHellos with a good cookie that found no room."""
    evicted: int = 0
    """Handshakes pushed out by newer ones."""
    established: int = 0
    resumed: int = 0
    """Those of `established` that took up an older session."""
    failed: int = 0
    repeated_flights: int = 0
    early_dropped: int = 0
    moved: int = 0
    renegotiations_refused: int = 0
