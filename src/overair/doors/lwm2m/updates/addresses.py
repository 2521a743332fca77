"""Where devices fetch images from: the URLs that are written to Package URI (spec lwm2m.md, 8.5 and 13.3).

No query, no user, an explicit port, a short path: modules are particular. The host is what the operator says
devices know this service by; unless he said so, the address by which this machine reaches the device.
"""

import socket
from urllib.parse import urlsplit

import msgspec

from overair.protocols.lwm2m.updating import Means

Address = tuple[str, int]

ANY_HOST = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound to
LOOPBACK = ("127.", "::1", "localhost")
DISCARD_PORT = 9
_CLEAR_URL = {"http": Means.HTTP, "https": Means.HTTPS}


class Addresses(msgspec.Struct):
    """The doors that serve images, by the means that they are; filled in as they open.

    *host* is the name or address that devices know this service by. *url* is where the HTTP door is reached
    from outside, such as through a proxy with TLS.
    """

    host: str | None = None
    url: str | None = None
    doors: dict[Means, Address] = {}

    def means(self, device_host: str, *, secure: bool) -> frozenset[Means]:
        """Return the means by which a device could be brought an image; *secure*: it speaks DTLS with us."""
        usable = {Means.PUSH}
        usable |= {means for means, door in self.doors.items() if _reaches(door, device_host)}
        if not secure:
            usable.discard(Means.COAPS)  # it has no key to speak it with
        if self.url is not None:
            usable -= set(_CLEAR_URL.values())
            usable.add(_CLEAR_URL[urlsplit(self.url).scheme])
        return frozenset(usable)

    def image_url(self, means: Means, token: str, device_host: str, *, short: bool) -> str:
        """Return the URL of an image; *short*: with an address in the place of a name, for want of DNS."""
        if self.url is not None and means in _CLEAR_URL.values():
            return f"{self.url.rstrip('/')}/f/{token}"
        bound, port = self.doors[means]
        host = self.host if self.host is not None and not short else None
        host = host or (facing(device_host) if bound in ANY_HOST else bound)
        shown = f"[{host}]" if ":" in host else host
        return f"{means}://{shown}:{port}/f/{token}"


def facing(device_host: str) -> str:
    """Return the address of this machine on the way to a device. Nothing is sent."""
    family = socket.AF_INET6 if ":" in device_host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as way:
        way.connect((device_host, DISCARD_PORT))
        return str(way.getsockname()[0])


def _reaches(door: Address, device_host: str) -> bool:
    """Whether a device can come to a door: to one on loopback only from this machine."""
    return not door[0].startswith(LOOPBACK) or device_host.startswith(LOOPBACK)
