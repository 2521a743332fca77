"""Many devices behind DTLS on one socket: a closed loop that keeps a window of exchanges unfinished.

As in :mod:`bench.load` every device has an address of its own in 127.0.0.0/8; here each also has a client
engine (TLS_PSK_WITH_AES_128_CCM_8, no resumption). An exchange is one request and its answer; a device
without a session shakes hands first. What is not answered in time is sent again.
"""

import os
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence

from bench import fleet
from bench.load import (
    BATCH,
    BUFFER_BYTES,
    DATAGRAM_BYTES,
    IP_PKTINFO,
    TOKEN_BYTES,
    Address,
    LoadError,
    Phase,
    _source,
)
from overair.protocols.dtls import Client, Data, DtlsParameters, Established, suites

KEY = b"0123456789abcdef"
PARAMETERS = DtlsParameters(suites=(suites.PSK_AES_128_CCM_8,), connection_id_bytes=0)
RESEND_SECONDS = 2.0
# Resend periods without a single answer: libcoap leaves a client whose handshake was cut short locked out for
# half a minute.
PATIENCE = 30
_HEADER_BYTES = socket.CMSG_SPACE(12)
_CON, _TYPE = 0x00, 0x30
_FIRST_ADDRESS = 127 << 24 | 1 << 16


class SecureDevices:
    """*count* devices that speak to one server, *window* of them at a time; *identity* names device *i*."""

    def __init__(self, server: Address, count: int, window: int, identity: Callable[[int], bytes]) -> None:
        self._server, self.window, self._identity = server, window, identity
        self._sources = [_source(index) for index in range(count)]
        self._clients: list[Client | None] = [None] * count
        self._requests: Sequence[bytes] = ()
        self._waiting: dict[int, float] = {}
        self._answers: dict[int, bytes] = {}
        self._closing = False
        self._resent = self._asked = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self._socket.bind(("0.0.0.0", 0))

    def __enter__(self) -> "SecureDevices":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def run(self, requests: Sequence[bytes], *, closing: bool = False) -> Phase:
        """Have device *i* send request *i*, with a handshake before it where there is no session.

        With *closing* each says close_notify afterwards. :class:`LoadError` if nobody is answered.
        """
        self._requests, self._closing, self._answers, self._waiting = requests, closing, {}, {}
        self._resent = self._asked = 0
        cpu, started = time.process_time(), time.perf_counter()
        upcoming = iter(range(len(requests)))
        self._begin(upcoming, started)
        while self._waiting:
            now = self._wait()
            self._drain(now)
            self._begin(upcoming, now)
        seconds = time.perf_counter() - started
        answers = [self._answers[index] for index in range(len(requests))]
        return Phase(answers, seconds, time.process_time() - cpu, self._resent, self._asked)

    def flood(self, hellos: Sequence[bytes]) -> int:
        """Send datagrams of strangers, each from an address of its own; return how many were answered."""
        answered = 0
        for start in range(0, len(hellos), BATCH):
            for index in range(start, min(start + BATCH, len(hellos))):
                self._send(hellos[index], index)
            while select.select([self._socket], [], [], 0.02)[0]:
                answered += self._read_away()
                if answered >= start + BATCH:
                    break
        return answered

    def _begin(self, upcoming: Iterator[int], now: float) -> None:
        while len(self._waiting) < self.window:
            index = next(upcoming, None)
            if index is None:
                return
            self._waiting[index] = now
            self._ask(index, now)

    def _ask(self, index: int, now: float) -> None:
        client = self._clients[index]
        if client is not None and client.association is not None and client.association.established:
            client.send(self._requests[index])
        else:
            self._clients[index] = client = Client(
                identity=self._identity(index), key=KEY, random=os.urandom, parameters=PARAMETERS
            )
            client.start(now)
        self._flush(client, index)

    def _wait(self) -> float:
        for _ in range(PATIENCE):
            if select.select([self._socket], [], [], RESEND_SECONDS)[0]:
                break
            self._resend(time.perf_counter())
        else:
            raise LoadError(f"{len(self._waiting)} devices wait, and nobody is answered any more")
        now = time.perf_counter()
        if self._waiting and now - self._waiting[next(iter(self._waiting))] > RESEND_SECONDS:
            self._resend(now)
        return now

    def _resend(self, now: float) -> None:
        for index in [index for index, sent in self._waiting.items() if now - sent > RESEND_SECONDS]:
            del self._waiting[index]
            self._waiting[index] = now
            self._resent += 1
            self._ask(index, now)  # a handshake begins anew

    def _drain(self, now: float) -> None:
        for _ in range(BATCH):
            try:
                datagram, ancillary, _, _ = self._socket.recvmsg(DATAGRAM_BYTES, _HEADER_BYTES)
            except BlockingIOError:
                return
            index = int.from_bytes(ancillary[0][2][8:12], "big") - _FIRST_ADDRESS
            client = self._clients[index]
            if client is None:
                continue  # what comes after the goodbye
            for event in client.receive(datagram, now):
                if isinstance(event, Established):
                    client.send(self._requests[index])
                elif isinstance(event, Data):
                    self._take(client, index, event.data)
            self._flush(client, index)

    def _take(self, client: Client, index: int, data: bytes) -> None:
        """Take an answer, piggybacked or by itself; the server's own requests are counted and left alone."""
        if 0 < data[1] < 32:
            self._asked += 1
            return
        if data[1] == 0:
            return
        if data[0] & _TYPE == _CON:
            client.send(b"\x60\x00" + data[2:4])
        if data[4 : 4 + TOKEN_BYTES] != self._requests[index][4 : 4 + TOKEN_BYTES]:
            return
        if self._waiting.pop(index, None) is None:
            return
        self._answers[index] = data
        if self._closing:
            client.close()
            self._flush(client, index)
            self._clients[index] = None

    def _flush(self, client: Client, index: int) -> None:
        for datagram in client.outbox:
            self._send(datagram, index)
        client.outbox.clear()

    def _send(self, datagram: bytes, index: int) -> None:
        self._socket.sendmsg((datagram,), self._sources[index], 0, self._server)

    def _read_away(self) -> int:
        for count in range(BATCH):
            try:
                self._socket.recv(DATAGRAM_BYTES)
            except BlockingIOError:
                return count
        return BATCH


def answered_with(phase: Phase, code: int) -> None:
    """:class:`LoadError` unless every answer has this *code*."""
    for answer in phase.answers:
        if answer[1] != code:
            raise LoadError(f"answered {codes_text(answer[1])}, not {codes_text(code)}")


def codes_text(code: int) -> str:
    """Return a code as ``2.05``."""
    return f"{code >> 5}.{code & 31:02}"


def hello(index: int) -> bytes:
    """Return the first ClientHello of device *index*: no cookie in it."""
    client = Client(identity=identity(index), key=KEY, random=os.urandom, parameters=PARAMETERS)
    client.start(0.0)
    return client.outbox[0]


def identity(index: int) -> bytes:
    """Return the PSK identity of device *index*."""
    return f"urn:imei:{fleet.imei(index)}".encode()
