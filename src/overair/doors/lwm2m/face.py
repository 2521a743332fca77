"""Between sockets and the CoAP endpoint: plain datagrams, and those that DTLS protects.

One endpoint serves both. Its peer is an address where there is no security, and a DTLS association where
there is: then the address may change, and the peer is still the same.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from overair.doors.lwm2m.udp import Address, UdpSocket
from overair.protocols import dtls
from overair.protocols.coap import Endpoint, Event


class UdpFace:
    """Carries datagrams between sockets and an endpoint, and events to *handle*.

    *busy* says whether to leave datagrams in the sockets' buffers for now, because what was read
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
        self._loop = asyncio.get_running_loop()
        self._plain = UdpSocket(self._take_plain, self._flush, busy)
        self._secure = UdpSocket(self._take_secure, self._flush, busy)
        self._dtls: dtls.Server | None = None
        self._on_security: Callable[[dtls.Event], None] = lambda _: None
        self._timer: asyncio.TimerHandle | None = None
        self._flush_due = False
        self._open = False

    def open(self, host: str, port: int) -> Address:
        """Listen for datagrams without security; returns the address bound."""
        return self._opened(self._plain.open(host, port))

    def open_secure(
        self, engine: dtls.Server, on_security: Callable[[dtls.Event], None], host: str, port: int
    ) -> Address:
        """Listen for DTLS; *on_security* gets what becomes of associations. Returns the address bound."""
        self._dtls, self._on_security = engine, on_security
        return self._opened(self._secure.open(host, port))

    def close(self) -> None:
        """Stop listening; what was to be retransmitted is not."""
        self._open = False
        self._plain.close()
        self._secure.close()
        if self._timer is not None:
            self._timer.cancel()

    def resume(self) -> None:
        """Read again, if reading was put off."""
        self._plain.resume()
        self._secure.resume()

    def flush(self) -> None:
        """Send what there is to say, all at once: when a socket was read to its end, or in the next turn."""
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _opened(self, address: Address) -> Address:
        self._open = True
        self.flush()
        return address

    def _take_plain(self, datagram: bytes, address: Address, now: float) -> None:
        self._flush_due = True  # the socket asks for it once it is drained
        event = self._endpoint.receive(datagram, address, now)
        if event is not None:
            self._handle(event)

    def _take_secure(self, datagram: bytes, address: Address, now: float) -> None:
        self._flush_due = True
        engine = cast("dtls.Server", self._dtls)
        for protected in engine.receive(datagram, address, now):
            if isinstance(protected, dtls.Data):
                event = self._endpoint.receive(protected.data, protected.association, now)
                if event is not None:
                    self._handle(event)
            else:
                self._on_security(protected)

    def _flush(self) -> None:
        self._flush_due = False
        if not self._open:
            return
        outbox = self._endpoint.outbox
        if outbox:
            self._plain.send([sent for sent in outbox if type(sent[1]) is tuple])
            for datagram, peer in outbox:
                if type(peer) is not tuple:
                    self._seal(datagram, peer)
            outbox.clear()
        if self._dtls is not None:
            self._secure.send(self._dtls.outbox)
            self._dtls.outbox.clear()
        self._set_timer()

    def _seal(self, datagram: bytes, peer: object) -> None:
        """Protect a datagram; one for an association that ended is lost, as on an unplugged line."""
        if self._dtls is not None and isinstance(peer, dtls.Association):
            try:
                self._dtls.send(peer, datagram)
            except (dtls.AssociationStateError, dtls.DataTooLargeError):
                return

    def _next_due(self) -> float | None:
        ours = self._endpoint.next_due()
        theirs = self._dtls.next_due() if self._dtls is not None else None
        if ours is None or theirs is None:
            return theirs if ours is None else ours
        return min(ours, theirs)

    def _set_timer(self) -> None:
        due = self._next_due()
        if self._timer is not None:
            if due is not None and self._timer.when() <= due:
                return  # it will look again by itself
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = self._loop.call_at(due, self._advance)

    def _advance(self) -> None:
        self._timer = None
        now = self._loop.time()
        if self._dtls is not None:
            for security in self._dtls.advance(now):
                self._on_security(security)
        for event in self._endpoint.advance(now):
            self._handle(event)
        self._flush()
