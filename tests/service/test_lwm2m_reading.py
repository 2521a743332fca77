"""What is read of a device after a Register, in which formats, and what its record says then.

Spec lwm2m.md, sections 3.8, 5.1, 5.2, 6.1, 16 (tests 6 and 13); device-record.md, section 5.
"""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from overair.protocols.coap import codes

from ..virtual import virtual
from .lwm2m_device import (
    IMEI,
    LWM2M_JSON,
    OBJECTS,
    SENML_CBOR,
    SENML_JSON,
    TEXT,
    TLV,
    VALUES,
    Device,
    door_and_device,
)

LWM2M_CBOR = 11544
HOUR = 3600.0


async def read_by_register(device: Device, **registers: Any) -> list[str]:
    """Register, wait, and return what was asked."""
    device.asked.clear()
    assert (await device.register(**registers)).code == codes.CREATED
    await asyncio.sleep(30)
    return device.paths


def accepts(device: Device, path: str) -> list[int | None]:
    return [message.accept for _, message in device.asked if "/" + "/".join(message.uri_path) == path]


@virtual
async def test_the_first_register_reads_everything() -> None:
    async with door_and_device() as (door, device):
        paths = await read_by_register(device)
        assert sorted(set(paths)) == ["/1/0/23", "/3/0", "/3/0/3", "/5/0"]
        assert paths[0] == "/3/0"
        assert device.written == {(1, 0, 23): False}
        record = await door.record()
        assert (record["make"], record["model"], record["firmware"]) == ("ACME", "T1000", "1.4.2")
        assert [(each["name"], each["version"]) for each in record["softwareList"]] == [("software", "7.1")]
        assert record["fotaEligible"] is True
        assert record["protocol"] == "LWM2M"
        assert "refreshTime" in record
        assert "statusTime" not in record


@virtual
async def test_the_answer_comes_first_then_one_request_at_a_time() -> None:
    """Spec lwm2m.md, section 4.1: 50 to 200 ms after the 2.01; NSTART 1."""
    async with door_and_device(delay_seconds=1.0) as (_, device):
        await device.register()
        answered = asyncio.get_running_loop().time()
        assert device.asked == []
        await asyncio.sleep(30)
        times = [when for when, _ in device.asked]
        assert 0.05 <= times[0] - answered <= 0.2
        assert len(times) >= 4
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert all(gap >= 1.0 for gap in gaps)


@pytest.mark.parametrize(
    ("version", "root", "first"),
    [
        ("1.0", '</>;rt="oma.lwm2m";ct=11543', None),
        ("1.0", "", None),
        ("1.1", '</>;rt="oma.lwm2m";ct="60 110 112"', SENML_CBOR),
        ("1.1", "</>;ct=110", SENML_JSON),
        ("1.1", '</>;ct="11542 110"', SENML_JSON),
        ("1.1", '</>;ct="11542"', TLV),
        ("1.1", "", SENML_CBOR),
        ("1.2", '</>;ct="11544 110"', SENML_JSON),
        ("1.2", '</>;ct="11544 11542"', LWM2M_CBOR),
    ],
)
def test_the_format_asked_for_first(version: str, root: str, first: int | None) -> None:
    @virtual
    async def asked() -> None:
        spoken = (TEXT, SENML_CBOR, SENML_JSON, TLV, LWM2M_JSON, LWM2M_CBOR)
        async with door_and_device(formats=spoken) as (door, device):
            objects = ",".join([*([root] if root else []), "</1/0>", "</3/0>"]).encode()
            await read_by_register(device, version=version, objects=objects)
            assert accepts(device, "/3/0") == [first]
            # A single resource: text, which a 1.0 client gives unasked.
            assert accepts(device, "/3/0/3")[0] == (None if version == "1.0" else TEXT)
            assert (await door.record())["firmware"] == "1.4.2"
            assert ("/1/0/23" in device.paths) == (version != "1.0")

    asked()


@pytest.mark.parametrize(
    ("version", "spoken"),
    [
        ("1.0", TLV),
        ("1.0", LWM2M_JSON),
        ("1.0", SENML_CBOR),
        ("1.0", SENML_JSON),
        ("1.1", TLV),
        ("1.1", SENML_CBOR),
        ("1.1", SENML_JSON),
        ("1.2", TLV),
    ],
)
def test_devices_that_speak_one_format_only(version: str, spoken: int) -> None:
    """Whatever they listed; 4.06 goes to the next one."""

    @virtual
    async def understood() -> None:
        async with door_and_device(formats=(spoken,)) as (door, device):
            await read_by_register(device, version=version)
            record = await door.record()
            assert (record["make"], record["model"], record["firmware"]) == ("ACME", "T1000", "1.4.2")
            assert record["fotaEligible"] is True
            assert (3, 0, 3) in device.tokens
            # Again within a day: the firmware alone, and it is understood at once.
            device.values[3, 0, 3] = "1.5.0"
            assert set(await read_by_register(device, version=version)) == {"/3/0/3"}
            assert (await door.record())["firmware"] == "1.5.0"

    understood()


