"""Timers and bounds of a CoAP endpoint (RFC 7252 section 4.8; spec lwm2m.md 12.2, 12.3, 13)."""

from __future__ import annotations

from typing import Final

import msgspec

from overair.protocols.coap.errors import ParameterError

BLOCK_SIZES: Final[tuple[int, ...]] = (16, 32, 64, 128, 256, 512, 1024)


_PARAMETER_RANGES: Final = (
    ("ack_timeout_seconds", 0.001, 3600),
    ("ack_random_factor", 1.0, 10),
    ("max_retransmit", 0, 20),
    ("nstart", 1, 100),
    ("exchange_lifetime_seconds", 1, 86_400),
    ("processing_ack_seconds", 0, 3600),
    ("separate_response_wait_seconds", 0.001, 86_400),
)


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ParameterError(f"{name} must be within {low} and {high}")


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """How patient an endpoint is, and which blocks it cuts. Seconds and bytes.

    One set belongs to the endpoint; a request or notification can bring another, because device
    models differ.
    """

    ack_timeout_seconds: float = 2.0
    ack_random_factor: float = 1.5
    max_retransmit: int = 4
    nstart: int = 1
    """Confirmable requests in flight to one peer; a request is in flight until it is answered."""
    exchange_lifetime_seconds: float = 247.0
    """How long a received message id is remembered, and an unfinished Block1 body kept."""
    processing_ack_seconds: float = 1.0
    """A Confirmable request unanswered for this long gets an empty ACK."""
    separate_response_wait_seconds: float = 60.0
    """How long a response may take after the empty ACK, or after a Non-confirmable request."""
    block_size: int = 512
    """The size of the blocks this side cuts where the peer asks for nothing smaller."""
    accepted_block_size: int = 1024
    """The largest block of a request body accepted; a larger one is answered 4.13 with this size."""

    def __post_init__(self) -> None:
        for name, low, high in _PARAMETER_RANGES:
            _check_range(name, getattr(self, name), low, high)
        for name in ("block_size", "accepted_block_size"):
            if getattr(self, name) not in BLOCK_SIZES:
                raise ParameterError(f"{name} must be one of {BLOCK_SIZES}")


CELLULAR: Final = Parameters(ack_timeout_seconds=10.0)
"""The LTE-M and NB-IoT profile of spec lwm2m.md 12.2: an answer may take half a minute."""


class CoapLimits(msgspec.Struct, frozen=True, kw_only=True):
    """A bound on everything that a peer, or all of them together, can make an endpoint hold."""

    datagram_bytes: int = 1500
    """Larger datagrams are dropped unread: a block of 1024 and its headers fit."""
    request_bytes: int = 65_536
    """A request body put together from Block1: registrations and Sends are a few kB."""
    body_bytes: int = 1_048_576
    """A response body put together from Block2."""
    body_budget_bytes: int = 33_554_432
    """All unfinished bodies together, for each direction."""
    assemblies_per_peer: int = 2
    """Unfinished request bodies of one peer; a third pushes out the oldest."""
    requests_per_second: float = 20.0
    request_burst: int = 50
    receipts_per_peer: int = 8
    """Received message ids remembered for one peer."""
    peers: int = 400_000
    """Peers remembered, in two generations of half as many."""
    pending_requests: int = 100_000
    """Requests neither answered nor acknowledged; more are dropped, and the peers send them again."""
    queue_per_peer: int = 32
    """Requests of ours to one peer that wait for their turn, and separate answers on their way."""
    exchanges: int = 100_000
    """Requests of ours that wait or are in flight, and separate answers on their way."""
    conversations: int = 500_000
    """Peers with which something of ours is open: an exchange or an observation."""
    observations_per_peer: int = 32
    observations: int = 1_000_000

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            _check_range(name, getattr(self, name), 1, 1 << 40)
        if self.body_budget_bytes < max(self.request_bytes, self.body_bytes):
            raise ParameterError("body_budget_bytes must be at least request_bytes and body_bytes")
        if self.peers < 2:
            raise ParameterError("peers must be at least 2")


class Counters(msgspec.Struct):
    """What an endpoint did since it was made. Every field only grows."""

    received: int = 0
    oversized: int = 0
    """Datagrams above `datagram_bytes`, dropped."""
    malformed: int = 0
    ignored: int = 0
    """Well-formed messages that mean nothing here: reserved classes, acknowledgements of nothing."""
    duplicates: int = 0
    limited: int = 0
    """Requests dropped by the rate of the peer or by `pending_requests`."""
    bad_options: int = 0
    unknown_tokens: int = 0
    """Responses and notifications nobody waits for, answered with a Reset."""
    stale_notifications: int = 0
    assemblies_evicted: int = 0
    retransmissions: int = 0
    timeouts: int = 0
    """Confirmable messages given up after their last retransmission, and responses that never came."""
