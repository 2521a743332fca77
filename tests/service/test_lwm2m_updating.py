"""Update, and devices that move from address to address (spec lwm2m.md, sections 3.4 and 3.7)."""

import asyncio

from overair.devices.memory import MemoryDeviceStore
from overair.devices.model import Registration
from overair.protocols.coap import codes

from ..virtual import virtual
from .lwm2m_device import (
    ACCOUNT_ID,
    IMEI,
    OTHER_IMEI,
    devices,
    door_and_device,
    open_door,
    registration_of,
)


@virtual
async def test_update_replaces_what_it_says_and_keeps_the_rest() -> None:
    async with door_and_device() as (door, device):
        await device.register(queries=["b=U"])
        for queries, changed in (
            (["lt=3600"], {"lifetime_seconds": 3600}),
            (["b=US"], {"binding": "US"}),
            (["Q"], {"queue_mode": True}),
            (["ep=urn:imei:1", "lwm2m=1.2"], {}),
            (["sms=5551234567"], {}),
        ):
            before = await registration_of(door)
            await asyncio.sleep(10)
            assert (await device.update(*queries)).code == codes.CHANGED
            after = await registration_of(door)
            names = [name for name in Registration.__struct_fields__ if name != "updated_ms"]
            differing = {name for name in names if getattr(before, name) != getattr(after, name)}
            assert differing == set(changed)
            assert {name: getattr(after, name) for name in changed} == changed
        assert (await door.record())["mdn"] == "5551234567"


@virtual
async def test_update_with_an_object_list_replaces_it_whole() -> None:
    async with door_and_device() as (door, device):
        await device.register()
        await asyncio.sleep(5)
        device.asked.clear()
        assert (await device.update(payload=b"</1/0>,</3/0>")).code == codes.CHANGED
        kept = await registration_of(door)
        assert kept is not None
        assert kept.links == b"</1/0>,</3/0>"
        await asyncio.sleep(5)
        assert "/3/0" in device.paths  # another list: everything is read again
        assert "/5/0" not in device.paths


@virtual
async def test_malformed_updates_change_nothing() -> None:
    async with door_and_device() as (door, device):
        await device.register()
        before = await registration_of(door)
        assert (await device.update("lt=never")).code == codes.BAD_REQUEST
        assert (await device.update("b=12")).code == codes.BAD_REQUEST
        assert await registration_of(door) == before
        unknown = await device.ask(device.message(codes.POST, ["rd", "nowhere"], ["lt=never"]))
        assert unknown.code == codes.NOT_FOUND


@virtual
async def test_update_from_another_port_moves_the_device() -> None:
    async with door_and_device() as (door, device):
        await device.register()
        await asyncio.sleep(5)
        token = device.tokens[3, 0, 3]
        device.rebind()
        assert (await device.update()).code == codes.CHANGED
        kept = await registration_of(door)
        assert kept is not None
        assert kept.port == device.address[1]
        # The observation moved along, and what is asked from now on goes there.
        notification = device.notify(token, b"1.5.0")
        acknowledged = await device.next()
        assert (acknowledged.type, acknowledged.message_id) == (codes.ACK, notification.message_id)
        device.asked.clear()
        await door.service.request_report(ACCOUNT_ID, IMEI)
        await asyncio.sleep(5)
        assert device.paths == ["/3/0/3"]


@virtual
async def test_an_address_belongs_to_who_used_it_last() -> None:
    """A NAT gives the port of one device to another: nothing of the first may be asked there."""
    async with open_door() as door:
        await door.add(IMEI)
        await door.add(OTHER_IMEI)
        with devices(door) as (device,):
            await device.register(lifetime=600)
            await asyncio.sleep(5)
            first, old_token = device.location, device.tokens[3, 0, 3]
            await device.register(endpoint=f"urn:imei:{OTHER_IMEI}")
            await asyncio.sleep(5)
            second, token = device.location, device.tokens[3, 0, 3]
            device.values[3, 0, 3] = "9.9.9"
            device.asked.clear()

            await door.service.request_report(ACCOUNT_ID, IMEI)
            await asyncio.sleep(5)
            assert device.asked == []
            assert (await door.record(IMEI))["firmware"] == "1.4.2"
            device.notify(old_token, b"6.6.6")
            assert (await device.next()).type == codes.RST

            # The first one expires; what is open with the second stays.
            await asyncio.sleep(3600)
            assert (await device.ask(device.message(codes.POST, ["rd", first]))).code == codes.NOT_FOUND
            device.notify(token, b"2.0")
            assert (await device.next()).type == codes.ACK
            await asyncio.sleep(1)
            assert (await door.record(OTHER_IMEI))["firmware"] == "2.0"
            assert (await device.ask(device.message(codes.POST, ["rd", second]))).code == codes.CHANGED


@virtual
async def test_a_device_comes_back_to_the_address_that_another_one_took() -> None:
    async with open_door() as door:
        await door.add(IMEI)
        await door.add(OTHER_IMEI)
        with devices(door) as (device,):
            await device.register()
            await asyncio.sleep(5)
            first = device.location
            await device.register(endpoint=f"urn:imei:{OTHER_IMEI}")
            await asyncio.sleep(5)
            assert (await device.ask(device.message(codes.POST, ["rd", first]))).code == codes.CHANGED
            device.asked.clear()
            await door.service.request_report(ACCOUNT_ID, OTHER_IMEI)
            await asyncio.sleep(5)
            assert device.asked == []
            await door.service.request_report(ACCOUNT_ID, IMEI)
            await asyncio.sleep(5)
            assert device.paths == ["/3/0/3"]


@virtual
async def test_a_device_that_moves_to_anothers_address_takes_it_over() -> None:
    async with open_door() as door:
        await door.add(IMEI)
        await door.add(OTHER_IMEI)
        with devices(door, 2) as (one, other):
            for device in (one, other):
                await device.register()
            await asyncio.sleep(5)
            moved = other.message(codes.POST, ["rd", one.location])
            assert (await other.ask(moved)).code == codes.CHANGED
            other.notify(other.tokens[3, 0, 3], b"6.6.6")
            assert (await other.next()).type == codes.RST
            other.notify(one.tokens[3, 0, 3], b"1.5.0")
            assert (await other.next()).type == codes.ACK
            await asyncio.sleep(1)
            assert (await door.record(IMEI))["firmware"] == "1.5.0"
            assert (await door.record(OTHER_IMEI))["firmware"] == "1.4.2"


@virtual
async def test_whose_address_it_is_outlives_a_restart() -> None:
    store = MemoryDeviceStore()
    async with open_door(store) as door:
        port = door.address[1]
        await door.add(IMEI)
        await door.add(OTHER_IMEI)
        with devices(door) as (device,):
            tokens = []
            for imei in (OTHER_IMEI, IMEI, OTHER_IMEI):
                await device.register(endpoint=f"urn:imei:{imei}")
                await asyncio.sleep(5)
                tokens.append(device.tokens[3, 0, 3])
            device.values[3, 0, 3] = "2.0"
            door.face.close()
            await door.gateway.close()
            async with open_door(store, port=port) as again:
                device.asked.clear()
                await again.service.request_report(ACCOUNT_ID, IMEI)
                await asyncio.sleep(5)
                assert device.asked == []
                device.notify(tokens[1], b"6.6.6")
                assert (await device.next()).type == codes.RST
                device.notify(tokens[2], b"2.0")
                assert (await device.next()).type == codes.ACK
                await asyncio.sleep(1)
                assert (await again.record(OTHER_IMEI))["firmware"] == "2.0"
                assert (await again.record(IMEI))["firmware"] == "1.4.2"
