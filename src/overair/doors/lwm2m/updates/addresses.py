"""Where devices fetch images from: the URLs that are written to Package URI (spec lwm2m.md, 8.5 and 13.3).

No query, no user, an explicit port, a short path: modules are particular. The host is what the operator says
devices know this service by; unless he said so, the address by which this machine reaches the device.
"""

import ipaddress
import socket
from urllib.parse import urlsplit

import msgspec

from overair.protocols.lwm2m.updating import Means

Address = tuple[str, int]

ANY_HOST = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound to
DISCARD_PORT = 9
URL_BYTES_MAX = 255
TOKEN_BYTES_MAX = 16
_BY_SCHEME = {"http": Means.HTTP, "https": Means.HTTPS}


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
        usable |= {means for means, door in self.doors.items() if self._reaches(door, device_host)}
        if not secure:
            usable.discard(Means.COAPS)  # it has no key to speak it with
        if self.url is not None:
            usable -= set(_BY_SCHEME.values())
            if len(self._outside("")) + TOKEN_BYTES_MAX <= URL_BYTES_MAX:
                usable.add(_BY_SCHEME[urlsplit(self.url).scheme])
        return frozenset(usable)

    def image_url(self, means: Means, token: str, device_host: str, *, short: bool) -> str:
        """Return the URL of an image, 255 bytes at most: what has no room with a name comes *short*.

        That is with an address in the place of the name, for want of DNS. KeyError for means that
        :meth:`means` does not name.
        """
        if self.url is not None and means in _BY_SCHEME.values():
            return self._outside(token)
        bound, port = self.doors[means]
        url = _url(means, self.host, port, token) if self.host is not None and not short else ""
        if url and len(url) <= URL_BYTES_MAX:
            return url
        return _url(means, facing(device_host) if bound in ANY_HOST else bound, port, token)

    def _outside(self, token: str) -> str:
        return f"{(self.url or '').rstrip('/')}/f/{token}"

    def _reaches(self, door: Address, device_host: str) -> bool:
        """Whether a device can come to a door: to one on loopback only from this machine."""
        bound, _ = door
        here, there = _address(bound), _address(device_host)
        if _is_loopback(bound):
            return there is not None and there.is_loopback
        if self.host is not None or bound == "::" or here is None or there is None:
            return True
        return here.version == there.version


def facing(device_host: str) -> str:
    """Return the address of this machine on the way to a device. Nothing is sent."""
    there = _address(device_host)
    shown = device_host if there is None else str(there)
    family = socket.AF_INET6 if ":" in shown else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as way:
        way.connect((shown, DISCARD_PORT))
        return str(way.getsockname()[0])


def _url(means: Means, host: str, port: int, token: str) -> str:
    shown = f"[{host.partition('%')[0]}]" if ":" in host else host
    return f"{means}://{shown}:{port}/f/{token}"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address; None for a name. On a door for both, IPv4 comes in the clothes of IPv6."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback
