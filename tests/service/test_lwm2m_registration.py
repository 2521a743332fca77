"""Register: names, parameters, payloads, refusals (spec lwm2m.md, sections 2, 3.1 to 3.3, 15 and 16)."""

from typing import Any

import pytest

from overair.devices.memory import MemoryDeviceStore
from overair.protocols.coap import Block, codes

from ..virtual import virtual
from .lwm2m_device import (
    ACCOUNT_ID,
    IMEI,
    OBJECTS,
    OTHER_IMEI,
    devices,
    door_and_device,
    open_door,
    registration_of,
)

# Spec lwm2m.md, section 15: Register of 490154203237518, message id 0x1001, token a1.
REGISTER = bytes.fromhex(
    "41021001a1b2726411283d0e65703d75726e3a696d65693a343930313534323033323337353138086c743d3836343030096c776d"
    "326d3d312e3103623d550151ff3c2f3e3b72743d226f6d612e6c776d326d223b63743d2236302031313020313132203131353432"
    "203131353433222c3c2f313e3b7665723d312e312c3c2f312f303e2c3c2f332f303e2c3c2f342f303e2c3c2f352f303e"
)


@virtual
async def test_register_is_answered_with_a_location() -> None:
    async with door_and_device() as (door, device):
        answer = await device.register()
        assert (answer.type, answer.code) == (codes.ACK, codes.CREATED)
        rd, location = answer.location_path
        assert rd == "rd"
        assert 6 <= len(location) <= 12
        assert location.replace("-", "").replace("_", "").isalnum()
        assert answer.payload == b""
        kept = await registration_of(door)
        assert kept is not None
        assert (kept.location, kept.host, kept.port) == (location, *device.address)
        assert (kept.lifetime_seconds, kept.lwm2m_version, kept.binding) == (86400, "1.1", "U")
        assert kept.account_id == ACCOUNT_ID
        assert kept.links == OBJECTS


@virtual
async def test_packets_of_the_specification() -> None:
    """Section 15, byte by byte; only the location is ours."""
    async with door_and_device() as (door, device):
        device.send(REGISTER)
        await device.next()
        created = device.datagrams[-1]
        assert created[:9] == bytes.fromhex("61411001a182726408")
        location = created[9:]
        path = bytes.fromhex("b27264") + b"\x08" + location

        assert (await registration_of(door)).queue_mode  # type: ignore[union-attr]
        for request, reply in (
            (bytes.fromhex("41021002a2") + path, "61441002a2"),
            (bytes.fromhex("41021003a3") + path + bytes.fromhex("476c743d33363030"), "61441003a3"),
            (bytes.fromhex("41041004a4") + path, "61421004a4"),
            (bytes.fromhex("41021007a7") + path, "61841007a7"),
        ):
            device.send(request)
            await device.next()
            assert device.datagrams[-1] == bytes.fromhex(reply)
        assert await registration_of(door) is None


@virtual
async def test_registering_twice_ends_the_first_location() -> None:
    async with door_and_device() as (door, device):
        await device.register()
        first = device.location
        await device.register()
        assert device.location != first
        for code in (codes.POST, codes.DELETE):
            answer = await device.ask(device.message(code, ["rd", first]))
            assert answer.code == codes.NOT_FOUND
        assert (await device.update()).code == codes.CHANGED
        assert len(door.gateway.registry) == 1


@virtual
async def test_the_name_may_change_the_device_stays() -> None:
    async with door_and_device() as (door, device):
        await device.register(endpoint=f"urn:imei-msisdn:{IMEI}-5551234567")
        await device.register(endpoint=f"urn:imei:{IMEI}")
        assert len(door.gateway.registry) == 1
        kept = await registration_of(door)
        assert kept is not None
        assert kept.endpoint == f"urn:imei:{IMEI}"


