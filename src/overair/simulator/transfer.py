"""What a download and the device around it have to do with each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from overair.protocols.coap import Block, Exchange, Options, Peer
from overair.simulator.profile import Profile
from overair.simulator.source import Source


class Owner(Protocol):
    """Whose package it is."""

    def halfway(self, now: float) -> bool:
        """Half of it is there; returns whether that was the end."""

    def arrived(self, now: float) -> None:
        """All of it is there."""

    def broke_off(self, result: int, now: float) -> None:
        """No more will come; the result is one of object 5."""


class Radio(Protocol):
    """What a download needs of the device around it."""

    @property
    def awake_from(self) -> float:
        """When the radio is on again, in the past if it is on."""

    @property
    def fetcher(self) -> Fetcher | None:
        """What fetches over HTTP."""

    def find(self, source: Source) -> Peer | None:
        """Return who is asked for a package over CoAP; None if there is no way to."""

    def reaches(self, peer: Peer) -> bool:
        """Whether a request may be sent there now."""

    def ask_for_block(
        self, peer: Peer, source: Source, options: Options, context: object, now: float
    ) -> Exchange:
        """Send a GET."""

    def drop(self, exchange: Exchange) -> None:
        """Forget a request."""

    def look_for_server(self, now: float) -> None:
        """An answer is missing: find out whether the server still knows the device."""


class PushedBlock(NamedTuple):
    """One block of a package, or all of it where `block` is None."""

    block: Block | None
    payload: bytes
    content_format: int | None
    size_bytes: int | None
    """Of the whole, if announced."""


class BlockAnswer(NamedTuple):
    """How a block is answered."""

    code: int
    options: Options = ()


class Fetching(Protocol):
    """What has something fetched over HTTP, and is told how it goes."""

    fetch: Fetch | None

    @property
    def profile(self) -> Profile:
        """The model of the device."""

    def fetch_begins(self, offset: int, size_bytes: int, etag: bytes) -> bool:
        """Take what is said of the file before its bytes; returns whether to go on."""

    def take(self, chunk: bytes, now: float) -> None:
        """Take the next bytes."""

    def fetch_ends(self, now: float) -> None:
        """These were all."""

    def fetch_fails(self, result: int, now: float) -> None:
        """No more come."""


class Fetch:
    """A download over HTTP, carried out by somebody who calls `take`, and at the end one of the others.

    `offset` is the first byte that is wanted, `etag` what the earlier ones came with.
    """

    __slots__ = ("_delivery", "etag", "offset", "source")

    def __init__(self, delivery: Fetching, source: Source, offset: int, etag: bytes) -> None:
        self.source: Final = source
        self.offset: Final = offset
        self.etag: Final = etag
        self._delivery = delivery

    @property
    def bytes_per_second(self) -> float:
        """How fast the device takes it at best."""
        return self._delivery.profile.download_bytes_per_second

    @property
    def wanted(self) -> bool:
        """Whether the device still waits for it; nothing may be called when it does not."""
        return self._delivery.fetch is self

    def begin(self, offset: int, size_bytes: int, etag: bytes) -> bool:
        """Tell what comes: from which byte on, and how many the whole has; returns whether to go on."""
        return self._delivery.fetch_begins(offset, size_bytes, etag)

    def take(self, chunk: bytes, now: float) -> None:
        """Hand over the next bytes."""
        self._delivery.take(chunk, now)

    def end(self, now: float) -> None:
        """All bytes were handed over."""
        self._delivery.fetch_ends(now)

    def fail(self, result: int, now: float) -> None:
        """Nothing more comes; a lost connection is tried again, everything else is final."""
        self._delivery.fetch_fails(result, now)


Fetcher = Callable[[Fetch], None]
"""Begins to fetch, and returns at once."""
