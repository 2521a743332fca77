"""Fuzz target: any datagrams at both roles of the DTLS engine, in every state of a handshake.

Run it as a script under atheris (`python fuzz_dtls.py CORPUS`); the unit tests drive `one_input`, too.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence

from overair.protocols.dtls import Association, Client, Closed, DtlsLimits, Established, Event, Server, codes
from overair.protocols.dtls.association import EPOCH_1
from overair.protocols.dtls.wire import RECORD, RECORD_BYTES

LIMITS = DtlsLimits(
    handshakes=2,
    associations=6,
    sessions=2,
    handshake_message_bytes=256,
    handshake_bytes=512,
    early_records=3,
)
ADDRESSES = ("one", "two")
IDENTITY, KEY = b"device", b"sixteen byte key"


class Keys:
    def find(self, identity: bytes) -> Sequence[bytes]:
        return (b"old", KEY) if identity == IDENTITY else ()


class Both:
    """A server, a client, and what they would send each other."""

    def __init__(self) -> None:
        self.server = Server(keys=Keys(), random=random.Random(1).randbytes, limits=LIMITS)
        self.client = Client(identity=IDENTITY, key=KEY, random=random.Random(2).randbytes, limits=LIMITS)
        self.now = 1.0
        self.associations: list[Association] = []

    def advance(self) -> None:
        """Carry everything once, so that the next bytes meet a later state."""
        to_server, to_client = list(self.client.outbox), [datagram for datagram, _ in self.server.outbox]
        self.client.outbox.clear()
        self.server.outbox.clear()
        for datagram in to_server:
            self.note(self.server.receive(datagram, "one", self.now))
        for datagram in to_client:
            self.client.receive(datagram, self.now)

    def note(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Established):
                self.associations.append(event.association)
            elif isinstance(event, Closed):
                self.associations.remove(event.association)

    def throw(self, datagram: bytes, control: int) -> None:
        if control & 1:
            self.note(self.server.receive(datagram, ADDRESSES[control >> 1 & 1], self.now))
        else:
            self.client.receive(datagram, self.now)

    def sealed(self, control: int, content: bytes) -> bytes:
        """A record under the keys, so that what is inside is read; plain if there are none."""
        association = self.client.association if control & 1 else next(iter(self.associations), None)
        if association is None or association.protection is None:
            return self.plain(control, content)
        return association.seal(codes.ALERT if control & 16 else codes.HANDSHAKE, content)

    def plain(self, control: int, content: bytes) -> bytes:
        number = EPOCH_1 if control & 16 else 0
        return RECORD.pack(codes.HANDSHAKE, codes.DTLS_1_2, number, len(content)) + content

    def check(self) -> None:
        peers = self.server._peers
        assert len(peers.handshakes) <= LIMITS.handshakes
        assert len(peers._by_cid) + len(peers._by_address) <= LIMITS.associations + LIMITS.handshakes
        assert len(self.server._sessions) <= LIMITS.sessions
        assert set(self.associations) == set(peers)
        for association in peers.handshakes.values():
            handshake = association.handshake
            if handshake is None:
                assert association.last_flight is not None
                continue
            assert len(handshake.early) <= LIMITS.early_records
            assert 0 <= handshake._inbox._held_bytes <= LIMITS.handshake_bytes


def one_input(data: bytes) -> None:
    """Two bytes of control and length, then a datagram, or what goes into one; again and again.

    Control bits: 1 server or client, 2 which address, 4 wrap it as a handshake record, 8 seal it, 16 another
    kind or epoch; above them: carry on, time passes, a new handshake, a genuine datagram with a byte changed.
    """
    both = Both()
    both.client.start(both.now)
    position = 0
    while position + 2 <= len(data):
        control, length = data[position], data[position + 1]
        content = data[position + 2 : position + 2 + length]
        position += 2 + length
        if control & 32:
            both.advance()
        if control & 192 == 64:
            both.now += 40
            both.note(both.server.advance(both.now))
            both.client.advance(both.now)
        elif control & 192 == 128:
            (both.client.resume if control & 16 else both.client.start)(both.now)
        elif control & 192 == 192:
            content = _touched(both, control, content)
        elif control & 8:
            content = both.sealed(control, content)
        elif control & 4:
            content = both.plain(control, content)
        both.throw(content, control)
        both.check()
    _drain(both)


def _touched(both: Both, control: int, content: bytes) -> bytes:
    """A datagram that is on its way, with one byte after its header replaced."""
    own = both.client.outbox if control & 1 else [datagram for datagram, _ in both.server.outbox]
    if not own or len(content) < 2:
        return content
    datagram = bytearray(own[-1])
    datagram[(RECORD_BYTES + content[0]) % len(datagram)] = content[1]
    return bytes(datagram)


def _drain(both: Both) -> None:
    """Left alone, handshakes end, and associations after their idle time."""
    for end in (both.server, both.client):
        for _ in range(1000):
            due = end.next_due()
            if due is None:
                break
            both.now = max(both.now, due)
            events = end.advance(both.now)
            both.note(events if end is both.server else [])
        assert end.next_due() is None
    assert len(both.server) == len(both.server._peers.handshakes) == len(both.server._peers._by_cid) == 0


def main() -> None:
    """Fuzz until stopped."""
    try:
        import atheris
    except ImportError:
        sys.exit("fuzz_dtls: atheris is not installed (pip install atheris)")
    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
