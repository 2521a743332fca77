"""What an engine tells its driver."""

from __future__ import annotations

import msgspec

from overair.protocols.dtls.association import Address, Association
from overair.protocols.dtls.errors import CloseReason, FailureReason


class Established(msgspec.Struct, gc=False):
    """A handshake is done: `association.identity` has proved its key."""

    association: Association
    resumed: bool


class Data(msgspec.Struct, gc=False):
    """Application data, authentic and not seen before."""

    association: Association
    data: bytes


class Moved(msgspec.Struct, gc=False):
    """The association's peer speaks from another address now (RFC 9146 section 6)."""

    association: Association
    old_address: Address


class Closed(msgspec.Struct, gc=False):
    """An established association ended; nothing can be sent on it."""

    association: Association
    reason: CloseReason


class HandshakeFailed(msgspec.Struct, gc=False):
    """A handshake ended without an association.

    `identity` is what the peer claimed, empty if it did not come that far; `alert` what it sent, if it did.
    """

    address: Address
    reason: FailureReason
    identity: bytes = b""
    alert: int | None = None


Event = Established | Data | Moved | Closed | HandshakeFailed
