"""Strangers, broken datagrams, floods, and a database that is behind.

Spec lwm2m.md, sections 12.1, 12.2 and 12.3; engine.md, section 2.
"""

import asyncio
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from overair.devices.service import DeviceService
from overair.doors.lwm2m import admission
from overair.doors.lwm2m.gateway import Gateway
from overair.platform.limits import Limits
from overair.protocols import coap
from overair.protocols.coap import Message, codes, encode_uint

from ..virtual import LoopClock, virtual
from .lwm2m_device import (
    IMEI,
    OBJECTS,
    OTHER_IMEI,
    Door,
    devices,
    door_and_device,
    imeis,
    open_door,
)


@contextmanager
def stranger(door: Door) -> Iterator[socket.socket]:
    """Return a socket that talks to the door."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(door.address)
        yield sock


async def reply(sock: socket.socket) -> bytes | None:
    """Return what comes back within a moment."""
    try:
        async with asyncio.timeout(0.5):
            return await asyncio.get_running_loop().sock_recv(sock, 2048)
    except TimeoutError:
        return None


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        ("", None),
        ("40", None),
        ("400212", None),
        ("0002123401", None),  # version 0
        ("8002123401", None),  # version 2
        ("49021234" + "00" * 9, "70001234"),  # a token of nine bytes
        ("4f021234", "70001234"),
        ("48021234aabb", "70001234"),  # half of a token
        ("40021234b5", "70001234"),  # an option of five bytes that are not there
        ("40021234be", "70001234"),
        ("40021234bdff", "70001234"),
        ("40021234beffff00", "70001234"),
        ("40021234f0", "70001234"),  # a reserved delta
        ("400212340f", "70001234"),
        ("40021234ff", "70001234"),  # a payload marker without a payload
        ("40001234aa", "70001234"),  # an empty message that is not empty
        ("50021234ff", None),  # nothing is owed to a Non-confirmable one
        ("40001234", "70001234"),  # ping
        ("60001234", None),
        ("70001234", None),
        ("40e11234", None),  # class 7
        ("40211234", None),  # class 1
        ("40c11234", None),  # class 6
        ("60451234", None),  # an answer to nothing
        ("40451234", "70001234"),
        ("41021234a1b27264910d", "61821234a1ff6f7074696f6e203230"[:14]),  # unknown critical option 20+
    ],
)
def test_broken_datagrams(datagram: str, expected: str | None) -> None:
    @virtual
    async def broken() -> None:
        async with open_door() as door:
            with stranger(door) as sock:
                sock.send(bytes.fromhex(datagram))
                got = await reply(sock)
            if expected is None:
                assert got is None
            elif len(expected) == 8:
                assert got == bytes.fromhex(expected)

    broken()


@virtual
async def test_an_unknown_critical_option_is_refused_and_an_elective_one_ignored() -> None:
    async with door_and_device() as (door, device):
        message = device.register_message()
        for number, code in ((2049, codes.BAD_OPTION), (9, codes.BAD_OPTION), (2048, codes.CREATED)):
            device._count += 1
            options = tuple(sorted([*message.options, (number, b"x")], key=lambda pair: pair[0]))
            changed = Message(codes.CON, codes.POST, device._count, b"%d" % number, options, message.payload)
            assert (await device.ask(changed)).code == code
        assert len(door.gateway.registry) == 1


@pytest.mark.parametrize("size", [1501, 1600, 9000, 60_000])
def test_long_datagrams_are_not_read_in_part(size: int) -> None:
    """A Register that was cut would bring a cut object list, and its sender would never know."""

    @virtual
    async def dropped() -> None:
        async with door_and_device() as (door, device):
            links = OBJECTS
            while len(links) < size:
                links += b",</3303/%d>" % (len(links) % 60_000)
            device.send(device.register_message(objects=links))
            await asyncio.sleep(5)
            assert device.datagrams == []
            assert len(door.gateway.registry) == 0
            assert door.endpoint.counters.oversized == 1
            assert (await device.register()).code == codes.CREATED

    dropped()


@virtual
async def test_a_datagram_of_the_longest_length_is_read() -> None:
    async with door_and_device() as (_, device):
        bare = device.register_message(objects=b"x")
        links = OBJECTS + b",</3/0>" * 300
        message = device.register_message(objects=links[: 1500 - len(coap.encode(bare)) + 1])
        assert len(coap.encode(message)) == 1500
        assert (await device.ask(message)).code == codes.CREATED


def _random_datagrams(count: int, honest: list[bytes]) -> Iterator[bytes]:
    """Yield noise, and honest messages with a few bytes changed, cut, or doubled."""
    chance = random.Random(20260301)
    for number in range(count):
        if number % 3 == 0:
            yield chance.randbytes(chance.randrange(80))
            continue
        raw = bytearray(chance.choice(honest))
        raw[2:4] = chance.randbytes(2)
        for _ in range(chance.randrange(1, 6)):
            raw[chance.randrange(len(raw))] = chance.getrandbits(8)
        start = chance.randrange(len(raw)) if chance.random() < 0.3 else len(raw)
        yield bytes(raw[:start] + (raw[start:] * 2 if chance.random() < 0.1 else b""))


@virtual
async def test_thousands_of_broken_datagrams_and_a_device_among_them() -> None:
    """Nothing raises (the loop would tell), nothing is kept, and honest devices go on."""
    async with door_and_device() as (door, device):
        await device.register()
        await asyncio.sleep(5)
        location = device.location
        honest = [
            coap.encode(device.register_message()),
            coap.encode(device.register_message(queries=["b=UQ", "Q", "sms=5551234567", "x=y"])),
            coap.encode(device.message(codes.POST, ["rd", location], ["lt=60"], OBJECTS, 40)),
            coap.encode(device.message(codes.POST, ["dp"], (), b'[{"n":"/3/0/3","vs":"1.4.2"}]', 110)),
            coap.encode(device.message(codes.GET, ["rd"], options=[(codes.BLOCK2, b"\x06")])),
            coap.encode(
                device.message(codes.POST, ["rd"], [f"ep={IMEI}"], b"x" * 64, 40, [(codes.BLOCK1, b"\x0a")])
            ),
            coap.encode(Message(codes.CON, codes.CONTENT, 1, b"abcd", ((codes.OBSERVE, b"\x05"),), b"1")),
        ]
        with stranger(door) as sock:
            for number, datagram in enumerate(_random_datagrams(6000, honest)):
                sock.send(datagram)
                if number % 20 == 19:
                    await asyncio.sleep(1.1)  # within the rate of one peer, or most would be dropped unread
            await asyncio.sleep(300)
        assert door.endpoint.counters.received >= 6000
        assert door.endpoint.counters.limited < 600
        assert (await device.register()).code == codes.CREATED
        await asyncio.sleep(5)
        assert (await device.update()).code == codes.CHANGED
        assert len(door.gateway.registry) == 1


@virtual
async def test_a_flood_from_one_peer_leaves_the_others_alone() -> None:
    async with door_and_device() as (door, device):
        with stranger(door) as sock:
            for number in range(500):
                sock.send(coap.encode(Message(codes.CON, codes.GET, number, b"", ((11, b"rd"),))))
            assert (await device.register()).code == codes.CREATED
        assert door.endpoint.counters.limited > 400


# One Register a second and host, where it is not loopback.


class Far:
    """A gateway without a socket, so that peers can be anywhere."""

    def __init__(self, door: Door) -> None:
        self._loop = asyncio.get_running_loop()
        self.endpoint = coap.Endpoint(random=random.Random(2))
        service = DeviceService(door.store, LoopClock(), Limits())
        self.gateway = Gateway(self.endpoint, service, LoopClock(), Limits(), lambda: None)
        self._count = 0

    def register(self, host: str, port: int) -> Message:
        """Register from an address; returns the answer."""
        self._count += 1
        options = ((11, b"rd"), (15, f"ep=urn:imei:{IMEI}".encode()), (15, b"lwm2m=1.1"))
        datagram = coap.encode(Message(codes.CON, codes.POST, self._count, b"t", options, b"</3/0>"))
        event = self.endpoint.receive(datagram, (host, port), self._loop.time())
        assert event is not None
        self.gateway.handle(event)
        (raw, peer), *_ = self.endpoint.outbox[-1:]
        assert peer == (host, port)
        return coap.decode(raw)


@virtual
async def test_registers_of_one_host_are_slowed_down() -> None:
    async with open_door() as door:
        await door.add()
        far = Far(door)
        assert far.register("192.0.2.1", 1).code == codes.CREATED
        refused = far.register("192.0.2.1", 2)
        assert refused.code == codes.SERVICE_UNAVAILABLE
        assert refused.option(codes.MAX_AGE) == encode_uint(1)
        assert far.register("192.0.2.2", 2).code == codes.CREATED
        assert far.register("2001:db8::1", 2).code == codes.CREATED
        await asyncio.sleep(0.9)
        assert far.register("192.0.2.1", 3).code == codes.SERVICE_UNAVAILABLE
        await asyncio.sleep(0.2)  # a refused one does not make the wait longer
        assert far.register("192.0.2.1", 4).code == codes.CREATED
        await far.gateway.close()


@virtual
async def test_registers_of_loopback_are_not() -> None:
    async with open_door() as door:
        await door.add()
        far = Far(door)
        for host in ("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"):
            for port in range(5):
                assert far.register(host, port).code == codes.CREATED
        await far.gateway.close()


def test_hosts_are_remembered_for_a_second_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "HOSTS_MAX", 100)
    rate = admission.RegisterRate()
    for number in range(1000):
        assert rate.wait_seconds(f"10.0.{number // 256}.{number % 256}", 5.0) == 0.0
    assert len(rate) == 100
    assert rate.wait_seconds("10.0.3.231", 5.5) == 0.5
    assert rate.wait_seconds("192.0.2.1", 6.0) == 0.0
    assert len(rate) == 1


@virtual
async def test_no_more_registrations_than_there_is_room_for() -> None:
    async with open_door(limits=Limits(registrations=1)) as door:
        for imei in (IMEI, OTHER_IMEI):
            await door.add(imei)
        with devices(door, 2) as (one, other):
            assert (await one.register()).code == codes.CREATED
            refused = await other.register()
            assert refused.code == codes.SERVICE_UNAVAILABLE
            assert refused.uint_option(codes.MAX_AGE) == 60
            assert (await one.register()).code == codes.CREATED
            await one.deregister()
            assert (await other.register()).code == codes.CREATED


# The face.


@virtual
async def test_a_write_backlog_leaves_datagrams_in_the_socket() -> None:
    behind = True
    async with open_door(busy=lambda: behind) as door:
        for imei in imeis(100):
            await door.add(imei)
        with devices(door, 100) as fleet:
            for device in fleet:
                device.send(device.register_message())
            await asyncio.sleep(1)
            assert door.endpoint.counters.received == 0
            behind = False
            door.face.resume()
            await asyncio.sleep(10)
            assert len(door.gateway.registry) == 100
            assert all(device.datagrams for device in fleet)
            received = door.endpoint.counters.received
            for _ in range(3):  # once is not the last time
                behind = True
                message = fleet[0].register_message()
                fleet[0].send(message)
                await asyncio.sleep(1)
                assert door.endpoint.counters.received == received
                behind = False
                door.face.resume()
                door.face.resume()
                assert (await fleet[0].answer_to(message)).code == codes.CREATED
                await asyncio.sleep(5)
                received = door.endpoint.counters.received


@virtual
async def test_a_door_that_closes_while_it_waits_for_the_database() -> None:
    async with open_door(busy=lambda: True) as door:
        with stranger(door) as sock:
            sock.send(b"\x40\x00\x12\x34")
            await asyncio.sleep(0.5)
        door.face.close()
        door.face.resume()
        await asyncio.sleep(0.5)


@virtual
async def test_a_closed_door_does_nothing_more() -> None:
    async with door_and_device(ignores=True) as (door, device):
        await device.register()
        await asyncio.sleep(1)
        assert device.asked
        device.asked.clear()
        door.face.close()
        door.face.flush()
        await asyncio.sleep(500)
        assert device.asked == []
