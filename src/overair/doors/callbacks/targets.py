"""Which addresses a callback may go to.

A URL is a stranger's wish that we connect somewhere. Without a check, whoever may register one could reach
what only our own network is meant to reach: databases, routers, the metadata of a cloud machine. So only
addresses of the public Internet are called (IANA's registries of special-purpose addresses, RFC 6890), and
what is checked is the very address that is connected to: a name that means another one a moment later
changes nothing.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

RESOLVER_THREADS = 16
"""Of our own: names that nobody answers for must not take the threads of everybody else."""
ADDRESSES_MAX = 4  # of one name; each gets its part of the time for an attempt

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Returns the addresses of a name, the best first; :class:`OSError` if there are none."""

_CLOSED_V4 = {
    IPv4Network("0.0.0.0/8"): "unspecified",
    IPv4Network("10.0.0.0/8"): "private",
    IPv4Network("100.64.0.0/10"): "carrier-grade NAT",
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("169.254.0.0/16"): "link-local",
    IPv4Network("172.16.0.0/12"): "private",
    IPv4Network("192.0.0.0/24"): "reserved for protocols",
    IPv4Network("192.0.2.0/24"): "for documentation",
    IPv4Network("192.88.99.0/24"): "a 6to4 relay",
    IPv4Network("192.168.0.0/16"): "private",
    IPv4Network("198.18.0.0/15"): "for benchmarks",
    IPv4Network("198.51.100.0/24"): "for documentation",
    IPv4Network("203.0.113.0/24"): "for documentation",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("240.0.0.0/4"): "reserved",
}
_CLOSED_V6 = {
    IPv6Network("::/128"): "unspecified",
    IPv6Network("::1/128"): "loopback",
    IPv6Network("::ffff:0:0/96"): "IPv4-mapped",
    IPv6Network("2001::/23"): "reserved for protocols",
    IPv6Network("2001:db8::/32"): "for documentation",
    IPv6Network("2002::/16"): "6to4",
    IPv6Network("3fff::/20"): "for documentation",
    IPv6Network("fc00::/7"): "unique local",
    IPv6Network("fe80::/10"): "link-local",
    IPv6Network("ff00::/8"): "multicast",
}
_OPEN_V6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


class TargetRefused(Exception):
    """An address that callbacks don't go to; the message says why."""


def checked_address(text: str) -> str:
    """Return an address; :class:`TargetRefused` unless it is a unicast address of the public Internet."""
    address = ip_address(text)
    reason = _closed_v4(address) if isinstance(address, IPv4Address) else _closed_v6(address)
    if reason is not None:
        raise TargetRefused(f"{text} is {reason}: callbacks go to public addresses only")
    return text


def _closed_v4(address: IPv4Address) -> str | None:
    return next((reason for network, reason in _CLOSED_V4.items() if address in network), None)


def _closed_v6(address: IPv6Address) -> str | None:
    if address in _NAT64:
        return _closed_v4(IPv4Address(int(address) & 0xFFFF_FFFF))
    if address.scope_id is not None:
        return "link-local"
    reason = next((reason for network, reason in _CLOSED_V6.items() if address in network), None)
    return reason or (None if address in _OPEN_V6 else "not global")


class SystemResolver:
    """The machine's own resolver, on threads of its own. Close it."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="overair-resolver")

    async def __call__(self, host: str, port: int) -> list[str]:
        """Return the addresses of *host*, which may be an address itself."""
        found = await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port)
        return list(dict.fromkeys(found))

    def close(self) -> None:
        """Wait for no look-up that is still under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label that no name has
        raise OSError("no such name") from None
    return [str(entry[4][0]) for entry in found]
