"""Who a peer is: an address that anybody can claim, or a DTLS association that has proved an identity.

An identity belongs to one device (spec lwm2m.md, sections 2.3 and 10.2). A device that has a key is not
registered without it; and one that registered with an identity is spoken of, and to, only with it: whoever
comes without, or with another, does not find its registration.
"""

from collections.abc import Callable
from typing import cast

from overair.devices.model import Registration
from overair.protocols import dtls
from overair.protocols.coap import Peer, codes
from overair.protocols.lwm2m import RegisterRequest, RegistrationError

Address = tuple[str, int]
Owner = Callable[[bytes], int | None]
"""Returns the IMEI of the device to which an identity belongs."""
HasKey = Callable[[int], bool]
"""Returns whether the device of an IMEI has a key, and so must prove it."""


class Nowhere:
    """Where a device is whose association did not outlive a restart: nothing reaches it until it speaks."""


def identity_of(peer: Peer) -> bytes:
    """Return the identity that a peer has proved; empty without security."""
    # An address is by far the most frequent, and its type the quickest to tell.
    return peer.identity if type(peer) is not tuple and isinstance(peer, dtls.Association) else b""


def address_of(peer: Peer) -> Address:
    """Return where datagrams of a peer come from."""
    return cast("Address", peer.address if isinstance(peer, dtls.Association) else peer)


def may_speak_for(registration: Registration, peer: Peer) -> bool:
    """Whether a registration is the peer's own, as far as security can tell."""
    return registration.identity == identity_of(peer)


def name_given(asked: RegisterRequest, identity: bytes) -> str:
    """Return the endpoint's name: what the Register says, else what the identity is (spec lwm2m.md, 2.3)."""
    return asked.endpoint or identity.decode(errors="replace")


def check_owner(imei: int | None, identity: bytes, owner: Owner) -> int | None:
    """Return the IMEI that registers; RegistrationError 4.00 if it is another's than the identity's.

    A name that carries no IMEI stands for the identity's device.
    """
    if not identity:
        return imei
    owned = owner(identity)
    if owned is None:
        raise RegistrationError(codes.FORBIDDEN, "the security identity belongs to no device any more")
    if imei is not None and imei != owned:
        raise RegistrationError(codes.BAD_REQUEST, "ep: names another device than the security identity")
    return owned
