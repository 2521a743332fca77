"""What is remembered of a peer for one exchange lifetime: what it sent, how fast, our message ids.

Duplicates are found by a small ring of receipts (RFC 7252 section 4.5), the request rate is held by
GCRA, which needs one number. Peers live in two generations: the older one is dropped whole when the
younger is full or one exchange lifetime old, so nothing is ever searched and the sum is bounded. A
fleet of 100 k devices is a normal day, hence Structs without a garbage collector header, the last
receipt inline, and no list before there is a second one.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

import msgspec

from overair.protocols.coap.parameters import CoapLimits

Peer = Hashable
"""Whatever names a peer: an address and port, or a DTLS association."""


class Receipt(msgspec.Struct, gc=False):
    """One message received. `key` is its id and token as on the wire.

    The token is part of the key so that a device which rebooted and counts its ids from the same
    start is heard again, though its old messages are still remembered; a true retransmission always
    carries the same token.
    """

    key: bytes
    since: float
    reply: bytes | None = None
    """The datagram that answered it, None while (or because) there is none."""


class Record(msgspec.Struct, gc=False):
    """One peer. `arrival` is GCRA's theoretical arrival time in seconds."""

    arrival: float = 0.0
    last: Receipt | None = None
    older: list[Receipt] | None = None
    message_id: int = -1
    """The id our last message to the peer had; -1 before the first."""
    downloading: bool = False
    """It was sent a block that was not the last one."""


class PeerMemory:
    """The records of all peers, in two generations."""

    def __init__(self, limits: CoapLimits, lifetime_seconds: float) -> None:
        self._lifetime = lifetime_seconds
        self._capacity = limits.peers // 2
        self._ring = limits.receipts_per_peer - 1
        self._interval: Final = 1.0 / limits.requests_per_second
        # Half an interval of grace, or rounding would now and then make the burst one shorter.
        self._tolerance: Final = (limits.request_burst - 0.5) * self._interval
        self._young: dict[Peer, Record] = {}
        self._old: dict[Peer, Record] = {}
        self._rotate_at: float | None = None

    def __len__(self) -> int:
        """Peers remembered."""
        return len(self._young) + len(self._old)

    def touch(self, peer: Peer, now: float) -> Record:
        """The record of a peer, made if needed, kept for a lifetime from `now` on."""
        record = self._young.get(peer)
        if record is None:
            self.rotate(now)
            record = self._old.pop(peer, None) or Record()
            self._young[peer] = record
        return record

    def find(self, peer: Peer) -> Record | None:
        """The record of a peer if there is one."""
        return self._young.get(peer) or self._old.get(peer)

    def rotate(self, now: float) -> None:
        """Drop the older generation if its time has come."""
        if self._rotate_at is None:
            self._rotate_at = now + self._lifetime
        elif now >= self._rotate_at or len(self._young) >= self._capacity:
            self._old = self._young
            self._young = {}
            self._rotate_at = now + self._lifetime

    def duplicate(self, record: Record, key: bytes, now: float) -> Receipt | None:
        """The receipt of the same message, received less than a lifetime ago."""
        last = record.last
        if last is None:
            return None
        since = now - self._lifetime
        if last.key == key:
            return last if last.since > since else None
        if record.older is not None:
            # Newest first: an id that came round again is younger than its namesake.
            for receipt in reversed(record.older):
                if receipt.key == key:
                    return receipt if receipt.since > since else None
        return None

    def remember(self, record: Record, key: bytes, now: float) -> Receipt:
        """Note a message; the oldest of a full ring is forgotten."""
        last = record.last
        if last is not None:
            older = record.older
            if last.since <= now - self._lifetime:
                record.older = None
            elif older is None:
                record.older = [last]
            else:
                older.append(last)
                if len(older) > self._ring:
                    del older[0]
        receipt = record.last = Receipt(key, now)
        return receipt

    def admit(self, record: Record, now: float) -> bool:
        """Whether one more request keeps within the rate (GCRA); counts it if so."""
        arrival = record.arrival
        if arrival < now:
            arrival = now
        elif arrival - now > self._tolerance:
            return False
        record.arrival = arrival + self._interval
        return True
