"""De-register, expiry, and what a restart takes up (spec lwm2m.md, sections 3.5, 3.6, 16.5 and 16.11)."""

import asyncio

from overair.devices.memory import MemoryDeviceStore
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
async def test_deregister() -> None:
    async with door_and_device() as (door, device):
        await device.register()
        await asyncio.sleep(5)
        token = device.tokens[3, 0, 3]
        message = device.message(codes.DELETE, ["rd", device.location])
        assert (await device.ask(message)).code == codes.DELETED
        device.send(message)
        assert (await device.next()).code == codes.DELETED
        assert (await device.deregister()).code == codes.NOT_FOUND
        assert (await device.update()).code == codes.NOT_FOUND
        assert await registration_of(door) is None
        device.notify(token, b"1.5.0")
        assert (await device.next()).type == codes.RST


@virtual
async def test_expiry_with_grace() -> None:
    """Lifetime 60 s and 247 s of grace; an Update at the end of the lifetime keeps it."""
    async with door_and_device() as (door, device):
        await device.register(lifetime=60)
        for _ in range(5):
            await asyncio.sleep(59)
            assert (await device.update()).code == codes.CHANGED
        await asyncio.sleep(60 + 246)
        assert (await device.update()).code == codes.CHANGED
        await asyncio.sleep(60 + 247 + 61)  # looked at once a minute
        assert (await device.update()).code == codes.NOT_FOUND
        assert len(door.gateway.registry) == 0
        assert await registration_of(door) is None
        assert (await door.record())["firmware"] == "1.4.2"  # the record is untouched


@virtual
async def test_grace_is_a_tenth_of_a_long_lifetime() -> None:
    async with door_and_device() as (_, device):
        await device.register(lifetime=86400)
        await asyncio.sleep(86400 * 1.1 - 60)
        assert (await device.update()).code == codes.CHANGED
        await asyncio.sleep(86400 * 1.1 + 61)
        assert (await device.update()).code == codes.NOT_FOUND


@virtual
async def test_what_else_a_device_sends_does_not_extend_its_registration() -> None:
    async with door_and_device() as (door, device):
        await device.register(lifetime=60)
        await asyncio.sleep(5)
        token = device.tokens[3, 0, 3]
        for _ in range(10):
            await asyncio.sleep(30)
            device.notify(token, b"1.4.2")
            await device.next()
        await asyncio.sleep(70)
        assert len(door.gateway.registry) == 0


@virtual
async def test_lifetimes_change_by_update_both_ways() -> None:
    async with door_and_device() as (_, device):
        await device.register(lifetime=0)
        await asyncio.sleep(3 * 86400)
        assert (await device.update("lt=60")).code == codes.CHANGED
        await asyncio.sleep(60 + 247 + 61)
        assert (await device.update()).code == codes.NOT_FOUND
        await device.register(lifetime=60)
        assert (await device.update("lt=86400")).code == codes.CHANGED
        await asyncio.sleep(80000)
        assert (await device.update()).code == codes.CHANGED


@virtual
async def test_a_restart_keeps_registrations_and_ends_expired_ones() -> None:
    store = MemoryDeviceStore()
    async with open_door(store) as door:
        port = door.address[1]
        await door.add(IMEI)
        await door.add(OTHER_IMEI)
        with devices(door, 2) as (lasting, passing):
            await lasting.register(lifetime=86400)
            await passing.register(lifetime=60)
            await asyncio.sleep(5)
            token = lasting.tokens[3, 0, 3]
            door.face.close()
            await door.gateway.close()
            await asyncio.sleep(600)
            async with open_door(store, port=port) as again:
                assert (await passing.update()).code == codes.NOT_FOUND
                assert [each.imei for each in await store.registrations()] == [int(IMEI)]
                # Neither Register nor observation has to be made again.
                lasting.notify(token, b"1.5.0")
                assert (await lasting.next()).type == codes.ACK
                await asyncio.sleep(1)
                assert (await again.record())["firmware"] == "1.5.0"
                assert (await lasting.update()).code == codes.CHANGED
                await again.service.request_report(ACCOUNT_ID, IMEI)
                lasting.asked.clear()
                await asyncio.sleep(5)
                assert lasting.paths == ["/3/0/3"]


@virtual
async def test_what_was_asked_before_a_restart_is_asked_after_it() -> None:
    store = MemoryDeviceStore()
    async with open_door(store) as door:
        port = door.address[1]
        await door.add()
        with devices(door) as (device,):
            await device.register(queries=["Q"])
            await asyncio.sleep(500)
            operation = await door.service.request_report(ACCOUNT_ID, IMEI)
            door.face.close()
            await door.gateway.close()
            async with open_door(store, port=port):
                device.asked.clear()
                await asyncio.sleep(500)
                assert device.asked == []
                await device.update()
                await asyncio.sleep(5)
                assert device.paths == ["/3/0/3"]
                assert store.ended_operations[operation][0] == "done"
