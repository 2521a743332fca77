"""An association: one peer's keys, record numbers and Connection IDs (RFC 6347 section 4.1, RFC 9146)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

from overair.protocols.dtls.codes import DTLS_1_2, TLS12_CID
from overair.protocols.dtls.errors import AssociationStateError
from overair.protocols.dtls.wire import RECORD, RECORD_START, Record
from overair.protocols.timers import Timed

if TYPE_CHECKING:
    from overair.protocols.dtls.flights import LastFlight
    from overair.protocols.dtls.handshake import Handshake
    from overair.protocols.dtls.protection import Protection
    from overair.protocols.dtls.sessions import Session
    from overair.protocols.dtls.suites import Suite

Address = Hashable
"""Where datagrams come from and go to: whatever the driver uses."""

EPOCH_1: Final = 1 << 48
EPOCH_2: Final = 2 << 48
"""Record numbers below the first are in the clear; renegotiation is refused, so the second never comes."""
MAX_CONTENT_BYTES: Final = 1 << 14
WINDOW: Final = 64


class Association(Timed):
    """One peer. Equal only to itself; the driver may keep its own things by it.

    `identity` is the peer's PSK identity once it proved to have the key. `last_heard` is in seconds.
    """

    __slots__ = (
        "_highest",
        "_seen",
        "_write_number",
        "address",
        "confirmed",
        "content_bytes",
        "encrypt_then_mac",
        "established",
        "handshake",
        "identity",
        "last_flight",
        "last_heard",
        "material",
        "own_cid",
        "peer_cid",
        "protection",
        "session",
        "suite",
    )

    def __init__(self, address: Address) -> None:
        super().__init__()
        self.address = address
        self.identity = b""
        self.own_cid = b""
        """What the peer puts into its records; empty: nothing."""
        self.peer_cid = b""
        self.suite: Suite | None = None
        self.encrypt_then_mac = False
        self.material = b""
        """The key block, from which the ciphers can be made again."""
        self.protection: Protection | None = None
        """The ciphers of epoch 1; None before there are keys, and after the end."""
        self.content_bytes = MAX_CONTENT_BYTES
        """The largest content of a record that the peer takes."""
        self.established = False
        self.confirmed = False
        """Whether application data came: only then an older association of the identity is dropped."""
        self.handshake: Handshake | None = None
        """While it is in progress."""
        self.last_flight: LastFlight | None = None
        """Ours, as long as it may have to be repeated."""
        self.session: Session | None = None
        """What a fatal alert makes unresumable, where the server holds it."""
        self.last_heard = 0.0
        self._write_number = EPOCH_1
        self._highest = EPOCH_1 - 1
        self._seen = 0

    def __repr__(self) -> str:
        return f"<Association {self.identity!r} at {self.address!r}>"

    # --- writing

    def seal(self, kind: int, content: bytes) -> bytes:
        """The protected record for this content, with the next number."""
        protection, number = self.protection, self._write_number
        if protection is None or number >= EPOCH_2:
            raise AssociationStateError("association: no keys, or all record numbers used")
        self._write_number = number + 1
        cid = self.peer_cid
        if not cid:
            fragment = protection.seal(kind, number, content, b"")
            return RECORD.pack(kind, DTLS_1_2, number, len(fragment)) + fragment
        fragment = protection.seal(TLS12_CID, number, content + bytes((kind,)), cid)
        return b"".join(
            (
                RECORD_START.pack(TLS12_CID, DTLS_1_2, number),
                cid,
                len(fragment).to_bytes(2, "big"),
                fragment,
            )
        )

    def can_seal(self) -> bool:
        """Whether there are keys, and numbers left."""
        return self.protection is not None and self._write_number < EPOCH_2

    def overhead_bytes(self) -> int:
        """How many bytes longer than its content a protected record can be."""
        expansion = self.protection.expansion if self.protection is not None else 0
        return RECORD.size + expansion + (len(self.peer_cid) + 1 if self.peer_cid else 0)

    # --- reading

    def is_new(self, number: int) -> bool:
        """Whether a record of this number was not seen and is not too old to tell."""
        age = self._highest - number
        return age < 0 or (age < WINDOW and not self._seen >> age & 1)

    def mark(self, number: int) -> bool:
        """Remember that an authentic record of this number came; whether it is newer than all others."""
        ahead = number - self._highest
        if ahead > 0:
            self._seen = (self._seen << ahead | 1) & ((1 << WINDOW) - 1) if ahead < WINDOW else 1
            self._highest = number
            return True
        self._seen |= 1 << -ahead
        return False

    def open(self, record: Record) -> tuple[int, bytes] | None:
        """The real content type and the content, None if the record is not authentic."""
        protection = self.protection
        if protection is None:
            return None
        content = protection.open(record.kind, record.number, record.fragment, record.cid)
        if content is None:
            return None
        if record.kind != TLS12_CID:
            return record.kind, content
        inner = content.rstrip(b"\0")
        # Zeros after the type are padding; all zeros have no type.
        return (inner[-1], inner[:-1]) if inner else None

    # --- saving

    def counts(self) -> tuple[int, int, int]:
        """The next number to write, the highest one read, and the window below it."""
        return self._write_number, self._highest, self._seen

    def set_counts(self, write_number: int, highest: int, seen: int) -> None:
        """Take up what `counts` gave."""
        self._write_number, self._highest, self._seen = write_number, highest, seen
