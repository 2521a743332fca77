"""Devices that sleep, with and without saying so; owners who ask them (spec lwm2m.md, section 4.1)."""

import asyncio
from itertools import pairwise

import pytest

from overair.devices.memory import MemoryDeviceStore
from overair.platform.limits import Limits
from overair.protocols.coap import codes

from ..virtual import virtual
from .lwm2m_device import ACCOUNT_ID, IMEI, Device, Door, devices, door_and_device, imeis, open_door

DAY = 86_400.0
WINDOW = 93.0


def now() -> float:
    return asyncio.get_running_loop().time()


async def outcome(door: Door, operation: str) -> str | None:
    assert isinstance(door.store, MemoryDeviceStore)
    ended = door.store.ended_operations.get(operation)
    return ended[0] if ended else None


async def settled(device: Device, *queries: str) -> None:
    """Register and let the first inventory pass."""
    assert (await device.register(queries=queries)).code == codes.CREATED
    await asyncio.sleep(5)
    device.asked.clear()


@virtual
async def test_nothing_is_sent_to_a_sleeping_device() -> None:
    async with door_and_device() as (door, device):
        await settled(device, "Q")
        await asyncio.sleep(WINDOW)
        operations = [await door.service.request_report(ACCOUNT_ID, IMEI) for _ in range(3)]
        await asyncio.sleep(DAY / 2)
        assert device.asked == []
        assert (await device.update()).code == codes.CHANGED
        answered = now()
        await asyncio.sleep(30)
        # Three that want the same are one Read, and it comes after the answer to the Update.
        assert device.paths == ["/3/0/3"]
        assert device.asked[0][0] > answered
        assert [await outcome(door, each) for each in operations] == ["done"] * 3


@virtual
async def test_the_window_lasts_from_the_last_message() -> None:
    async with door_and_device() as (door, device):
        await settled(device, "Q")
        for _ in range(3):
            await asyncio.sleep(WINDOW - 10)
            await door.service.request_report(ACCOUNT_ID, IMEI)
            await asyncio.sleep(2)
            assert device.paths == ["/3/0/3"]
            device.asked.clear()
        await asyncio.sleep(WINDOW + 1)
        await door.service.request_report(ACCOUNT_ID, IMEI)
        await asyncio.sleep(1000)
        assert device.asked == []


@virtual
async def test_a_queue_of_several_requests_is_drained_one_at_a_time() -> None:
    async with door_and_device() as (door, device):
        device.asleep = False
        device.ignores = True
        await device.register(queries=["Q"])
        await asyncio.sleep(DAY / 4)
        device.asked.clear()
        device.ignores = False
        device.delay_seconds = 3.0
        await door.service.request_report(ACCOUNT_ID, IMEI)
        await device.update()
        await asyncio.sleep(60)
        first = {message.message_id: when for when, message in reversed(device.asked)}
        times = sorted(first.values())
        assert len(times) >= 4
        assert all(b - a >= 3.0 for a, b in pairwise(times))
        assert (await door.record())["firmware"] == "1.4.2"


@virtual
async def test_no_repetition_leaves_after_the_window() -> None:
    """A request late in the window is not repeated into the device's sleep, but asked again next time."""
    async with door_and_device() as (door, device):
        await settled(device, "Q")
        began = now()
        await asyncio.sleep(WINDOW - 15)
        device.asleep = True
        operation = await door.service.request_report(ACCOUNT_ID, IMEI)
        await asyncio.sleep(1000)
        assert len(device.asked) >= 2
        assert all(when <= began + WINDOW for when, _ in device.asked)
        assert await outcome(door, operation) is None

        device.asleep = False
        device.asked.clear()
        await device.update()
        await asyncio.sleep(5)
        assert device.paths == ["/3/0/3"]
        assert await outcome(door, operation) == "done"


@virtual
async def test_a_silent_device_in_its_window_is_asleep_at_once() -> None:
    async with door_and_device() as (door, device):
        await settled(device, "Q")
        device.ignores = True
        await door.service.request_report(ACCOUNT_ID, IMEI)
        await asyncio.sleep(WINDOW)
        device.asked.clear()
        await door.service.request_report(ACCOUNT_ID, IMEI)
        await asyncio.sleep(1000)
        assert device.asked == []
        assert (await device.update()).code == codes.CHANGED  # the registration stands


