"""Devices that move, behind DTLS: where they are is known and stored (spec lwm2m.md, 3.7; RFC 9146, 6)."""

import asyncio
from typing import Any

from overair.credentials.memory import MemoryCredentialStore
from overair.devices.memory import MemoryDeviceStore
from overair.devices.model import Change, Provisioning
from overair.devices.store import Done
from overair.doors.lwm2m.whereabouts import STORE_SECONDS
from overair.protocols import dtls
from overair.protocols.coap import codes

from ..virtual import LoopClock, virtual
from .lwm2m_device import ACCOUNT_ID, IMEI
from .lwm2m_secure import KEY, Door, SecureDevice, door_and_device, open_door


async def firmware_of(door: Door) -> str:
    await asyncio.sleep(1)
    device = await door.store.get(int(IMEI))
    assert device is not None
    assert device.firmware is not None
    return device.firmware.value


@virtual
async def test_a_notification_from_a_new_address_moves_the_stored_one() -> None:
    async with door_and_device() as (door, device):
        before = await door.kept()
        assert before is not None
        assert before.port == device.address[1]
        device.rebind()
        device.notify(device.tokens[3, 0, 3], b"1.5.0")
        assert (await device.next()).type == codes.ACK
        assert await firmware_of(door) == "1.5.0"
        heard_ms = LoopClock().now_ms()
        await asyncio.sleep(STORE_SECONDS)
        after = await door.kept()
        assert after is not None
        assert (after.host, after.port) == device.address
        assert (after.location, after.updated_ms) == (before.location, before.updated_ms)
        # Storing the address takes nothing back of when the device was heard.
        assert heard_ms - 2000 < door.store._uplinks[int(IMEI)] <= heard_ms
        assert len(door.gateway.whereabouts) == 0


@virtual
async def test_an_update_from_a_new_address_says_only_that_it_is_alive() -> None:
    async with door_and_device() as (door, device):
        device.rebind()
        assert (await device.update()).code == codes.CHANGED
        updated_ms = LoopClock().now_ms()
        await asyncio.sleep(STORE_SECONDS)
        kept = await door.kept()
        assert kept is not None
        assert kept.port == device.address[1]
        assert updated_ms - 1000 < kept.updated_ms <= updated_ms


@virtual
async def test_a_new_handshake_and_a_resumption_move_the_registration() -> None:
    for resume in (False, True):
        async with door_and_device(cid=False) as (door, device):
            device.rebind()
            await device.shake_hands(resume=resume)
            established = [event for event in device.events if isinstance(event, dtls.Established)]
            assert [event.resumed for event in established] == [False, resume]
            device.asked.clear()
            await door.service.request_report(ACCOUNT_ID, IMEI)
            await asyncio.sleep(5)
            assert device.paths == ["/3/0/3"]  # asked there, though it has said nothing yet
            await asyncio.sleep(STORE_SECONDS)
            kept = await door.kept()
            assert kept is not None
            assert kept.port == device.address[1]


@virtual
async def test_a_moved_device_is_asked_at_its_new_address_after_a_restart() -> None:
    store, keys = MemoryDeviceStore(), MemoryCredentialStore()
    async with open_door(store, keys) as door:
        await door.service.add(ACCOUNT_ID, [Provisioning(int(IMEI))])
        await door.credentials.add_psk(ACCOUNT_ID, int(IMEI), key=KEY)
        device = SecureDevice(door.secure)
        await device.shake_hands()
        await device.register()
        await asyncio.sleep(5)
        device.rebind()
        device.notify(device.tokens[3, 0, 3], b"1.5.0")
        await device.next()
        saved = door.engine.save_sessions(asyncio.get_running_loop().time())
    kept = await door.kept()
    assert kept is not None
    assert kept.port == device.address[1]
    async with open_door(store, keys, port=door.secure[1], saved=saved) as again:
        device.asked.clear()
        await again.service.request_report(ACCOUNT_ID, IMEI)
        await asyncio.sleep(5)
        assert device.paths == ["/3/0/3"]
    device.close()