@pytest.mark.parametrize(
    ("queries", "code"),
    [
        (["lwm2m=1.1", "lt=60"], codes.BAD_REQUEST),
        (["ep=", "lwm2m=1.1"], codes.BAD_REQUEST),
        ([f"ep=urn:imei:{IMEI}", "lwm2m=1.1", "lt=soon"], codes.BAD_REQUEST),
        ([f"ep=urn:imei:{IMEI}", "lwm2m=1.1", "lt=-1"], codes.BAD_REQUEST),
        ([f"ep=urn:imei:{IMEI}", "lwm2m=1.1", "lt="], codes.BAD_REQUEST),
        ([f"ep=urn:imei:{IMEI}", "lwm2m=2.0"], codes.PRECONDITION_FAILED),
        ([f"ep=urn:imei:{IMEI}", "lwm2m=one"], codes.PRECONDITION_FAILED),
        ([f"ep=urn:imei:{OTHER_IMEI}", "lwm2m=1.1"], codes.FORBIDDEN),
        (["ep=urn:uuid:0f32a1c4-1111-2222-3333-444455556666", "lwm2m=1.1"], codes.FORBIDDEN),
        (["ep=urn:esn:8012AB34", "lwm2m=1.1"], codes.FORBIDDEN),
        (["ep=urn:meid:A1000009ABCDEF", "lwm2m=1.1"], codes.FORBIDDEN),
        (["ep=thermometer", "lwm2m=1.1"], codes.FORBIDDEN),
        ([f"ep={'x' * 252}", "lwm2m=1.1"], codes.FORBIDDEN),
        ([f"ep=urn:imei:{IMEI}", "lwm2m=1.1", *[f"a{n}=1" for n in range(40)]], codes.BAD_REQUEST),
    ],
)
def test_refusals(queries: list[str], code: int) -> None:
    @virtual
    async def refused() -> None:
        async with door_and_device() as (door, device):
            answer = await device.ask(device.message(codes.POST, ["rd"], queries, OBJECTS, 40))
            assert answer.code == code
            assert len(door.gateway.registry) == 0
            assert await door.store.registrations() == []

    refused()


@pytest.mark.parametrize(
    ("queries", "expected"),
    [
        ([], {"lwm2m_version": "1.0", "lifetime_seconds": 86400, "binding": "U", "queue_mode": False}),
        (["lwm2m=1", "lt=60"], {"lwm2m_version": "1.0", "lifetime_seconds": 60}),
        (["lwm2m=1.0.2", "b=UQ"], {"lwm2m_version": "1.0", "binding": "U", "queue_mode": True}),
        (["lwm2m=1.0", "b=UQS"], {"binding": "US", "queue_mode": True}),
        (["lwm2m=1.1", "b=U", "Q"], {"binding": "U", "queue_mode": True}),
        (["lwm2m=1.1", "Q="], {"queue_mode": True}),
        (["lwm2m=1.1.1", "Q=true"], {"lwm2m_version": "1.1", "queue_mode": True}),
        (["lwm2m=1.2", "lt=0", "et", "foo=bar"], {"lwm2m_version": "1.2", "lifetime_seconds": 0}),
        (["lwm2m=1.1", "lt=99999999999"], {"lifetime_seconds": 2**31 - 1}),
    ],
)
def test_parameters(queries: list[str], expected: dict[str, Any]) -> None:
    @virtual
    async def understood() -> None:
        async with door_and_device() as (door, device):
            named = [f"ep=urn:imei:{IMEI}", *queries]
            answer = await device.ask(device.message(codes.POST, ["rd"], named, OBJECTS, 40))
            assert answer.code == codes.CREATED
            kept = await registration_of(door)
            assert {name: getattr(kept, name) for name in expected} == expected

    understood()


@pytest.mark.parametrize(
    "endpoint",
    [
        f"urn:imei:{IMEI}",
        f"URN:IMEI:{IMEI}",
        "urn:imei:49015420323751",
        "urn:imei:4901542032375103",
        f"urn:imei-msisdn:{IMEI}-5551234567",
        f"urn:IMEI-MSISDN:{IMEI}-000005551234567",
        f"urn:imei-imsi:{IMEI}-311480123456789",
        "urn:gsma:imei:49015420-323751-0",
        f"urn:dev:ops:00D09E-GM01Q-{IMEI}",
        f"urn:dev:imei:{IMEI}",
        IMEI,
        f"imei-{IMEI}",
        f"nrf-{IMEI}",
        f'"{IMEI}"',
        f"<urn:imei:{IMEI}>",
        "urn%3Aimei%3A490154203237518",
    ],
)
def test_names_of_one_device(endpoint: str) -> None:
    """Spec lwm2m.md, section 2.1: all the same device."""

    @virtual
    async def named() -> None:
        async with door_and_device() as (door, device):
            assert (await device.register(endpoint=endpoint)).code == codes.CREATED
            assert await registration_of(door) is not None

    named()


