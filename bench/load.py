"""Many LwM2M devices on one socket: a closed loop that keeps a window of requests unanswered.

Every device has an address of its own, because a server keeps duplicates, rates and turns by address; a
fleet behind one address would measure the limiter. The whole of 127.0.0.0/8 is local, and ``IP_PKTINFO``
(ip(7)) lets one socket send each datagram from whichever address of it that it likes. So 100 k devices are
100 k peers, and cost neither descriptors nor memory in the kernel.

A device is known by its token. All datagrams of a phase carry the same message id (each address counts for
itself), so one comparison of four bytes tests version, type, token length, code and id of an answer. What is
not answered in time is sent again, as a device would. What the server asks devices for meanwhile is counted
and never answered: to it, they sleep.
"""

import select
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

Address = tuple[str, int]
Source = list[tuple[int, int, bytes]]

WINDOW = 1024  # requests unanswered at any time: a group commit of hundreds needs as many waiting
RESEND_SECONDS = 2.0  # ACK_TIMEOUT (RFC 7252 section 4.8)
PATIENCE = 30  # resend periods without a single answer
BATCH = 64  # datagrams read before the socket is asked again
TOKEN_BYTES = 4
CON, ACK = 0x40 | TOKEN_BYTES, 0x60 | TOKEN_BYTES
DATAGRAM_BYTES = 1500
BUFFER_BYTES = 4 << 20
IP_PKTINFO = 8  # Linux; the socket module names it from Python 3.12 on
_FIRST_ADDRESS = 127 << 24 | 1 << 16  # 127.1.0.0


class LoadError(Exception):
    """The server refused a device, or has gone silent."""


@dataclass(frozen=True)
class Phase:
    """One pass over all devices: the answers by device, and what it took."""

    answers: list[bytes]
    seconds: float
    cpu_seconds: float
    """Of the generator. Well under ``seconds``: it was the server that was slow."""
    resent: int
    asked: int
    """Requests of the server's own that came meanwhile."""

    @property
    def per_second(self) -> float:
        """Answers a second of wall time."""
        return len(self.answers) / self.seconds

    @property
    def cpu_share(self) -> float:
        """How busy the generator was, 0 to 1."""
        return self.cpu_seconds / self.seconds


class Devices:
    """*count* devices that speak to one server, *window* of them at a time."""

    def __init__(self, server: Address, count: int, window: int = WINDOW) -> None:
        self._server = server
        self._window = window
        self._sources = [_source(index) for index in range(count)]
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._socket.bind(("0.0.0.0", 0))
        self._resent = self._asked = 0

    def __enter__(self) -> "Devices":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def run(self, datagrams: Sequence[bytes], code: int) -> Phase:
        """Send datagram *i* from device *i*; :class:`LoadError` if one is answered with another *code*."""
        self._resent = self._asked = 0
        cpu, started = time.process_time(), time.perf_counter()
        answers = self._converse(datagrams, code)
        seconds = time.perf_counter() - started
        return Phase(answers, seconds, time.process_time() - cpu, self._resent, self._asked)

    def _converse(self, datagrams: Sequence[bytes], code: int) -> list[bytes]:
        # One long loop, since a call for each datagram is a tenth of what the generator can do.
        server, sources, receive, send = self._server, self._sources, self._socket.recv, self._socket.sendmsg
        count = len(datagrams)
        answers = [b""] * count
        expected = bytes((ACK, code)) + datagrams[0][2:4]
        waiting: dict[int, float] = {}
        upcoming = min(self._window, count)
        for index in range(upcoming):
            waiting[index] = time.perf_counter()
            send((datagrams[index],), sources[index], 0, server)
        while waiting:
            now = self._wait(datagrams, waiting)
            for _ in range(BATCH):
                try:
                    answer = receive(DATAGRAM_BYTES)
                except BlockingIOError:
                    break
                if answer[:4] != expected and not self._separate(answer, code):
                    continue
                index = int.from_bytes(answer[4:8], "big")
                if waiting.pop(index, None) is None:
                    continue  # it was sent twice, and answered twice
                answers[index] = answer
                if upcoming < count:
                    waiting[upcoming] = now
                    send((datagrams[upcoming],), sources[upcoming], 0, server)
                    upcoming += 1
        return answers

    def _wait(self, datagrams: Sequence[bytes], waiting: dict[int, float]) -> float:
        """Wait for answers, and send again what has none; returns the time."""
        for _ in range(PATIENCE):
            if select.select([self._socket], [], [], RESEND_SECONDS)[0]:
                break
            self._resend(datagrams, waiting, time.perf_counter())
        else:
            raise LoadError(f"{len(waiting)} devices wait, and nobody is answered any more")
        now = time.perf_counter()
        # The oldest stands first unless it was sent again.
        if now - waiting[next(iter(waiting))] > RESEND_SECONDS:
            self._resend(datagrams, waiting, now)
        return now

    def _resend(self, datagrams: Sequence[bytes], waiting: dict[int, float], now: float) -> None:
        for index in [index for index, sent in waiting.items() if now - sent > RESEND_SECONDS]:
            del waiting[index]
            waiting[index] = now
            self._resent += 1
            self._socket.sendmsg((datagrams[index],), self._sources[index], 0, self._server)

    def _separate(self, datagram: bytes, code: int) -> bool:
        """Whether this is the answer, coming by itself because it took the server over a second."""
        head, said = datagram[0], datagram[1]
        if 0 < said < 32:
            self._asked += 1
            return False
        if said == 0:
            return False  # the acknowledgement that such an answer will come
        if head != CON or said != code:
            raise LoadError(f"answered {datagram[:64]!r}")
        index = int.from_bytes(datagram[4:8], "big")
        acknowledgement = b"\x60\x00" + datagram[2:4]
        self._socket.sendmsg((acknowledgement,), self._sources[index], 0, self._server)
        return True


def _source(index: int) -> Source:
    """Return the ancillary data that makes a datagram come from the address of device *index*."""
    address = (_FIRST_ADDRESS + index).to_bytes(4, "big")
    return [(socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4s", 0, address, bytes(4)))]