@virtual
async def test_two_timeouts_in_a_row_are_a_device_that_sleeps() -> None:
    async with door_and_device() as (door, device):
        await settled(device)
        device.asleep = True
        operations = []
        for expected in (5, 5, 0, 0):  # a request and four repetitions, then silence
            device.asked.clear()
            operations.append(await door.service.request_report(ACCOUNT_ID, IMEI))
            await asyncio.sleep(300)
            assert len(device.asked) == expected
        device.asleep = False
        await device.update()
        await asyncio.sleep(5)
        assert device.paths == ["/3/0/3"]
        assert [await outcome(door, each) for each in operations] == ["done"] * 4


@pytest.mark.parametrize("queries", [("lt=3600",), ("b=U",), ()])
def test_what_was_learned_of_its_sleep_outlives_updates(queries: tuple[str, ...]) -> None:
    @virtual
    async def learned() -> None:
        async with door_and_device() as (door, device):
            await settled(device)
            device.asleep = True
            for _ in range(2):
                await door.service.request_report(ACCOUNT_ID, IMEI)
                await asyncio.sleep(300)
            device.asleep = False
            await device.update(*queries)
            await asyncio.sleep(WINDOW + 10)
            device.asked.clear()
            await door.service.request_report(ACCOUNT_ID, IMEI)
            await asyncio.sleep(300)
            assert device.asked == []

    learned()


@virtual
async def test_a_device_that_answers_nothing_keeps_its_work() -> None:
    async with door_and_device() as (door, device):
        device.ignores = True
        await device.register()
        await asyncio.sleep(DAY / 2)
        assert set(device.paths) == {"/3/0"}
        assert "make" not in await door.record()
        device.ignores = False
        await device.update()
        await asyncio.sleep(5)
        record = await door.record()
        assert (record["make"], record["firmware"]) == ("ACME", "1.4.2")


@virtual
async def test_an_update_while_requests_get_lost_has_them_asked_again() -> None:
    """The Update falls between the last repetition and the timeout; without it the work would wait a day."""
    async with door_and_device() as (door, device):
        device.ignores = True
        await device.register(queries=["Q"])
        await asyncio.sleep(48)
        repetitions = len(device.asked)
        assert repetitions == 5
        await device.update()
        device.ignores = False
        await asyncio.sleep(60)
        assert len(device.asked) > repetitions
        assert (await door.record())["firmware"] == "1.4.2"


@virtual
async def test_notifications_and_sends_wake_the_queue() -> None:
    """Spec lwm2m.md, section 4.1: reachable from any received message on."""
    async with door_and_device() as (door, device):
        await settled(device, "Q")
        send = device.message(codes.POST, ["dp"], (), b'[{"n":"/3/0/9","v":50}]', 110)
        for message in ("notify", "send"):
            await asyncio.sleep(WINDOW + 10)
            operation = await door.service.request_report(ACCOUNT_ID, IMEI)
            await asyncio.sleep(1000)
            assert device.asked == []
            if message == "notify":
                device.notify(device.tokens[3, 0, 3], b"1.4.2")
            else:
                device.send(send)
            await asyncio.sleep(5)
            assert device.paths == ["/3/0/3"]
            assert await outcome(door, operation) == "done"
            device.asked.clear()


@virtual
async def test_a_report_of_an_awake_device_comes_at_once() -> None:
    async with door_and_device() as (door, device):
        await settled(device)
        device.values[3, 0, 3] = "1.5.0"
        before = await door.record()
        operation = await door.service.request_report(ACCOUNT_ID, IMEI)
        await asyncio.sleep(2)
        record = await door.record()
        assert record["firmware"] == "1.5.0"
        assert record["refreshTime"] > before["refreshTime"]
        assert await outcome(door, operation) == "done"
        assert all(message.observe is None for _, message in device.asked)


@virtual
async def test_a_device_that_refuses_a_report_has_answered() -> None:
    async with door_and_device() as (door, device):
        await settled(device)
        device.refusals[3, 0, 3] = codes.NOT_FOUND
        operation = await door.service.request_report(ACCOUNT_ID, IMEI)
        await asyncio.sleep(5)
        assert await outcome(door, operation) == "refused"


@virtual
async def test_the_list_of_one_device_is_bounded() -> None:
    limits = Limits(operations_per_device=4)
    async with open_door(limits=limits) as door:
        await door.add()
        with devices(door) as (device,):
            await settled(device, "Q")
            await asyncio.sleep(WINDOW + 1)
            operations = [await door.service.request_report(ACCOUNT_ID, IMEI) for _ in range(10)]
            await asyncio.sleep(1)
            assert [await outcome(door, each) for each in operations] == ["superseded"] * 6 + [None] * 4
            await device.update()
            await asyncio.sleep(5)
            assert [await outcome(door, each) for each in operations[6:]] == ["done"] * 4


