"""The UDP socket under a CoAP endpoint (spec engine.md, section 2).

A raw non-blocking socket on the standard asyncio loop, read many datagrams a wake-up:
a ``DatagramProtocol`` gets one, which costs half of the speed.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from overair.protocols.coap import Endpoint, Event

Address = tuple[str, int]

DATAGRAMS_PER_WAKE_UP = 64  # more would starve the rest of the loop
# One more than an endpoint takes (a block of 1024 and its headers), so that it sees that a longer one is.
DATAGRAM_BYTES = 1501
SOCKET_BUFFER_BYTES = 4 << 20  # a second's registrations of a fleet that wakes up at once


class UdpFace:
    """Carries datagrams between a socket and an endpoint, and events to *handle*.

    *busy* says whether to leave datagrams in the socket's buffer for now, because what was read
    before is not on the disk yet; whoever says so calls :meth:`resume` when that is over.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        handle: Callable[[Event], None],
        *,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._endpoint = endpoint
        self._handle = handle
        self._busy = busy
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._flush_due = False
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
        self.flush()
        return sock.getsockname()[:2]  # type: ignore[no-any-return]

    def close(self) -> None:
        """Stop listening; what was to be retransmitted is not."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        if self._timer is not None:
            self._timer.cancel()

    def flush(self) -> None:
        """Send what the endpoint has to say at the end of this turn of the loop, all at once."""
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._socket is None:
            return
        outbox = self._endpoint.outbox
        if outbox:
            send = self._socket.sendto
            for datagram, peer in outbox:
                try:
                    send(datagram, cast("Address", peer))
                except OSError:
                    # As good as lost on the way: a full buffer, an unreachable network. CoAP sends again.
                    continue
            outbox.clear()
        self._set_timer()

    def _readable(self) -> None:
        if self._busy():
            self._pause()
            return
        sock, receive, handle = self._socket, self._endpoint.receive, self._handle
        if sock is None:
            return
        now = self._loop.time()
        read = sock.recvfrom
        for _ in range(DATAGRAMS_PER_WAKE_UP):
            try:
                datagram, peer = read(DATAGRAM_BYTES)
            except BlockingIOError:
                break
            except OSError:
                continue  # an ICMP error of something sent before
            event = receive(datagram, peer if self._is_v4 else peer[:2], now)
            if event is not None:
                handle(event)
        self.flush()

    def _pause(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._paused = True

    def resume(self) -> None:
        """Read again, if reading was put off."""
        if self._paused and self._socket is not None:
            self._paused = False
            self._loop.add_reader(self._socket, self._readable)

    def _set_timer(self) -> None:
        due = self._endpoint.next_due()
        if self._timer is not None:
            if due is not None and self._timer.when() <= due:
                return  # it will look again by itself
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = self._loop.call_at(due, self._advance)

    def _advance(self) -> None:
        self._timer = None
        for event in self._endpoint.advance(self._loop.time()):
            self._handle(event)
        self._flush()
