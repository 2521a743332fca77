"""The main job: a device that nobody here wrote registers, and the unmodified public SDK reads its record."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from apimatic_core.exceptions.auth_validation_exception import AuthValidationException
from verizon.exceptions.api_exception import APIException
from verizon.exceptions.fota_v3_result_exception import FotaV3ResultException
from verizon.models.device_imei import DeviceIMEI
from verizon.models.firmware_imei import FirmwareIMEI
from verizon.models.session_reset_password_request import SessionResetPasswordRequest
from verizon.verizon_client import VerizonClient

from ..running import ACCOUNT, PASSWORD, Owner, Service, add_device, add_owner, serving
from .conftest import Launch
from .devices import VALUES, leshan
from .sdk import sdk_client, sdk_login

IMEI = "490154203237518"
OTHER_IMEI = "867723030209919"
MDN = "5551234567"
FOREIGN_ACCOUNT = "0742000123-00002"
DEADLINE_SECONDS = 20


@pytest.fixture
async def owner(tmp_path: Path) -> Owner:
    mine = await add_owner(tmp_path)
    await add_device(tmp_path, IMEI, "--mdn", MDN)
    await add_owner(tmp_path, FOREIGN_ACCOUNT, "somebody-else")
    await add_device(tmp_path, OTHER_IMEI, account=FOREIGN_ACCOUNT)
    return mine


@pytest.fixture
async def service(tmp_path: Path, owner: Owner) -> AsyncIterator[Service]:
    async with serving(tmp_path) as running:
        yield running
        print("\n".join(running.log))


@pytest.fixture
async def sdk(service: Service, owner: Owner) -> VerizonClient:
    return await asyncio.to_thread(
        sdk_login, service.http, owner.key, owner.secret, owner.user, owner.password
    )


async def look_up(sdk: VerizonClient, *imeis: str) -> list[Any]:
    call = sdk.account_devices.list_account_devices_information
    answer = await asyncio.to_thread(call, ACCOUNT, DeviceIMEI(list(imeis)))
    assert answer.body.account_name == ACCOUNT
    assert answer.body.device_count == len(imeis)
    return list(answer.body.device_list)


async def record_when(sdk: VerizonClient, firmware: str) -> Any:
    """Return the V3Device as the SDK sees it, as soon as it has that firmware."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            (record,) = await look_up(sdk, IMEI)
            if getattr(record, "firmware", None) == firmware:
                return record


@pytest.mark.real_client("leshan")
async def test_a_device_in_and_its_record_out(service: Service, sdk: VerizonClient, launch: Launch) -> None:
    device = await launch(leshan(service.coap, f"urn:imei:{IMEI}"))
    await device.expect("registered")
    record = await record_when(sdk, VALUES["/3/0/3"])
    assert record.device_id == IMEI
    assert record.mdn == MDN
    assert record.make == VALUES["/3/0/0"]
    assert record.model == VALUES["/3/0/1"]
    assert record.fota_eligible is True
    assert record.status == "Active"
    assert record.license_assigned is False
    assert record.protocol == "LWM2M"
    assert [(item.name, item.version) for item in record.software_list] == [
        (VALUES["/9/0/0"], VALUES["/9/0/1"]),
        ("software", VALUES["/3/0/19"]),
    ]
    assert record.create_time.endswith(" +0000 UTC")
    assert record.refresh_time.endswith(" +0000 UTC")

    listed = await asyncio.to_thread(sdk.account_devices.get_account_device_information, ACCOUNT)
    assert [row.device_id for row in listed.body.device_list] == [IMEI]
    assert listed.body.has_more_data is False
    assert listed.body.last_seen_device_id == IMEI
    assert listed.body.device_list[0].firmware == VALUES["/3/0/3"]

    synchronised = await asyncio.to_thread(
        sdk.firmware_v3.synchronize_device_firmware, ACCOUNT, FirmwareIMEI([IMEI])
    )
    (row,) = synchronised.body.device_firmwar_version_list
    assert (row.device_id, row.firmware_version) == (IMEI, VALUES["/3/0/3"])
    assert row.status == "FirmwareVersionUpdateSuccess"

    before = (await look_up(sdk, IMEI))[0].refresh_time
    asked = await asyncio.to_thread(sdk.firmware_v3.report_device_firmware, ACCOUNT, IMEI)
    assert asked.body.account_name == ACCOUNT
    assert asked.body.request_id
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await look_up(sdk, IMEI))[0].refresh_time == before:
            pass


async def test_what_is_not_there(sdk: VerizonClient) -> None:
    found, unknown, foreign = await look_up(sdk, IMEI, "990099990000014", OTHER_IMEI)
    assert found.protocol == "NONE"
    for row in (unknown, foreign):
        assert (row.request_status, row.result_reason) == ("Failure", "Device not found.")


async def test_errors_are_typed(service: Service, sdk: VerizonClient, owner: Owner) -> None:
    devices = sdk.account_devices
    for account, imeis, code, message in (
        (ACCOUNT, [], "INVALID_PARAMETER", "Device list is empty"),
        (ACCOUNT, ["12"], "INVALID_PARAMETER", "Invalid device id format"),
        ("nonsense", [IMEI], "INVALID_PARAMETER", "Invalid account name format"),
        (FOREIGN_ACCOUNT, [IMEI], "UnifiedWebService.REQUEST_FAILED.AccountName", None),
        ("0000000000-00000", [IMEI], "UnifiedWebService.REQUEST_FAILED.AccountNotFound", None),
    ):
        with pytest.raises(FotaV3ResultException) as caught:
            await asyncio.to_thread(devices.list_account_devices_information, account, DeviceIMEI(imeis))
        assert caught.value.error_code == code
        assert message in (None, caught.value.error_message)

    stranger = sdk_client(service.http, owner.key, "wrong", "3b1d6c0e-7a55-4c1e-9f0a-52f1f9a0c7de")
    with pytest.raises((AuthValidationException, APIException)):
        await asyncio.to_thread(stranger.account_devices.get_account_device_information, ACCOUNT)


async def test_log_out_and_password_reset(service: Service, sdk: VerizonClient, owner: Owner) -> None:
    answer = await asyncio.to_thread(
        sdk.session_management.reset_connectivity_management_password, SessionResetPasswordRequest(PASSWORD)
    )
    again = await asyncio.to_thread(
        sdk_login, service.http, owner.key, owner.secret, owner.user, answer.body.new_password
    )
    assert (await look_up(again, IMEI))[0].device_id == IMEI
    await asyncio.to_thread(sdk.session_management.end_connectivity_management_session)
    with pytest.raises(FotaV3ResultException) as caught:
        await look_up(sdk, IMEI)
    assert caught.value.error_code == "UnifiedWebService.REQUEST_FAILED.SessionToken.Expired"
    assert (await look_up(again, IMEI))[0].device_id == IMEI