@virtual
async def test_many_requests_in_one_turn_keep_within_the_bound() -> None:
    async with open_door(limits=Limits(operations_per_device=4)) as door:
        await door.add()
        with devices(door) as (device,):
            await settled(device, "Q")
            await asyncio.sleep(WINDOW + 1)
            operations = await asyncio.gather(
                *(door.service.request_report(ACCOUNT_ID, IMEI) for _ in range(40))
            )
            await asyncio.sleep(1)
            outcomes = [await outcome(door, each) for each in operations]
            assert outcomes == ["superseded"] * 36 + [None] * 4
            assert len(await door.store.open_operations()) == 4


@virtual
async def test_superseded_while_it_is_being_asked() -> None:
    async with open_door(limits=Limits(operations_per_device=2)) as door:
        await door.add()
        with devices(door, delay_seconds=3.0) as (device,):
            await device.register()
            await asyncio.sleep(30)
            device.asked.clear()
            operations = []
            for _ in range(4):
                operations.append(await door.service.request_report(ACCOUNT_ID, IMEI))
                await asyncio.sleep(1)
            await asyncio.sleep(30)
            assert [await outcome(door, each) for each in operations] == ["superseded"] * 2 + ["done"] * 2
            assert await door.store.open_operations() == []


@virtual
async def test_operations_expire_after_seven_days() -> None:
    async with door_and_device() as (door, device):
        await device.register(lifetime=0, queries=["Q"])
        await asyncio.sleep(WINDOW + 10)
        device.asked.clear()
        old = await door.service.request_report(ACCOUNT_ID, IMEI)
        await asyncio.sleep(3 * DAY)
        young = await door.service.request_report(ACCOUNT_ID, IMEI)
        await asyncio.sleep(4 * DAY - 120)
        assert await outcome(door, old) is None
        await asyncio.sleep(240)
        assert await outcome(door, old) == "expired"
        assert await outcome(door, young) is None
        await device.update()
        await asyncio.sleep(5)
        assert await outcome(door, young) == "done"
        assert device.paths == ["/3/0/3"]


@virtual
async def test_operations_outlive_the_registration() -> None:
    async with door_and_device() as (door, device):
        operation = await door.service.request_report(ACCOUNT_ID, IMEI)
        await settled(device)
        assert await outcome(door, operation) == "done"
        await device.deregister()
        operation = await door.service.request_report(ACCOUNT_ID, IMEI)
        await asyncio.sleep(DAY)
        assert device.asked == []
        await device.register()
        await asyncio.sleep(5)
        assert await outcome(door, operation) == "done"


@virtual
async def test_only_so_many_devices_are_asked_at_once() -> None:
    async with open_door(limits=Limits(refreshes_at_once=2)) as door:
        for imei in imeis(6):
            await door.add(imei)
        with devices(door, 6, delay_seconds=5.0) as fleet:
            await asyncio.gather(*(device.register() for device in fleet))
            await asyncio.sleep(4)
            assert sum(bool(device.asked) for device in fleet) == 2
            await asyncio.sleep(200)
            for device in fleet:
                assert (await door.record(device.imei))["firmware"] == "1.4.2"


@virtual
async def test_a_device_whose_turn_comes_too_late_is_left_asleep() -> None:
    async with open_door(limits=Limits(refreshes_at_once=1, awake_seconds=20)) as door:
        for imei in imeis(2):
            await door.add(imei)
        with devices(door, 2) as (slow, waiting):
            slow.ignores = True
            await slow.register()  # does not say that it sleeps: it is asked for as long as a minute
            await waiting.register(queries=["Q"])
            await asyncio.sleep(1000)
            assert waiting.asked == []
            await waiting.update()
            await asyncio.sleep(5)
            assert (await door.record(waiting.imei))["firmware"] == "1.4.2"


@virtual
async def test_a_window_that_ends_before_the_first_request() -> None:
    async with open_door(limits=Limits(awake_seconds=0.05)) as door:
        await door.add()
        with devices(door) as (device,):
            await device.register(queries=["Q"])
            await asyncio.sleep(100)
            assert device.asked == []


@virtual
async def test_a_long_answer_keeps_the_window_open() -> None:
    """Each block is a sign of life, however long all of them take."""
    async with open_door(limits=Limits(awake_seconds=10)) as door:
        await door.add()
        with devices(door, delay_seconds=1.5, block_bytes=16) as (device,):
            device.values[3, 0, 2] = "serial number " * 15
            await device.register(queries=["Q"])
            await asyncio.sleep(300)
            assert len([message for _, message in device.asked if message.block2]) > 10
            assert (await door.record())["firmware"] == "1.4.2"
            assert (await door.record())["fotaEligible"] is True
