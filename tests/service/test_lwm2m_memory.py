"""What the door remembers of devices that are gone: nothing (spec lwm2m.md, section 12.3)."""

import asyncio

from overair.platform.limits import Limits

from ..virtual import virtual
from .lwm2m_device import ACCOUNT_ID, Device, Door, devices, door_and_device, imeis, open_door


def _left(door: Door) -> dict[str, int]:
    """Return how much the door remembers of anybody, by table."""
    gateway, endpoint = door.gateway, door.endpoint
    registry, work = gateway.registry, gateway.work
    tables = {
        "locations": registry._by_location,
        "imeis": registry._by_imei,
        "peers": registry._by_peer,
        "expiries": registry._expiries,
        "heard": gateway.whereabouts._heard,
        "moved": gateway.whereabouts._moved,
        "associations": gateway.security._since_ms,
        "due": work._due,
        "ready": work._ready,
        "running": work._running,
        "again": work._again,
        "operations": work._operations,
        "ending": work._ending,
        "conversations": endpoint._conversations,
        "pending": endpoint._pending,
    }
    left = {name: len(table) for name, table in tables.items()}
    return {**left, "observations": endpoint._observations, "open": endpoint._open}


async def _life(door: Door, device: Device, number: int) -> None:
    """One life, of six kinds: leaves, dies, dies while it is read, comes back, moves, naps."""
    kind = number % 6
    queries = ["Q"] if number % 2 else []
    device.ignores = kind in (1, 2)
    await device.register(lifetime=60, queries=queries)
    await asyncio.sleep(number % 7)
    if kind == 2:
        device.asleep = True
    elif kind == 3:
        for _ in range(5):
            await device.register(lifetime=60)
            await asyncio.sleep(0.07)
    elif kind == 4:
        device.rebind()
        await device.update("lt=90")
        await asyncio.sleep(3)
        await device.deregister()
    elif kind == 5:
        await asyncio.sleep(40)
        await device.update()
    else:
        await asyncio.sleep(3)
        await device.deregister()
    await door.service.request_report(ACCOUNT_ID, device.imei)


@virtual
async def test_nothing_is_left_of_devices_that_are_gone() -> None:
    async with open_door(limits=Limits(refreshes_at_once=20)) as door:
        for imei in imeis(200):
            await door.add(imei)
        with devices(door, 200) as fleet:
            for _ in range(3):
                await asyncio.gather(*(_life(door, device, n) for n, device in enumerate(fleet)))
                for device in fleet:
                    device.asleep = False
            assert sum(_left(door).values()) > 0
            for device in fleet:
                device.asleep = True
            await asyncio.sleep(8 * 86_400)
        assert {name: count for name, count in _left(door).items() if count} == {}
        assert await door.store.registrations() == []
        assert await door.store.open_operations() == []


@virtual
async def test_a_device_that_comes_and_goes_leaves_one_trace() -> None:
    async with door_and_device() as (door, device):
        for _ in range(300):
            await device.register(lifetime=2**31 - 1)
            await asyncio.sleep(70)
            await device.deregister()
        await asyncio.sleep(200)
        assert {name: count for name, count in _left(door).items() if count} == {}