@virtual
async def test_a_device_that_answers_single_resources_only() -> None:
    async with door_and_device(formats=(TEXT,)) as (door, device):
        paths = await read_by_register(device)
        assert {"/3/0/0", "/3/0/1", "/3/0/3", "/3/0/19", "/5/0/3"} <= set(paths)
        record = await door.record()
        assert (record["make"], record["model"], record["firmware"]) == ("ACME", "T1000", "1.4.2")
        assert [each["version"] for each in record["softwareList"]] == ["7.1"]
        assert record["fotaEligible"] is True


@virtual
async def test_the_format_that_worked_is_remembered_until_the_next_register() -> None:
    """Spec lwm2m.md, section 6.1."""
    async with door_and_device(formats=(TLV,)) as (_, device):
        device.values[9, 0, 0] = "agent"
        objects = OBJECTS + b",</9/0>"
        await read_by_register(device, objects=objects)
        assert accepts(device, "/3/0")[-1] == TLV
        assert len(accepts(device, "/3/0")) > 1
        assert accepts(device, "/5/0") == [TLV]
        assert accepts(device, "/9") == [TLV]
        device.formats = (TEXT, SENML_CBOR)
        await read_by_register(device, objects=OBJECTS)
        assert accepts(device, "/3/0") == [SENML_CBOR]


@virtual
async def test_a_device_that_ignores_what_it_is_asked_for_is_understood_by_what_it_says() -> None:
    async with door_and_device() as (door, device):
        device.raw[3, 0, 3] = (TLV, b"\xc5\x031.4.9")
        device.raw[5, 0] = (None, bytes.fromhex("c10302c10500"))
        await read_by_register(device)
        record = await door.record()
        assert record["firmware"] == "1.4.9"
        assert record["fotaEligible"] is True


@virtual
async def test_an_unreadable_answer_costs_only_itself() -> None:
    async with door_and_device() as (door, device):
        device.raw[5, 0] = (SENML_CBOR, b"\xff\xff\xff")
        device.raw[3, 0, 3] = (TEXT, b"\xff\xfe")
        await read_by_register(device)
        record = await door.record()
        assert (record["make"], record["model"], record["firmware"]) == ("ACME", "T1000", "1.4.2")
        assert record["fotaEligible"] is True  # its single resources could be read


@virtual
async def test_alternate_root_path() -> None:
    """Every path begins with what the device registered (spec lwm2m.md, section 3.2)."""
    async with door_and_device(root=("lwm2m",)) as (door, device):
        objects = b'</lwm2m>;rt="oma.lwm2m";ct=112,</lwm2m/1/0>,</lwm2m/3/0>,</lwm2m/5/0>'
        paths = await read_by_register(device, objects=objects)
        assert set(paths) == {"/lwm2m/3/0", "/lwm2m/3/0/3", "/lwm2m/5/0", "/lwm2m/1/0/23"}
        assert (await door.record())["firmware"] == "1.4.2"
        device.notify(device.tokens[3, 0, 3], b"1.5.0")
        await asyncio.sleep(1)
        assert (await door.record())["firmware"] == "1.5.0"


@virtual
async def test_a_root_path_that_no_message_can_carry_is_the_devices_own_trouble() -> None:
    async with door_and_device() as (door, device):
        root = "\u20ac" * 100  # 300 bytes: more than a Uri-Path option holds
        objects = f'</{root}>;rt="oma.lwm2m",</{root}/3/0>'.encode()
        assert await read_by_register(device, objects=objects) == []
        assert "make" not in await door.record()
        # That answer will not change, so there is nothing to try again.
        assert door.gateway.work._due == {}
        assert (await device.update()).code == codes.CHANGED


@virtual
async def test_long_answers_come_in_blocks() -> None:
    async with door_and_device(block_bytes=64) as (door, device):
        device.values |= {(9, number, 0): f"package {number}" for number in range(30)}
        device.values |= {(9, number, 1): f"{number}.0" for number in range(30)}
        device.values |= {(9, number, 7): 4 for number in range(30)}
        objects = OBJECTS + b"".join(b",</9/%d>" % number for number in range(30))
        await read_by_register(device, objects=objects)
        found = (await door.record())["softwareList"]
        assert {each["name"]: each["version"] for each in found} == {
            "software": "7.1",
            **{f"package {number}": f"{number}.0" for number in range(30)},
        }
        assert len([message for _, message in device.asked if message.block2]) > 10


@virtual
async def test_answers_that_come_separately() -> None:
    async with door_and_device(separately=True) as (door, device):
        await read_by_register(device)
        assert (await door.record())["firmware"] == "1.4.2"
        assert (await door.record())["fotaEligible"] is True


