"""What keys mean for registrations: who has one must prove it, and who has none any more is out.

Spec lwm2m.md, sections 2.3 and 10.2.
"""

import asyncio
import contextlib
from unittest import mock

from overair.credentials.memory import MemoryCredentialStore
from overair.devices.memory import MemoryDeviceStore
from overair.devices.model import Provisioning
from overair.platform.limits import Limits
from overair.protocols import dtls
from overair.protocols.coap import codes

from ..virtual import virtual
from .lwm2m_device import ACCOUNT_ID, IMEI, OTHER_IMEI, Device
from .lwm2m_secure import IDENTITY, KEY, OTHER_KEY, SecureDevice, door_and_device, open_door

DAY_SECONDS = 86_400


@virtual
async def test_a_device_that_has_a_key_is_not_registered_without() -> None:
    async with open_door(MemoryDeviceStore(), MemoryCredentialStore()) as door:
        await door.service.add(ACCOUNT_ID, [Provisioning(int(IMEI)), Provisioning(int(OTHER_IMEI))])
        await door.credentials.add_psk(ACCOUNT_ID, int(IMEI), key=KEY)
        await door.watch.look()
        with contextlib.closing(Device(door.plain)) as stranger:
            refused = await stranger.register()
            assert (refused.code, refused.payload) == (codes.FORBIDDEN, b"")
            assert len(door.gateway.registry) == 0
            assert (await stranger.register(endpoint=f"urn:imei:{OTHER_IMEI}")).code == codes.CREATED
            await door.credentials.remove(int(IMEI), IDENTITY)
            assert (await stranger.register()).code == codes.CREATED


@virtual
async def test_a_first_key_ends_the_registration_without_one() -> None:
    async with open_door(MemoryDeviceStore(), MemoryCredentialStore()) as door:
        await door.service.add(ACCOUNT_ID, [Provisioning(int(IMEI)), Provisioning(int(OTHER_IMEI))])
        assert door.ring.is_empty
        with contextlib.closing(Device(door.plain)) as device:
            await device.register(endpoint=f"urn:imei:{OTHER_IMEI}")
            await device.register()
            await asyncio.sleep(5)
            await door.credentials.add_psk(ACCOUNT_ID, int(IMEI), key=KEY)
            await asyncio.sleep(1)
            await door.watch.look()  # while there are no keys it is soon noticed
            assert not door.ring.is_empty
            assert (await device.update()).code == codes.NOT_FOUND
            assert (await device.register()).code == codes.FORBIDDEN
            assert await door.kept() is None
            assert await door.kept(OTHER_IMEI) is not None


@virtual
async def test_a_removed_key_ends_associations_and_the_registration() -> None:
    async with door_and_device() as (door, device):
        await door.look()
        assert (await device.update()).code == codes.CHANGED
        device.rebind()
        await device.shake_hands()  # a second association, that has said nothing yet
        assert len(door.engine) == 2
        await door.credentials.remove(int(IMEI), IDENTITY)
        await door.look()
        await asyncio.sleep(1)
        assert [event.reason for event in device.events if isinstance(event, dtls.Closed)] == [
            dtls.CloseReason.CLOSE_NOTIFY
        ]
        assert (len(door.engine), len(door.gateway.security)) == (0, 0)
        assert len(door.gateway.registry) == 0
        assert await door.kept() is None


@virtual
async def test_a_handshake_reads_its_key_once_and_takes_the_registration_along() -> None:
    async with door_and_device() as (door, device):
        asked: list[bytes] = []
        keys_of = door.ring._reader.keys_of
        with mock.patch.object(
            door.ring._reader, "keys_of", lambda identity: asked.append(identity) or keys_of(identity)
        ):
            device.rebind()
            await device.shake_hands()
        assert asked == [IDENTITY]
        device.asked.clear()
        await door.service.request_report(ACCOUNT_ID, IMEI)
        await asyncio.sleep(5)
        assert device.asked  # where it is now


@virtual
async def test_another_identity_of_the_device_stays() -> None:
    async with door_and_device() as (door, device):
        await door.credentials.add_psk(ACCOUNT_ID, int(IMEI), identity=b"second", key=OTHER_KEY)
        await door.look()
        await door.credentials.remove(int(IMEI), b"second")
        await door.look()
        assert (await device.update()).code == codes.CHANGED
        assert not any(isinstance(event, dtls.Closed) for event in device.events)


@virtual
async def test_a_changed_key_ends_nothing_before_the_old_one_does() -> None:
    async with door_and_device() as (door, device):
        await door.look()
        await door.credentials.add_psk(ACCOUNT_ID, int(IMEI), key=OTHER_KEY)
        for _ in range(2 * Limits().key_overlap_days):
            await door.look()
            assert (await device.update()).code == codes.CHANGED
            await asyncio.sleep(DAY_SECONDS / 2)
        assert len(door.engine) == 1
        assert await door.credentials.purge() == 1
        await door.look()
        assert len(door.engine) == 0
        assert len(door.gateway.registry) == 1


@virtual
async def test_a_key_removed_and_given_anew_ends_the_association_only() -> None:
    async with door_and_device() as (door, device):
        await door.look()
        await door.credentials.remove(int(IMEI), IDENTITY)
        await door.credentials.add_psk(ACCOUNT_ID, int(IMEI), key=OTHER_KEY)
        await door.look()
        await asyncio.sleep(1)
        assert len(door.engine) == 0
        device.asked.clear()
        await door.service.request_report(ACCOUNT_ID, IMEI)
        await asyncio.sleep(5)
        assert device.asked == []
        # Who has the new key goes on with the registration.
        with contextlib.closing(SecureDevice(door.secure, key=OTHER_KEY)) as renewed:
            await renewed.shake_hands()
            renewed.location = device.location
            assert (await renewed.update()).code == codes.CHANGED
            await asyncio.sleep(5)
            assert renewed.paths == ["/3/0/3"]


@virtual
async def test_an_identity_that_went_to_another_device_ends_the_registration_of_the_first() -> None:
    async with door_and_device() as (door, _):
        await door.look()
        await door.credentials.remove(int(IMEI), IDENTITY)
        await door.credentials.add_psk(ACCOUNT_ID, int(OTHER_IMEI), identity=IDENTITY, key=OTHER_KEY)
        await door.look()
        assert len(door.engine) == 0
        assert await door.kept() is None


@virtual
async def test_what_came_after_the_keys_were_read_stays() -> None:
    async with door_and_device() as (door, device):
        await door.gateway.security.keys_changed({})  # as they were before the key of this device was added
        assert (await device.update()).code == codes.CHANGED
        assert len(door.engine) == 1


@virtual
async def test_associations_that_ended_are_forgotten() -> None:
    async with door_and_device() as (door, device):
        assert len(door.gateway.security) == 1
        device.client.close()
        device._flush()
        await asyncio.sleep(1)
        assert len(door.gateway.security) == 0
        assert len(door.gateway.registry) == 1  # until its lifetime is over
