"""Repeated messages, and stores that are slow or broken: nothing is promised before it is kept.

Spec lwm2m.md, sections 3.7, 12.2 and 16.4; engine.md, section 2.
"""

import asyncio
from typing import Any

from overair.devices.changes import Register
from overair.devices.memory import MemoryDeviceStore
from overair.devices.model import Change
from overair.devices.store import Done
from overair.protocols.coap import codes

from ..virtual import LoopClock, virtual
from .lwm2m_device import (
    IMEI,
    devices,
    open_door,
    registration_of,
)


class SlowStore(MemoryDeviceStore):
    """Holds back what it has to say of each change until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[Change] = []
        self._held: list[tuple[Done, Any]] = []
        self.holding = False

    def submit(self, change: Change, done: Done) -> None:
        self.changes.append(change)
        super().submit(change, self._hold(done))

    def admit(self, change: Register, done: Done) -> None:
        self.changes.append(change)
        super().admit(change, self._hold(done))

    def touch(self, imei: int, updated_ms: int, done: Done) -> None:
        super().touch(imei, updated_ms, self._hold(done))

    def end_registration(self, imei: int, location: str, done: Done) -> None:
        super().end_registration(imei, location, self._hold(done))

    def _hold(self, done: Done) -> Done:
        return (lambda result: self._held.append((done, result))) if self.holding else done

    def let_go(self) -> None:
        held, self._held = self._held, []
        for done, result in held:
            done(result)


class BrokenStore(MemoryDeviceStore):
    """Its disk is full; ``broken`` says from when to when."""

    broken = False

    def submit(self, change: Change, done: Done) -> None:
        if self.broken:
            done(OSError("no space left on device"))
        else:
            super().submit(change, done)

    def admit(self, change: Register, done: Done) -> None:
        if self.broken:
            done(OSError("no space left on device"))
        else:
            super().admit(change, done)

    def touch(self, imei: int, updated_ms: int, done: Done) -> None:
        if self.broken:
            done(OSError("no space left on device"))
        else:
            super().touch(imei, updated_ms, done)

    def end_registration(self, imei: int, location: str, done: Done) -> None:
        if self.broken:
            done(OSError("no space left on device"))
        else:
            super().end_registration(imei, location, done)

    async def apply(self, changes: Any, *, atomic: bool = False) -> Any:
        if self.broken:
            raise OSError("no space left on device")
        return await super().apply(changes, atomic=atomic)

    async def heard(self, uplinks: Any) -> None:
        if self.broken:
            raise OSError("no space left on device")
        await super().heard(uplinks)


@virtual
async def test_a_repeated_register_is_answered_with_the_same_bytes() -> None:
    store = SlowStore()
    async with open_door(store) as door:
        await door.add()
        store.changes.clear()
        with devices(door) as (device,):
            message = device.register_message()
            await device.ask(message)
            for _ in range(3):
                device.send(message)
                await device.next()
                await asyncio.sleep(20)
            created = [raw for raw in device.datagrams if raw[1] == codes.CREATED]
            assert len(created) == 4
            assert len(set(created)) == 1
            assert len([each for each in store.changes if type(each).__name__ == "Register"]) == 1


@virtual
async def test_a_register_repeated_while_it_is_being_stored_is_stored_once() -> None:
    store = SlowStore()
    async with open_door(store) as door:
        await door.add()
        store.changes.clear()
        store.holding = True
        with devices(door) as (device,):
            message = device.register_message()
            for _ in range(3):
                device.send(message)
                await asyncio.sleep(0.2)
            assert device.datagrams == []  # nothing is promised before it is kept
            assert len(door.gateway.registry) == 0
            store.holding = False
            store.let_go()
            answer = await device.next()
            assert (answer.type, answer.code) == (codes.ACK, codes.CREATED)
            device.send(message)
            await device.next()
            assert device.datagrams[0] == device.datagrams[1]
            assert len(store.changes) == 1


@virtual
async def test_a_slow_commit_is_acknowledged_and_answered_later() -> None:
    store = SlowStore()
    async with open_door(store) as door:
        await door.add()
        store.changes.clear()
        store.holding = True
        with devices(door) as (device,):
            message = device.register_message()
            device.send(message)
            empty = await device.next(within=1.5)
            assert (empty.type, empty.code, empty.message_id) == (codes.ACK, codes.EMPTY, message.message_id)
            device.send(message)
            assert (await device.next()).code == codes.EMPTY
            store.holding = False
            store.let_go()
            answer = await device.answer_to(message)
            assert (answer.type, answer.code) == (codes.CON, codes.CREATED)
            assert len(store.changes) == 1
            await asyncio.sleep(200)
            assert [raw[1] for raw in device.datagrams].count(codes.CREATED) == 1


@virtual
async def test_nothing_is_answered_or_remembered_that_is_not_stored() -> None:
    store = BrokenStore()
    async with open_door(store) as door:
        await door.add()
        with devices(door) as (device,):
            store.broken = True
            assert (await device.register()).code == codes.INTERNAL_SERVER_ERROR
            assert len(door.gateway.registry) == 0
            assert door.gateway.registry.by_peer(device.address) is None
            store.broken = False
            await device.register()
            await asyncio.sleep(5)
            store.broken = True
            before = await registration_of(door)
            assert (await device.update()).code == codes.INTERNAL_SERVER_ERROR
            assert (await device.update("lt=60")).code == codes.INTERNAL_SERVER_ERROR
            assert (await device.deregister()).code == codes.INTERNAL_SERVER_ERROR
            send = device.message(codes.POST, ["dp"], (), b'[{"n":"/3/0/3","vs":"2"}]', 110)
            assert (await device.ask(send)).code == codes.INTERNAL_SERVER_ERROR
            assert (await device.register()).code == codes.INTERNAL_SERVER_ERROR
            store.broken = False
            assert await registration_of(door) == before
            assert (await device.update()).code == codes.CHANGED


@virtual
async def test_a_failed_housekeeping_is_not_the_last() -> None:
    store = BrokenStore()
    async with open_door(store) as door:
        await door.add()
        with devices(door) as (device,):
            await device.register()
            await asyncio.sleep(5)
            store.broken = True
            device.notify(device.tokens[3, 0, 3], b"1.4.2")
            await asyncio.sleep(130)
            store.broken = False
            device.notify(device.tokens[3, 0, 3], b"1.4.2")
            heard_ms = LoopClock().now_ms()
            await asyncio.sleep(70)
            assert store._uplinks[int(IMEI)] == heard_ms


@virtual
async def test_an_update_of_a_registration_that_ends_meanwhile_is_refused() -> None:
    store = SlowStore()
    async with open_door(store) as door:
        await door.add()
        with devices(door) as (device,):
            await device.register()
            await asyncio.sleep(5)
            for queries in ([], ["lt=60"]):
                store.holding = True
                leave = device.message(codes.DELETE, ["rd", device.location])
                stay = device.message(codes.POST, ["rd", device.location], queries)
                device.send(leave)
                device.send(stay)
                await asyncio.sleep(0.1)
                store.holding = False
                store.let_go()
                assert (await device.answer_to(leave)).code == codes.DELETED
                assert (await device.answer_to(stay)).code == codes.NOT_FOUND
                assert len(door.gateway.registry) == 0
                assert door.gateway.registry.by_peer(device.address) is None
                await device.register()
                await asyncio.sleep(5)
