"""A door with a memory store behind it, and a device that does exactly what a test says.

The device is one real UDP socket. What the server asks is answered from :attr:`Device.values`, in the formats
of :attr:`Device.formats`; :attr:`Device.refusals` has the paths that are refused.
"""

import asyncio
import contextlib
import json
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from overair.devices.memory import MemoryDeviceStore
from overair.devices.model import Provisioning, Registration
from overair.devices.service import DeviceService
from overair.devices.store import DeviceStore
from overair.doors.lwm2m.face import UdpFace
from overair.doors.lwm2m.gateway import Gateway
from overair.platform.clock import Clock
from overair.platform.limits import Limits
from overair.protocols import coap, lwm2m
from overair.protocols.coap import Message, codes, encode_uint

from ..virtual import LoopClock

IMEI = "490154203237518"
OTHER_IMEI = "867723030209919"
ACCOUNT_ID = 1
OBJECTS = b'</>;rt="oma.lwm2m";ct="60 110 112 11542 11543",</1>;ver=1.1,</1/0>,</3/0>,</4/0>,</5/0>'
TEXT, SENML_JSON, SENML_CBOR, TLV, LWM2M_JSON = 0, 110, 112, 11542, 11543
DEADLINE_SECONDS = 120.0

VALUES: dict[lwm2m.Path, lwm2m.Value] = {
    (1, 0, 0): 1,
    (1, 0, 1): 86400,
    (3, 0, 0): "ACME",
    (3, 0, 1): "T1000",
    (3, 0, 3): "1.4.2",
    (3, 0, 19): "7.1",
    (5, 0, 3): 0,
    (5, 0, 5): 0,
    (5, 0, 9): 2,
}


@dataclass
class Door:
    """The gateway on a socket of its own, with all that stands behind it."""

    store: DeviceStore
    service: DeviceService
    endpoint: coap.Endpoint
    gateway: Gateway
    face: UdpFace
    address: tuple[str, int]

    async def add(self, imei: str = IMEI, **said: Any) -> None:
        await self.service.add(ACCOUNT_ID, [Provisioning(int(imei), **said)])

    async def record(self, imei: str = IMEI) -> dict[str, Any]:
        """Return the V3Device that the owner sees."""
        return json.loads(await self.service.show(ACCOUNT_ID, imei))


@contextlib.asynccontextmanager
async def open_door(
    store: DeviceStore | None = None,
    *,
    clock: Clock | None = None,
    limits: Limits | None = None,
    enrol: int | None = None,
    port: int = 0,
    busy: Callable[[], bool] = lambda: False,
) -> AsyncIterator[Door]:
    """Open a door; on a memory store unless told otherwise."""
    store = store or MemoryDeviceStore()
    clock, limits = clock or LoopClock(), limits or Limits()
    service = DeviceService(store, clock, limits, enrol_account_id=enrol)
    endpoint = coap.Endpoint(random=random.Random(1))
    gateway: Gateway

    def handle(event: coap.Event) -> None:
        gateway.handle(event)

    face = UdpFace(endpoint, handle, busy=busy)
    gateway = Gateway(endpoint, service, clock, limits, face.flush)
    await gateway.start()
    address = face.open("127.0.0.1", port)
    try:
        yield Door(store, service, endpoint, gateway, face, address)
    finally:
        face.close()
        await gateway.close()


