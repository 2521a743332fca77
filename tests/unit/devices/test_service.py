"""The use cases, on the in-memory store and a clock that stands still."""

import asyncio
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from overair.devices.memory import MemoryDeviceStore
from overair.devices.model import (
    AddRefused,
    Admitted,
    DeviceError,
    FirmwareReading,
    Operation,
    Provisioning,
    Registration,
    Report,
    UnknownDevice,
)
from overair.devices.service import DeviceService
from overair.platform.clock import VirtualClock
from overair.platform.limits import Limits

MINE, OTHER = 1, 2
A, B, C = "490154203237518", "490154203237526", "490154203237534"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store() -> MemoryDeviceStore:
    return MemoryDeviceStore()


@pytest.fixture
def service(store: MemoryDeviceStore, clock: VirtualClock) -> DeviceService:
    return DeviceService(store, clock, Limits(page_size=2))


def registration(imei: str, now_ms: int) -> Registration:
    return Registration(
        int(imei), 0, "abcd1234", "e", "10.0.0.1", 5683, 60, "1.1", "U", True, b"", b"", b"", now_ms, now_ms
    )


async def register(service: DeviceService, imei: str, now_ms: int) -> Any:
    waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    service.register(registration(imei, now_ms), waiter.set_result)
    return await waiter


async def test_a_page_follows_the_last_one(service: DeviceService) -> None:
    await service.add(MINE, [Provisioning(int(imei)) for imei in (C, A, B)])
    first = await service.page(MINE, None, None)
    assert (len(first.documents), first.last, first.more) == (2, B, True)
    second = await service.page(MINE, None, first.last)
    assert (len(second.documents), second.last, second.more) == (1, C, False)
    with pytest.raises(DeviceError, match="IMEI"):
        await service.page(MINE, None, "12")


async def test_a_look_up_answers_each_in_the_order_asked(service: DeviceService) -> None:
    await service.add(MINE, [Provisioning(int(A)), Provisioning(int(C))])
    await service.add(OTHER, [Provisioning(int(B))])
    rows = [msgspec.json.decode(row) for row in await service.look_up(MINE, [C, B, A])]
    assert [row["deviceId"] for row in rows] == [C, B, A]
    assert [row.get("requestStatus") for row in rows] == [None, "Failure", None]


async def test_adding_is_all_or_nothing(service: DeviceService) -> None:
    await service.add(OTHER, [Provisioning(int(B))])
    with pytest.raises(AddRefused) as refused:
        await service.add(
            MINE, [Provisioning(int(A)), Provisioning(int(B)), Provisioning(int(C), status="?")]
        )
    assert [place for place, _ in refused.value.errors] == [1, 2]
    assert (await service.page(MINE, None, None)).documents == []


async def test_synchronising_moves_the_refresh_time_of_what_is_found(
    service: DeviceService, clock: VirtualClock
) -> None:
    await service.add(MINE, [Provisioning(int(A), firmware="1.0")])
    added_ms = clock.now_ms()
    clock.advance(60)
    assert await service.synchronise_firmware(MINE, [B, A]) == [
        FirmwareReading(B, found=False),
        FirmwareReading(A, found=True, firmware="1.0", changed_ms=added_ms),
    ]
    assert msgspec.json.decode(await service.show(MINE, A))["refreshTime"] == "2026-01-01 00:01:00 +0000 UTC"


async def test_a_report_request_is_kept_and_told_to_the_doors(
    service: DeviceService, clock: VirtualClock
) -> None:
    await service.add(MINE, [Provisioning(int(A))])
    told: list[Operation] = []
    service.on_operation(told.append)
    request_id = await service.request_report(MINE, A)
    assert told == [Operation(request_id, int(A), "report_firmware", clock.now_ms())]
    assert await service.open_operations() == told
    assert await service.request_report(MINE, A) != request_id
    await service.end_operation(request_id, "done")
    assert [operation.id for operation in await service.open_operations()] == [told[1].id]


@pytest.mark.parametrize("account_id", [MINE, OTHER])
async def test_only_ones_own_device_can_be_asked_and_shown(service: DeviceService, account_id: int) -> None:
    if account_id == OTHER:
        await service.add(MINE, [Provisioning(int(A))])
    with pytest.raises(UnknownDevice):
        await service.request_report(account_id, A)
    with pytest.raises(UnknownDevice):
        await service.show(account_id, A)
    assert await service.open_operations() == []


async def test_a_stranger_registers_only_where_an_account_takes_it_in(
    service: DeviceService, store: MemoryDeviceStore, clock: VirtualClock
) -> None:
    assert isinstance(await register(service, A, clock.now_ms()), UnknownDevice)
    welcoming = DeviceService(store, clock, Limits(), enrol_account_id=OTHER)
    outcome = await register(welcoming, A, clock.now_ms())
    assert isinstance(outcome, Admitted)
    assert outcome.registration.account_id == OTHER
    assert [row.imei for row in await welcoming.registrations()] == [int(A)]


async def test_a_report_is_taken_over_at_the_time_of_its_arrival(
    service: DeviceService, clock: VirtualClock
) -> None:
    await service.add(MINE, [Provisioning(int(A))])
    clock.advance(1.5)
    after = await service.report(int(A), Report("LWM2M", firmware="2"))
    assert after.firmware is not None
    assert (after.firmware.value, after.firmware.at_ms) == ("2", clock.now_ms())
    with pytest.raises(UnknownDevice):
        await service.report(int(B), Report("LWM2M"))


async def test_a_report_that_an_operator_should_know_of_is_logged(service: DeviceService) -> None:
    await service.add(MINE, [Provisioning(int(A), mdn="5551234567")])
    with capture_logs() as logged:
        await service.report(int(A), Report("LWM2M", mdn="5550000000"))
    assert [(line["log_level"], line["events"]) for line in logged] == [("warning", ("mdn_mismatch",))]
