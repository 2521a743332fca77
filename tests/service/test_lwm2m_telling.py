"""What devices tell unasked: notifications and Sends (spec lwm2m.md, sections 5.3, 5.7, 15 and 16.11)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import cbor2
import pytest

from overair.devices.memory import MemoryDeviceStore
from overair.protocols.coap import Message, codes

from ..virtual import LoopClock, virtual
from .lwm2m_device import (
    IMEI,
    OTHER_IMEI,
    SENML_CBOR,
    SENML_JSON,
    TEXT,
    TLV,
    Device,
    Door,
    devices,
    door_and_device,
    open_door,
)


@asynccontextmanager
async def registered(**behaviour: object) -> AsyncIterator[tuple[Door, Device]]:
    """Return a door and a device whose first inventory is over."""
    async with door_and_device(**behaviour) as (door, device):
        await device.register()
        await asyncio.sleep(5)
        device.asked.clear()
        yield door, device


async def firmware(door: Door) -> str:
    await asyncio.sleep(1)
    return (await door.record())["firmware"]


async def reaction(device: Device, message: Message) -> int:
    """Return the type of the empty message that answers *message*."""
    got = await device.next(within=1)
    assert (got.code, got.message_id) == (codes.EMPTY, message.message_id)
    return got.type


@pytest.mark.parametrize(
    ("content_format", "payload"),
    [
        (TEXT, b"1.5.0"),
        (None, b"1.5.0"),
        (TLV, b"\xc5\x031.5.0"),
        (SENML_JSON, b'[{"bn":"/3/0/3","vs":"1.5.0"}]'),
        (SENML_CBOR, cbor2.dumps([{-2: "/3/0/3", 3: "1.5.0"}])),
    ],
)
def test_a_notification_changes_the_record(content_format: int | None, payload: bytes) -> None:
    @virtual
    async def told() -> None:
        async with registered() as (door, device):
            before = await door.record()
            message = device.notify(device.tokens[3, 0, 3], payload, content_format)
            assert await reaction(device, message) == codes.ACK
            assert await firmware(door) == "1.5.0"
            after = await door.record()
            assert "statusTime" in after
            assert after["refreshTime"] == before["refreshTime"]
            assert device.asked == []

    told()


@virtual
async def test_a_nonconfirmable_notification_gets_no_answer() -> None:
    async with registered() as (door, device):
        device.notify(device.tokens[3, 0, 3], b"1.5.0", kind=codes.NON)
        assert await firmware(door) == "1.5.0"
        assert device.datagrams[-1][0] >> 4 & 3 != codes.RST


@virtual
async def test_an_unknown_token_is_rejected() -> None:
    """Which makes the client forget the observation (RFC 7641, section 3.6)."""
    async with registered() as (door, device):
        for kind in (codes.CON, codes.NON):
            message = device.notify(b"\xba\xd0", b"6.6.6", kind=kind)
            assert await reaction(device, message) == codes.RST
        assert await firmware(door) == "1.4.2"


@virtual
async def test_a_token_counts_only_from_its_own_device() -> None:
    async with open_door() as door:
        for imei in (IMEI, OTHER_IMEI):
            await door.add(imei)
        with devices(door, 2) as (one, other):
            for device in (one, other):
                await device.register()
            await asyncio.sleep(5)
            message = other.notify(one.tokens[3, 0, 3], b"6.6.6")
            assert await reaction(other, message) == codes.RST
            assert await firmware(door) == "1.4.2"


@virtual
async def test_a_stale_notification_is_acknowledged_and_dropped() -> None:
    async with registered() as (door, device):
        token = device.tokens[3, 0, 3]
        device.notify(token, b"1.6.0", number=1000)
        await device.next()
        message = device.notify(token, b"1.5.0", number=999)
        assert await reaction(device, message) == codes.ACK
        assert await firmware(door) == "1.6.0"


@virtual
async def test_a_repeated_notification_counts_once() -> None:
    async with registered() as (door, device):
        message = device.notify(device.tokens[3, 0, 3], b"1.5.0")
        device.send(message)
        assert await reaction(device, message) == codes.ACK
        assert await reaction(device, message) == codes.ACK
        assert await firmware(door) == "1.5.0"


@virtual
async def test_an_error_ends_the_observation() -> None:
    async with registered() as (door, device):
        token = device.tokens[3, 0, 3]
        message = device.notify(token, b"", None, code=codes.NOT_FOUND)
        assert await reaction(device, message) == codes.ACK
        message = device.notify(token, b"1.5.0")
        assert await reaction(device, message) == codes.RST
        assert await firmware(door) == "1.4.2"


@virtual
async def test_an_unreadable_notification_changes_nothing() -> None:
    async with registered() as (door, device):
        token = device.tokens[3, 0, 3]
        for content_format, payload in (
            (SENML_JSON, b'[{"n":'),
            (SENML_JSON, b'[{"n":"/5/0/3","v":2}]'),
            (TLV, b"\xc8"),
            (12345, b"?"),
            (TEXT, b"\xff"),
        ):
            message = device.notify(token, payload, content_format)
            assert await reaction(device, message) == codes.ACK
        assert await firmware(door) == "1.4.2"
        message = device.notify(token, b"1.5.0")
        assert await reaction(device, message) == codes.ACK
        assert await firmware(door) == "1.5.0"


@virtual
async def test_a_device_that_does_not_observe() -> None:
    async with registered(observes=False) as (door, _):
        assert await firmware(door) == "1.4.2"
        assert await door.store.observations() == []


@virtual
async def test_observations_are_kept_until_the_next_register() -> None:
    async with registered() as (door, device):
        old = device.tokens[3, 0, 3]
        (kept,) = await door.store.observations()
        assert (kept.imei, kept.path, kept.token) == (int(IMEI), "/3/0/3", old)
        await device.register()
        await asyncio.sleep(5)
        new = device.tokens[3, 0, 3]
        assert new != old
        (kept,) = await door.store.observations()
        assert kept.token == new
        assert await reaction(device, device.notify(old, b"6.6.6")) == codes.RST
        assert await reaction(device, device.notify(new, b"1.5.0")) == codes.ACK
        assert await firmware(door) == "1.5.0"


@virtual
async def test_observations_of_other_devices_survive_one_that_registers_anew() -> None:
    store = MemoryDeviceStore()
    async with open_door(store) as door:
        port = door.address[1]
        for imei in (IMEI, OTHER_IMEI):
            await door.add(imei)
        with devices(door, 2) as (one, other):
            for device in (one, other):
                await device.register()
            await asyncio.sleep(5)
            door.face.close()
            await door.gateway.close()
            async with open_door(store, port=port) as again:
                before = one.tokens[3, 0, 3]
                await one.register()
                await asyncio.sleep(5)
                assert await reaction(one, one.notify(before, b"6.6.6")) == codes.RST
                assert await reaction(other, other.notify(other.tokens[3, 0, 3], b"1.5.0")) == codes.ACK
                await asyncio.sleep(1)
                assert (await again.record(OTHER_IMEI))["firmware"] == "1.5.0"


# Send.


async def send(device: Device, payload: bytes, content_format: int | None = SENML_JSON) -> int:
    message = device.message(codes.POST, ["dp"], (), payload, content_format)
    return (await device.ask(message)).code


@virtual
async def test_the_send_of_the_specification() -> None:
    async with registered() as (door, device):
        device.send(
            bytes.fromhex(
                "41021005a5b26470116eff5b7b22626e223a222f222c226e223a22352f302f33222c2276223a307d2c7b226e223a2235"
                "2f302f35222c2276223a317d2c7b226e223a22332f302f33222c227673223a22312e342e32227d5d"
            )
        )
        await device.next()
        assert device.datagrams[-1] == bytes.fromhex("61441005a5")
        assert await firmware(door) == "1.4.2"


@pytest.mark.parametrize(
    ("content_format", "payload"),
    [
        (SENML_JSON, b'[{"n":"/3/0/3","vs":"1.5.0"}]'),
        (SENML_JSON, b'[{"bn":"/3/0/","n":"3","vs":"1.5.0"},{"n":"9","v":80}]'),
        (SENML_CBOR, cbor2.dumps([{-2: "/3/0/", 0: "3", 3: "1.5.0"}])),
        (
            SENML_JSON,
            b'[{"bn":"/3/0/3","bt":1700000000,"vs":"1.5.0"},{"vs":"1.4.9","t":-60},{"vs":"1.4.8","t":-90}]',
        ),
    ],
)
def test_sends_change_the_record(content_format: int, payload: bytes) -> None:
    @virtual
    async def told() -> None:
        async with registered() as (door, device):
            assert await send(device, payload, content_format) == codes.CHANGED
            assert (await door.record())["firmware"] == "1.5.0"  # stored before it was answered

    told()


@pytest.mark.parametrize(
    ("content_format", "payload", "code"),
    [
        (SENML_JSON, b'[{"n":"/3303/0/5700","v":1}]', codes.NOT_FOUND),
        (SENML_JSON, b'[{"n":"/3/1/3","vs":"6.6.6"}]', codes.NOT_FOUND),
        (SENML_JSON, b'[{"n":"/3/0/3","vs":"6.6.6"},{"n":"/9/0/0","vs":"x"}]', codes.NOT_FOUND),
        (SENML_JSON, b'[{"n":"/3/0/3"', codes.BAD_REQUEST),
        (SENML_JSON, b'[{"n":"/3/0/3","v":{}}]', codes.BAD_REQUEST),
        (SENML_JSON, b'[{"n":"firmware","vs":"6.6.6"}]', codes.BAD_REQUEST),
        (SENML_JSON, b"\xff" * 40, codes.BAD_REQUEST),
        (SENML_CBOR, b"\x81\xa1", codes.BAD_REQUEST),
        (SENML_CBOR, b"\x9f" * 600, codes.BAD_REQUEST),
        (TEXT, b"6.6.6", codes.BAD_REQUEST),
        (12345, b"?", codes.BAD_REQUEST),
    ],
)
def test_sends_that_are_refused(content_format: int, payload: bytes, code: int) -> None:
    @virtual
    async def refused() -> None:
        async with registered() as (door, device):
            assert await send(device, payload, content_format) == code
            assert await firmware(door) == "1.4.2"

    refused()


@pytest.mark.parametrize("objects", [b"", b"</3>", b"</1/0>,</3>"])
def test_a_send_of_what_was_not_listed_one_by_one(objects: bytes) -> None:
    """An empty list, or an object without its instances, says nothing of what there is (section 3.2)."""

    @virtual
    async def told() -> None:
        async with door_and_device() as (door, device):
            assert (await device.register(objects=objects)).code == codes.CREATED
            await asyncio.sleep(5)
            assert await send(device, b'[{"n":"/3/0/3","vs":"1.5.0"}]') == codes.CHANGED
            assert (await door.record())["firmware"] == "1.5.0"

    told()


@virtual
async def test_a_send_of_a_stranger() -> None:
    async with open_door() as door:
        await door.add()
        with devices(door) as (device,):
            assert await send(device, b'[{"n":"/3/0/3","vs":"6.6.6"}]') == codes.NOT_FOUND


@virtual
async def test_whatever_a_device_tells_is_its_last_uplink() -> None:
    store = MemoryDeviceStore()
    async with open_door(store) as door:
        await door.add()
        with devices(door) as (device,):
            await device.register()
            await asyncio.sleep(5)
            for kind in ("notify", "send"):
                await asyncio.sleep(5000)
                told_ms = LoopClock().now_ms()
                if kind == "notify":
                    device.notify(device.tokens[3, 0, 3], b"1.4.2")
                else:
                    assert await send(device, b'[{"n":"/3/0/9","v":50}]') == codes.CHANGED
                await asyncio.sleep(61)
                assert store._uplinks[int(IMEI)] == told_ms