@dataclass
class Device:
    """One client. ``asked`` is what the server wanted, with the loop's time, heard or not.

    ``asleep``: it hears nothing. ``ignores``: it hears answers, but takes no requests. A refusal with code 0
    is a Reset. ``raw`` has what it says in place of a value: (content format, payload).
    """

    server: tuple[str, int]
    imei: str = IMEI
    values: dict[lwm2m.Path, lwm2m.Value] = field(default_factory=lambda: dict(VALUES))
    refusals: dict[lwm2m.Path, int] = field(default_factory=dict)
    raw: dict[lwm2m.Path, tuple[int | None, bytes]] = field(default_factory=dict)
    formats: tuple[int, ...] = (TEXT, SENML_CBOR, SENML_JSON, TLV)
    root: tuple[str, ...] = ()
    block_bytes: int = 1024
    observes: bool = True
    asleep: bool = False
    ignores: bool = False
    separately: bool = False
    delay_seconds: float = 0.0
    asked: list[tuple[float, Message]] = field(default_factory=list)
    datagrams: list[bytes] = field(default_factory=list)
    tokens: dict[lwm2m.Path, bytes] = field(default_factory=dict)
    written: dict[lwm2m.Path, lwm2m.Value] = field(default_factory=dict)
    location: str = ""

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._count = random.Random(self.imei).getrandbits(12)
        self._sequence = 1
        self.unmuted = asyncio.Event()
        """Set by the last request of an inventory."""
        self._bind()

    def _bind(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(("127.0.0.1", 0))
        self._loop.add_reader(self._socket, self._readable)

    @property
    def address(self) -> tuple[str, int]:
        return self._socket.getsockname()

    @property
    def paths(self) -> list[str]:
        """What the server asked for, as text, in order; a repetition once."""
        seen: dict[int, str] = {}
        for _, message in self.asked:
            seen.setdefault(message.message_id, "/" + "/".join(message.uri_path))
        return list(seen.values())

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def rebind(self) -> None:
        """Go on from another port, as behind a NAT that forgot."""
        self.close()
        self._bind()

    # Sending.

    def send(self, message: Message | bytes) -> None:
        datagram = message if isinstance(message, bytes) else coap.encode(message)
        self._socket.sendto(datagram, self.server)

    def message(
        self,
        code: int,
        path: Iterable[str],
        queries: Iterable[str] = (),
        payload: bytes = b"",
        content_format: int | None = None,
        options: Iterable[coap.OptionPair] = (),
        kind: int = codes.CON,
    ) -> Message:
        """Make a request with an id and a token of its own."""
        self._count += 1
        pairs = [(codes.URI_PATH, segment.encode()) for segment in path]
        pairs += [(codes.URI_QUERY, query.encode()) for query in queries]
        if content_format is not None:
            pairs.append((codes.CONTENT_FORMAT, encode_uint(content_format)))
        token = self._count.to_bytes(3, "big")
        ordered = sorted([*pairs, *options], key=lambda pair: pair[0])
        return Message(kind, code, self._count, token, tuple(ordered), payload)

    async def ask(self, message: Message, *, within: float = DEADLINE_SECONDS) -> Message:
        """Send a request and return its answer, which may come separately."""
        self.send(message)
        return await self.answer_to(message, within=within)

    async def answer_to(self, message: Message, *, within: float = DEADLINE_SECONDS) -> Message:
        async with asyncio.timeout(within):
            while True:
                got = await self._inbox.get()
                if got.type == codes.RST and got.message_id == message.message_id:
                    return got
                if got.code != codes.EMPTY and got.token == message.token:
                    if got.type == codes.CON:
                        self.send(Message(codes.ACK, codes.EMPTY, got.message_id))
                    return got

    async def next(self, *, within: float = DEADLINE_SECONDS) -> Message:
        """Return the next message that is no request."""
        async with asyncio.timeout(within):
            return await self._inbox.get()

    async def register(
        self,
        *,
        endpoint: str | None = None,
        version: str | None = "1.1",
        lifetime: int | str | None = 86400,
        queries: Iterable[str] = (),
        objects: bytes = OBJECTS,
        content_format: int | None = 40,
    ) -> Message:
        """Register; a success sets :attr:`location`."""
        answer = await self.ask(
            self.register_message(
                endpoint=endpoint, version=version, lifetime=lifetime, queries=queries, objects=objects,
                content_format=content_format,
            )
        )  # fmt: skip
        if answer.code == codes.CREATED:
            self.location = answer.location_path[1]
        return answer

    def register_message(
        self,
        *,
        endpoint: str | None = None,
        version: str | None = "1.1",
        lifetime: int | str | None = 86400,
        queries: Iterable[str] = (),
        objects: bytes = OBJECTS,
        content_format: int | None = 40,
    ) -> Message:
        named = {"ep": endpoint or f"urn:imei:{self.imei}", "lwm2m": version, "lt": lifetime}
        given = [f"{name}={value}" for name, value in named.items() if value is not None]
        return self.message(codes.POST, ["rd"], [*given, *queries], objects, content_format)

    async def update(self, *queries: str, payload: bytes = b"") -> Message:
        content_format = 40 if payload else None
        return await self.ask(
            self.message(codes.POST, ["rd", self.location], queries, payload, content_format)
        )

    async def deregister(self) -> Message:
        return await self.ask(self.message(codes.DELETE, ["rd", self.location]))

    def notify(
        self,
        token: bytes,
        payload: bytes,
        content_format: int | None = TEXT,
        *,
        kind: int = codes.CON,
        code: int = codes.CONTENT,
        number: int | None = None,
    ) -> Message:
        """Send a notification; without a *number* the next one."""
        self._count += 1
        self._sequence += 1
        given = (codes.OBSERVE, encode_uint(self._sequence if number is None else number))
        options = (given,) if code == codes.CONTENT else ()
        if content_format is not None:
            options += ((codes.CONTENT_FORMAT, encode_uint(content_format)),)
        message = Message(kind, code, self._count, token, options, payload)
        self.send(message)
        return message

    # Receiving.

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._take(self._socket.recv(2048))

    def _take(self, datagram: bytes) -> None:
        message = coap.decode(datagram)
        if 0 < message.code < 32:
            self.asked.append((self._loop.time(), message))
        if self.asleep:
            return
        self.datagrams.append(datagram)
        if not 0 < message.code < 32:
            self._inbox.put_nowait(message)
        elif self.ignores:
            return
        elif self.delay_seconds:
            self._loop.call_later(self.delay_seconds, self._answer, message)
        else:
            self._answer(message)

    def _answer(self, message: Message) -> None:
        code, options, payload = self._result(message)
        number, token = message.message_id, message.token
        if self.asleep or self._socket.fileno() < 0:
            return
        if code == codes.EMPTY:
            self.send(Message(codes.RST, codes.EMPTY, number))
        elif self.separately:
            self._count += 1
            self.send(Message(codes.ACK, codes.EMPTY, number))
            self.send(Message(codes.CON, code, self._count, token, options, payload))
        else:
            self.send(Message(codes.ACK, code, number, token, options, payload))

    def _result(self, message: Message) -> tuple[int, coap.Options, bytes]:
        segments = message.uri_path
        depth = len(self.root)
        if segments[:depth] != self.root:
            return codes.NOT_FOUND, (), b""
        path = tuple(map(int, segments[depth:]))
        if path in self.refusals:
            return self.refusals[path], (), b""
        if message.code == codes.PUT:
            return self._write(message, path)
        if message.code != codes.GET:
            return codes.METHOD_NOT_ALLOWED, (), b""
        return self._read(message, path)

    def _write(self, message: Message, path: lwm2m.Path) -> tuple[int, coap.Options, bytes]:
        if message.content_format not in self.formats:
            return codes.UNSUPPORTED_CONTENT_FORMAT, (), b""
        self.written |= lwm2m.decode(message.content_format, message.payload, path)
        self.unmuted.set()
        return codes.CHANGED, (), b""

    def _read(self, message: Message, path: lwm2m.Path) -> tuple[int, coap.Options, bytes]:
        if path in self.raw:
            given, payload = self.raw[path]
            told = () if given is None else ((codes.CONTENT_FORMAT, encode_uint(given)),)
            return codes.CONTENT, told, payload
        found = {key: value for key, value in self.values.items() if key[: len(path)] == path}
        if not found:
            return codes.NOT_FOUND, (), b""
        wanted = message.accept
        able = [each for each in self.formats if each or len(path) >= 3]
        if not able or (wanted is not None and wanted not in able):
            return codes.NOT_ACCEPTABLE, (), b""
        number = able[0] if wanted is None else wanted
        payload = lwm2m.encode(number, found, path)
        options: coap.Options = ((codes.CONTENT_FORMAT, encode_uint(number)),)
        if message.observe == 0 and self.observes:
            self.tokens[path] = message.token
            options = ((codes.OBSERVE, encode_uint(self._sequence)), *options)
        return self._block(message, options, payload)

    def _block(
        self, message: Message, options: coap.Options, payload: bytes
    ) -> tuple[int, coap.Options, bytes]:
        if len(payload) <= self.block_bytes:
            return codes.CONTENT, options, payload
        number = message.block2.number if message.block2 else 0
        start = number * self.block_bytes
        chunk = payload[start : start + self.block_bytes]
        block = coap.Block(number, start + len(chunk) < len(payload), self.block_bytes.bit_length() - 5)
        return codes.CONTENT, (*options, (codes.BLOCK2, block.encode())), chunk


async def registration_of(door: Door, imei: str = IMEI) -> Registration | None:
    """Return what the store has: what a restart would find."""
    return {each.imei: each for each in await door.store.registrations()}.get(int(imei))


@contextlib.contextmanager
def devices(door: Door, count: int = 1, **behaviour: Any) -> Iterator[list[Device]]:
    """Return devices with sockets of their own; the first two have the well-known IMEIs."""
    made = [Device(door.address, imei, **behaviour) for imei in imeis(count)]
    try:
        yield made
    finally:
        for device in made:
            device.close()


def imeis(count: int) -> list[str]:
    """Return valid IMEIs, always the same."""
    known = [IMEI, OTHER_IMEI]
    stems = [f"9900123400{number:04d}" for number in range(count - len(known))]
    return [*known, *(stem + luhn_digit(stem) for stem in stems)][:count]


def luhn_digit(stem: str) -> str:
    """Return the check digit as spec lwm2m.md, section 2.2 says it."""
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(stem)]
    return str(-sum(value - 9 if value > 9 else value for value in doubled) % 10)


@contextlib.asynccontextmanager
async def door_and_device(**behaviour: Any) -> AsyncIterator[tuple[Door, Device]]:
    """Return a door that knows one device, and that device, not registered yet."""
    async with open_door() as door:
        await door.add()
        with devices(door, **behaviour) as (device,):
            yield door, device