@virtual
async def test_where_a_device_went_is_known_after_a_crash() -> None:
    """Its association is lost, so nothing reaches it until it comes; then it is asked what waited for it."""
    store, keys = MemoryDeviceStore(), MemoryCredentialStore()
    async with open_door(store, keys, killed=True) as door:
        await door.service.add(ACCOUNT_ID, [Provisioning(int(IMEI))])
        await door.credentials.add_psk(ACCOUNT_ID, int(IMEI), key=KEY)
        device = SecureDevice(door.secure)
        await device.shake_hands()
        await device.register()
        await asyncio.sleep(5)
        device.rebind()
        device.notify(device.tokens[3, 0, 3], b"1.5.0")
        await device.next()
        await asyncio.sleep(STORE_SECONDS + 1)
    async with open_door(store, keys, port=door.secure[1]) as again:
        live = again.gateway.registry.by_imei(int(IMEI))
        assert live is not None
        assert (live.registration.host, live.registration.port) == device.address
        device.asked.clear()
        await again.service.request_report(ACCOUNT_ID, IMEI)
        await asyncio.sleep(5)
        assert device.asked == []
        await device.shake_hands(resume=True)
        assert (await device.update()).code == codes.CHANGED
        await asyncio.sleep(5)
        assert device.paths == ["/3/0/3"]
    device.close()


class SlowStore(MemoryDeviceStore):
    """Stores in order, but tells of it only when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.holding = False
        self._held: list[tuple[Done, Any]] = []

    def submit(self, change: Change, done: Done) -> None:
        super().submit(change, self._hold(done))

    def admit(self, change: Any, done: Done) -> None:
        super().admit(change, self._hold(done))

    def touch(self, imei: int, updated_ms: int, done: Done) -> None:
        super().touch(imei, updated_ms, self._hold(done))

    def end_registration(self, imei: int, location: str, done: Done) -> None:
        super().end_registration(imei, location, self._hold(done))

    def _hold(self, done: Done) -> Done:
        return (lambda result: self._held.append((done, result))) if self.holding else done

    def let_go(self) -> None:
        self.holding = False
        held, self._held = self._held, []
        for done, result in held:
            done(result)


@virtual
async def test_what_overtakes_an_address_on_its_way_to_the_disk_stays() -> None:
    for what in ("update", "touch", "register", "deregister"):
        store = SlowStore()
        async with open_door(store, MemoryCredentialStore()) as door:
            await door.service.add(ACCOUNT_ID, [Provisioning(int(IMEI))])
            await door.credentials.add_psk(ACCOUNT_ID, int(IMEI), key=KEY)
            device = SecureDevice(door.secure)
            await device.shake_hands()
            await device.register()
            await asyncio.sleep(5)
            device.rebind()
            device.notify(device.tokens[3, 0, 3], b"1.5.0")
            await asyncio.sleep(1)
            store.holding = True
            messages = {
                "update": device.message(codes.POST, ["rd", device.location], ["lt=600"]),
                "touch": device.message(codes.POST, ["rd", device.location]),
                "register": device.register_message(lifetime=700),
                "deregister": device.message(codes.DELETE, ["rd", device.location]),
            }
            device.send(messages[what])
            await asyncio.sleep(0.01)
            storing = asyncio.create_task(door.gateway.whereabouts.store())
            await asyncio.sleep(0.01)
            store.let_go()
            await storing
            answer = await device.answer_to(messages[what])
            live, kept = door.gateway.registry.by_imei(int(IMEI)), await door.kept()
            if what == "deregister":
                assert (live, kept) == (None, None)
            else:
                assert live is not None
                assert kept is not None
                assert kept.location == live.registration.location
                assert kept.lifetime_seconds == {"update": 600, "touch": 86400, "register": 700}[what]
                assert (kept.port, kept.updated_ms) == (device.address[1], live.updated_ms)
                assert what != "register" or kept.location == answer.location_path[1]
            device.close()


@virtual
async def test_an_address_that_could_not_be_stored_is_stored_later() -> None:
    class Broken(MemoryDeviceStore):
        broken = False

        def submit(self, change: Change, done: Done) -> None:
            if self.broken:
                done(OSError("no space left on device"))
            else:
                super().submit(change, done)

    store = Broken()
    async with open_door(store, MemoryCredentialStore()) as door:
        await door.service.add(ACCOUNT_ID, [Provisioning(int(IMEI))])
        await door.credentials.add_psk(ACCOUNT_ID, int(IMEI), key=KEY)
        device = SecureDevice(door.secure)
        await device.shake_hands()
        await device.register()
        await asyncio.sleep(5)
        old = device.address[1]
        device.rebind()
        device.notify(device.tokens[3, 0, 3], b"1.5.0")
        for broken, port in ((True, old), (False, device.address[1])):
            store.broken = broken
            await asyncio.sleep(STORE_SECONDS + 1)
            kept = await door.kept()
            assert kept is not None
            assert kept.port == port
        device.close()