@virtual
async def test_a_bare_number_with_a_bad_check_digit_counts_only_if_it_is_known() -> None:
    """Spec lwm2m.md, section 2.2, step 3, whatever is done with unknown devices otherwise."""
    async with open_door(enrol=ACCOUNT_ID) as door:
        await door.add("490154203237519")
        with devices(door) as (device,):
            assert (await device.register(endpoint="490154203237519")).code == codes.CREATED
            assert await registration_of(door, "490154203237519") is not None
            assert (await device.register(endpoint="352656100123451")).code == codes.FORBIDDEN
            assert await door.store.get(352656100123451) is None
            # The explicit form is looked up as written, and flagged.
            assert (await device.register(endpoint="urn:imei:352656100123451")).code == codes.CREATED
            made = await door.store.get(352656100123451)
            assert made is not None
            assert made.attributes["imei_check"] == "failed"


@virtual
async def test_unknown_devices_are_enrolled_where_an_account_takes_them() -> None:
    async with open_door(enrol=42) as door:
        with devices(door) as (device,):
            assert (await device.register()).code == codes.CREATED
            made = await door.store.get(int(IMEI))
            assert made is not None
            assert made.account_id == 42
            kept = await registration_of(door)
            assert kept is not None
            assert kept.account_id == 42


@virtual
async def test_the_number_comes_from_the_name_before_the_parameter() -> None:
    async with door_and_device() as (door, device):
        await device.register(queries=["sms=15551234567"])
        assert (await door.record())["mdn"] == "5551234567"
        await device.register(endpoint=f"urn:imei-msisdn:{IMEI}-5550000001", queries=["sms=15551234567"])
        assert (await door.record())["mdn"] == "5550000001"


@virtual
async def test_a_register_in_blocks() -> None:
    """Block1: each but the last is answered 2.31 with its number."""
    async with door_and_device() as (door, device):
        objects = OBJECTS + b"".join(b",</3303/%d>" % number for number in range(40))
        named = [f"ep=urn:imei:{IMEI}", "lwm2m=1.1"]
        chunks = [objects[start : start + 64] for start in range(0, len(objects), 64)]
        for number, chunk in enumerate(chunks):
            last = number == len(chunks) - 1
            block = (codes.BLOCK1, Block(number, not last, 2).encode())
            answer = await device.ask(device.message(codes.POST, ["rd"], named, chunk, 40, [block]))
            assert answer.code == (codes.CREATED if last else codes.CONTINUE)
            assert answer.block1 == Block(number, not last, 2)
        kept = await registration_of(door)
        assert kept is not None
        assert kept.links == objects


@virtual
async def test_a_payload_that_is_no_link_list_is_not_kept_as_one() -> None:
    """Else what nobody parsed at the door would be parsed at the next start, which then fails."""
    store = MemoryDeviceStore()
    async with open_door(store) as door:
        await door.add()
        with devices(door) as (device,):
            many = b"<" * 1400
            assert (await device.register(objects=many, content_format=60)).code == codes.CREATED
            kept = await registration_of(door)
            assert kept is not None
            assert kept.links == b""
    async with open_door(store) as again:
        assert len(again.gateway.registry) == 1


@virtual
async def test_a_profile_is_no_object_list() -> None:
    async with door_and_device() as (_, device):
        profile = {"version": "1.2", "queries": ["pid=MDEyMzQ"]}
        assert (await device.register(objects=b"", content_format=None, **profile)).code == codes.CONFLICT
        assert (await device.register(**profile)).code == codes.CREATED


@virtual
async def test_too_many_links_are_refused() -> None:
    async with door_and_device() as (door, device):
        objects = b",".join(b"</%d>" % (number % 60000) for number in range(2001))
        blocks = [objects[start : start + 1024] for start in range(0, len(objects), 1024)]
        for number, chunk in enumerate(blocks):
            block = (codes.BLOCK1, Block(number, number < len(blocks) - 1, 6).encode())
            named = [f"ep=urn:imei:{IMEI}", "lwm2m=1.1"]
            answer = await device.ask(device.message(codes.POST, ["rd"], named, chunk, 40, [block]))
        assert answer.code == codes.REQUEST_ENTITY_TOO_LARGE
        assert len(door.gateway.registry) == 0


@virtual
async def test_other_methods_and_paths() -> None:
    async with door_and_device() as (_, device):
        await device.register()
        for code, path, expected in (
            (codes.GET, ["rd"], codes.METHOD_NOT_ALLOWED),
            (codes.GET, ["dp"], codes.METHOD_NOT_ALLOWED),
            (codes.GET, ["rd", device.location], codes.METHOD_NOT_ALLOWED),
            (codes.GET, [], codes.NOT_FOUND),
            (codes.GET, [".well-known", "core"], codes.NOT_FOUND),
            (codes.POST, ["bs"], codes.NOT_FOUND),
            (codes.POST, ["rd", device.location, "more"], codes.NOT_FOUND),
        ):
            assert (await device.ask(device.message(code, path))).code == expected