@pytest.mark.parametrize(
    ("refusals", "eligible"),
    [
        ({(5, 0): codes.UNAUTHORIZED}, False),
        ({(5, 0): codes.FORBIDDEN}, False),
        ({(1, 0, 23): codes.NOT_FOUND}, True),
        ({(1, 0, 23): codes.METHOD_NOT_ALLOWED}, True),
        ({(5, 0): codes.INTERNAL_SERVER_ERROR}, True),
        ({(5, 0): codes.EMPTY}, True),
    ],
)
def test_refusals_of_a_device(refusals: dict[tuple[int, ...], int], eligible: bool) -> None:
    @virtual
    async def refused() -> None:
        async with door_and_device(refusals=refusals) as (door, device):
            await read_by_register(device)
            record = await door.record()
            assert record["firmware"] == "1.4.2"
            assert record["fotaEligible"] is eligible
            # It was answered, so there is nothing to repeat when the device is heard again.
            device.asked.clear()
            await device.update()
            await asyncio.sleep(30)
            assert device.asked == []

    refused()


@virtual
async def test_a_device_that_refuses_everything_is_left_alone_until_it_registers_again() -> None:
    async with door_and_device(values={}) as (door, device):
        await read_by_register(device)
        assert "refreshTime" not in await door.record()
        device.asked.clear()
        await device.update()
        await asyncio.sleep(30)
        assert device.asked == []
        device.values = dict(VALUES)
        await read_by_register(device)
        assert (await door.record())["make"] == "ACME"


@virtual
async def test_later_registers_read_the_firmware_alone_for_a_day() -> None:
    async with door_and_device() as (door, device):
        await read_by_register(device)
        first = await door.record()
        await asyncio.sleep(HOUR)
        device.values[3, 0, 3] = "1.5.0"
        assert await read_by_register(device) == ["/3/0/3"]
        later = await door.record()
        assert later["firmware"] == "1.5.0"
        assert "statusTime" in later
        assert later["refreshTime"] == first["refreshTime"]

        await asyncio.sleep(22 * HOUR)
        assert await read_by_register(device) == ["/3/0/3"]
        # Reading the firmware was no refresh, so the day counts from the first Register.
        await asyncio.sleep(HOUR)
        assert "/3/0" in await read_by_register(device)
        assert (await door.record())["refreshTime"] > first["refreshTime"]


@virtual
async def test_another_object_list_is_read_whole() -> None:
    async with door_and_device() as (_, device):
        await read_by_register(device)
        assert "/3/0" in await read_by_register(device, objects=OBJECTS + b",</3303/0>")
        assert await read_by_register(device, objects=OBJECTS + b",</3303/0>") == ["/3/0/3"]


@virtual
async def test_updates_read_nothing() -> None:
    async with door_and_device() as (_, device):
        await read_by_register(device)
        device.asked.clear()
        for queries in ((), ("lt=3600",), ("sms=5551234567",)):
            await asyncio.sleep(1000)
            await device.update(*queries)
        await asyncio.sleep(1000)
        assert device.asked == []


@virtual
async def test_a_register_in_the_middle_of_the_reading_begins_it_anew() -> None:
    """The first inventory goes down with the first registration, and must not wait for the next Update."""
    async with door_and_device() as (door, device):
        device.ignores = True
        await device.register()
        await asyncio.sleep(3)
        assert device.paths == ["/3/0"]
        device.ignores = False
        device.rebind()
        await device.register()
        await asyncio.sleep(3)
        assert (await door.record())["firmware"] == "1.4.2"
        assert (await door.record())["fotaEligible"] is True


@virtual
async def test_another_list_in_the_middle_of_the_reading_is_read_too() -> None:
    async with door_and_device(delay_seconds=2.0) as (door, device):
        device.values |= {(9, 0, 0): "agent", (9, 0, 1): "3.0", (9, 0, 7): 4}
        await device.register()
        await asyncio.sleep(3)
        await device.update(payload=OBJECTS + b",</9/0>")
        await asyncio.sleep(30)
        names = [each["name"] for each in (await door.record())["softwareList"]]
        assert names == ["agent", "software"]


@virtual
async def test_a_device_that_leaves_in_the_middle_is_asked_no_more() -> None:
    async with door_and_device(delay_seconds=2.0) as (_, device):
        await device.register()
        await asyncio.sleep(3)
        await device.deregister()
        await asyncio.sleep(0.5)
        device.asked.clear()
        await asyncio.sleep(300)
        assert device.asked == []


@virtual
async def test_the_imei_stays_what_was_registered() -> None:
    async with door_and_device() as (door, device):
        await read_by_register(device)
        assert (await door.record())["deviceId"] == IMEI
