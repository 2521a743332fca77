"""A UDP socket on the event loop (spec engine.md, section 2).

A raw non-blocking socket on the standard asyncio loop, read many datagrams a wake-up:
a ``DatagramProtocol`` gets one, which costs half of the speed.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import cast

Address = tuple[str, int]

DATAGRAMS_PER_WAKE_UP = 64  # more would starve the rest of the loop
# More than an endpoint takes (a block of 1024 with all headers), so that it sees what is longer.
DATAGRAM_BYTES = 2049
SOCKET_BUFFER_BYTES = 4 << 20  # a second's registrations of a fleet that wakes up at once


class UdpSocket:
    """Hands each datagram to *take* (bytes, address, now), then calls *drained* once a wake-up.

    *busy* says whether to leave datagrams in the socket's buffer for now; whoever says so calls
    :meth:`resume` when that is over.
    """

    def __init__(
        self,
        take: Callable[[bytes, Address, float], None],
        drained: Callable[[], None],
        busy: Callable[[], bool],
    ) -> None:
        self._take = take
        self._drained = drained
        self._busy = busy
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._is_v4 = True
        self._paused = False

    def open(self, host: str, port: int) -> Address:
        """Bind and listen; returns the address bound, with the port that 0 became."""
        # An IPv6 address comes with flow and scope, which are no part of who the peer is.
        self._is_v4 = ":" not in host
        sock = socket.socket(socket.AF_INET if self._is_v4 else socket.AF_INET6, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
            sock.bind((host, port))
        except OSError:
            sock.close()
            raise
        self._socket = sock
        self._loop.add_reader(sock, self._readable)
        return sock.getsockname()[:2]  # type: ignore[no-any-return]

    def close(self) -> None:
        """Stop listening."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def send(self, datagrams: Iterable[tuple[bytes, object]]) -> None:
        """Send to addresses, or lose it as any network may: a full buffer, no way there. CoAP sends again."""
        if self._socket is None:
            return
        sendto = self._socket.sendto
        for datagram, address in datagrams:
            try:
                sendto(datagram, cast("Address", address))
            except OSError:
                continue

    def resume(self) -> None:
        """Read again, if reading was put off."""
        if self._paused and self._socket is not None:
            self._paused = False
            self._loop.add_reader(self._socket, self._readable)

    def _readable(self) -> None:
        sock, take = self._socket, self._take
        if sock is None:
            return
        if self._busy():
            self._loop.remove_reader(sock)
            self._paused = True
            return
        now = self._loop.time()
        read = sock.recvfrom
        try:
            for _ in range(DATAGRAMS_PER_WAKE_UP):
                try:
                    datagram, address = read(DATAGRAM_BYTES)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # an ICMP error of something sent before
                take(datagram, address if self._is_v4 else address[:2], now)
        finally:
            self._drained()
