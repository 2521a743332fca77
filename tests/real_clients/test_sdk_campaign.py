"""The main job, as an owner does it: firmware for a fleet, with every call of version 3 that the SDK has.

The service, the devices and the SDK are three programs; what the owner reads is compared with what the
devices say. Time is moved to the next day in the middle, so that a campaign for tomorrow begins.
"""

import asyncio
import csv
import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from verizon.exceptions.fota_v3_result_exception import FotaV3ResultException
from verizon.models.firmware_imei import FirmwareIMEI
from verizon.models.fota_v3_callback_registration_request import FotaV3CallbackRegistrationRequest
from verizon.models.v3_add_or_remove_device_request import V3AddOrRemoveDeviceRequest
from verizon.models.v3_change_campaign_dates_request import V3ChangeCampaignDatesRequest
from verizon.models.v3_license_imei import V3LicenseIMEI
from verizon.models.v3_time_window import V3TimeWindow

from overair.simulator import identities, make_image

from ..running import ACCOUNT, PASSWORD, USER, Service, overair, overair_json, serving
from .campaigns import Campaigns, add_firmware, day
from .hook import Hook, hooked
from .sdk import sdk_login

FLEET = list(identities(21))
PROFILE = FLEET[0].profile
MINE = [each.imei for each in FLEET if each.profile is PROFILE]
"""Five devices of the model that there is firmware for."""
FIRST, SECOND, THIRD, FOURTH, FIFTH = MINE
OTHER_MODEL = FLEET[1].imei
UNKNOWN = "990099990000014"
CROWD = [f"9900999800{number:05d}" for number in range(1001)]
"""IMEIs that nobody has: each is rejected, and together with others they fill more than a page."""
NEW = "SR1.3.0.0-11000"
LICENSES = 4
VERSION_REASON = "Current device software version does not meet software prerequisites."
PENDING = ["CampaignRequestPending", "CampaignRequestQueued", "CampaignPreScheduled", "CampaignScheduled"]


@dataclass
class Story:
    """Everybody who takes part."""

    service: Service
    key: dict[str, str]
    hook: Hook
    fleet: asyncio.subprocess.Process
    owner: Campaigns = field(init=False)

    async def log_in(self) -> None:
        """Get a token and a session: those of yesterday are over."""
        key, secret = self.key["key"], self.key["secret"]
        sdk = await asyncio.to_thread(sdk_login, self.service.http, key, secret, USER, PASSWORD)
        self.owner = Campaigns(sdk)

    async def call(self, method: Any, *arguments: Any) -> Any:
        """Call the SDK for the account, and return the body of the answer."""
        return await self.owner.call(method, ACCOUNT, *arguments)

    async def refused(self, method: Any, *arguments: Any) -> str:
        """Call the SDK for something that it must not get; returns the message of its exception."""
        with pytest.raises(FotaV3ResultException) as caught:
            await self.call(method, *arguments)
        assert caught.value.error_code == "INVALID_PARAMETER"
        return str(caught.value.error_message)


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    data = tmp_path / "data"
    await overair_json(
        "account", "add", ACCOUNT, "--licenses", str(LICENSES), "--subscription", "mrc", data=data
    )
    key = await overair_json("key", "add", "--account", ACCOUNT, data=data)
    await overair_json(
        "user", "add", "--account", ACCOUNT, "--name", USER, "--password-stdin", data=data, stdin=PASSWORD
    )
    keys = tmp_path / "keys.csv"
    await _add_fleet(data, keys)
    async with hooked() as hook, serving(data, "--callback-allow-private", "--sandbox") as service:
        async with _simulated(service, keys) as fleet:
            yield Story(service, key, hook, fleet)
        print("\n".join(service.log))


async def _add_fleet(data: Path, keys: Path) -> None:
    with keys.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("imei", "mdn", "protocol", "psk_identity", "psk_key"))
        writer.writerows(
            (each.imei, each.mdn, "lwm2m", each.endpoint, each.imei.rjust(32, "0")) for each in FLEET
        )
    code, _, errors = await overair("device", "import", str(keys), "--account", ACCOUNT, data=data)
    assert code == 0, errors


@asynccontextmanager
async def _simulated(service: Service, keys: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the fleet, whose registrations last longer than the day that is skipped."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "overair", "sim", "lwm2m", "--count", str(len(FLEET)), "--coaps", "--keys",
        str(keys), "--server", f"127.0.0.1:{service.ports['coaps']}", "--lifetime", "2592000", "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_the_whole_story(story: Story) -> None:
    await story.log_in()
    await callbacks(story)
    await firmware(story)
    await licences(story)
    today = await campaign_of_today(story)
    await reports_of_today(story, today)
    future = await campaign_of_tomorrow(story)
    await tomorrow(story, today, future)
    await the_end(story)
    assert story.hook.wrong == []


async def callbacks(story: Story) -> None:
    """Register a URL, change it, and take down its secret."""
    calls = story.owner.sdk.software_management_callbacks_v3
    assert not hasattr(await story.call(calls.list_registered_callbacks), "url")
    url = f"{story.hook.url}/first"
    registered = await story.call(calls.register_callback, FotaV3CallbackRegistrationRequest(url))
    assert registered.url == url
    assert (
        await story.refused(calls.update_callback, FotaV3CallbackRegistrationRequest("ftp://x"))
        == "Invalid url"
    )
    url = f"{story.hook.url}/hook"
    assert (await story.call(calls.update_callback, FotaV3CallbackRegistrationRequest(url))).url == url
    assert (await story.call(calls.list_registered_callbacks)).url == url
    shown = await overair_json("callback", "show", "--account", ACCOUNT, data=story.service.data)
    story.hook.secret = shown["secret"]


async def firmware(story: Story) -> None:
    """Wait for the devices; there is nothing on offer, until there is."""
    sdk = story.owner.sdk
    assert await story.call(sdk.firmware_v3.list_available_firmware, "all") == []

    async def known() -> list[str]:
        listed = await story.call(sdk.account_devices.get_account_device_information)
        return [each.device_id for each in listed.device_list if each.firmware]

    await story.owner.until(known, lambda found: len(found) == len(FLEET))
    image = make_image(PROFILE.make, PROFILE.model, NEW, 30_000)
    name = await add_firmware(story.service, image, PROFILE.make, PROFILE.model, PROFILE.firmware, NEW)
    (offered,) = await story.call(sdk.firmware_v3.list_available_firmware, "LWM2M")
    assert offered.firmware_name == name
    assert (offered.make, offered.model) == (PROFILE.make, PROFILE.model)
    assert (offered.firmware_from, offered.firmware_to) == (PROFILE.firmware, NEW)
    assert offered.protocol == "LWM2M"
    assert offered.release_note is None  # "" (quirks.md Q33)
    told = await story.hook.expect("newFirmware", lambda message: bool(message["firmwareList"]))
    assert [each["firmwareName"] for each in told["firmwareList"]] == [name]

    synchronise = sdk.firmware_v3.synchronize_device_firmware
    rows = (await story.call(synchronise, FirmwareIMEI([FIRST, UNKNOWN]))).device_firmwar_version_list
    assert [(row.device_id, row.firmware_version, row.status) for row in rows] == [
        (FIRST, PROFILE.firmware, "FirmwareVersionUpdateSuccess"),
        (UNKNOWN, None, "FirmwareVersionUpdateFailed"),
    ]


async def licences(story: Story) -> None:
    """Assign some, take one back."""
    sdk, subscription = story.owner.sdk, story.owner.sdk.software_management_subscriptions_v3
    read = sdk.software_management_licenses_v3.get_account_licenses_status
    assign = sdk.software_management_licenses_v3.assign_licenses_to_devices
    remove = sdk.software_management_licenses_v3.remove_licenses_from_devices
    bought = await story.call(subscription.get_account_subscription_status)
    assert (bought.account_name, bought.purchase_type) == (ACCOUNT, "TS-HFOTA-MRC")
    assert bought.license_count == LICENSES
    assert not hasattr(bought, "license_used_count")  # 0 (quirks.md Q33)

    assert (await story.owner.record(FIRST)).license_assigned is False
    given = await story.call(assign, V3LicenseIMEI([FIRST, SECOND, FIRST, UNKNOWN]))
    assert (given.lic_count, given.lic_used_count) == (LICENSES, 2)
    assert [(row.device_id, row.status, row.result_reason) for row in given.device_list] == [
        (FIRST, "LicenseAssignSuccess", "Success"),
        (SECOND, "LicenseAssignSuccess", "Success"),
        (UNKNOWN, "LicenseAssignFailed", "Device not found."),
    ]
    assert (await story.owner.record(FIRST)).license_assigned is True
    again = await story.call(assign, V3LicenseIMEI([FIRST]))
    assert again.device_list[0].result_reason == "Device license preexisting"
    taken = await story.call(remove, V3LicenseIMEI([SECOND, THIRD]))
    assert taken.lic_used_count == 1
    assert [(row.status, row.result_reason) for row in taken.device_list] == [
        ("LicenseRemoveSuccess", "Success"),
        ("LicenseRemoveFailed", "No license attached to device"),
    ]
    summary = await story.call(read)
    assert (summary.total_licenses, summary.assigned_licenses) == (LICENSES, 1)
    assert [row.device_id for row in summary.device_list] == [FIRST]
    assert summary.device_list[0].assignment_time.endswith(" +0000 UTC")


async def campaign_of_today(story: Story) -> str:
    """Schedule a campaign that begins at once, with devices of every kind, and wait for its end."""
    offered = await story.owner.firmware(model=PROFILE.model)
    before = await story.owner.record(FIRST)
    assert not hasattr(before, "status_time")
    everybody = [FIRST, SECOND, OTHER_MODEL, *CROWD]
    campaign = await story.owner.schedule(
        offered, everybody, campaign_name="spring", auto_assign_license_flag=True
    )
    assert (campaign.status, campaign.account_name) == ("CampaignRequestPending", ACCOUNT)
    assert (campaign.make, campaign.model) == (PROFILE.make, PROFILE.model)
    assert (campaign.start_date, campaign.end_date) == (day(0), day(2))
    assert not hasattr(campaign, "campaign_time_window_list")
    assert await story.owner.until_over(campaign.id) == "CampaignEnded"
    info = await story.call(story.owner.sdk.campaigns_v3.get_campaign_information, campaign.id)
    assert (info.id, info.campaign_name, info.status) == (campaign.id, "spring", "CampaignEnded")
    assert (info.auto_assign_license_flag, info.auto_add_devices_flag) == (True, False)

    rows = await story.owner.rows(campaign.id)
    assert set(rows) == set(everybody)
    assert Counter(row.status for row in rows.values()) == {"UpgradeSuccess": 2, "DeviceRejected": 1002}
    assert rows[OTHER_MODEL].result_reason == VERSION_REASON
    assert {rows[imei].result_reason for imei in CROWD} == {"Device not found."}
    for imei in (FIRST, SECOND):
        row, record = rows[imei], await story.owner.record(imei)
        assert row.result_reason == "Upgrade completed successfully"
        begun, ended = row.recent_attempt_time.datetime, row.updated_time.datetime
        assert begun <= ended <= datetime.now(UTC)
        assert not hasattr(row, "next_attempt_time")
        assert (record.firmware, record.license_assigned) == (NEW, True)
        assert record.status_time.endswith(" +0000 UTC")
    return str(campaign.id)


async def reports_of_today(story: Story, campaign_id: str) -> None:
    """Read what became of it, in the reports and from the callbacks."""
    reports, sdk = story.owner.sdk.software_management_reports_v3, story.owner.sdk
    (past,) = await story.call(reports.get_device_firmware_upgrade_history, FIRST)
    assert (past.campaign_id, past.status) == (campaign_id, "UpgradeSuccess")
    assert past.reason == "Upgrade completed successfully"
    assert (past.firmware_from, past.firmware_to) == (PROFILE.firmware, NEW)
    assert past.report_updated_time.endswith(" +0000 UTC")
    for never in (THIRD, OTHER_MODEL):
        assert await story.call(reports.get_device_firmware_upgrade_history, never) == []
    ended = await story.call(reports.get_campaign_history_by_status, "CampaignEnded")
    assert [each.id for each in ended.campaign_list] == [campaign_id]
    assert (ended.has_more_data, ended.last_seen_campaign_id) == (False, campaign_id)
    assert (await story.call(reports.get_campaign_history_by_status, "CampaignScheduled")).campaign_list == []

    cancel = sdk.campaigns_v3.cancel_campaign
    assert await story.refused(cancel, campaign_id) == "Campaign already ended"
    remove = sdk.software_management_licenses_v3.remove_licenses_from_devices
    kept = (await story.call(remove, V3LicenseIMEI([FIRST]))).device_list[0]
    assert kept.result_reason == ("License removal not allowed for devices that have ever upgraded firmware.")


async def campaign_of_tomorrow(story: Story) -> str:
    """Schedule for tomorrow, and change everything about it; cancel another one."""
    calls = story.owner.sdk.campaigns_v3
    offered = await story.owner.firmware(model=PROFILE.model)
    campaign = await story.owner.schedule(
        offered, [THIRD], start=1, campaign_time_window_list=[V3TimeWindow(0, 6)],
        auto_assign_license_flag=True,
    )  # fmt: skip
    assert [(each.start_time, each.end_time) for each in campaign.campaign_time_window_list] == [(None, 6)]
    await story.owner.until(
        lambda: story.owner.status(campaign.id), lambda status: status == "CampaignRequestQueued"
    )
    (waiting,) = (await story.owner.rows(campaign.id)).values()
    assert waiting.status == "NoDeviceDataFromNetwork"
    assert (await story.owner.record(THIRD)).license_assigned is True

    change = calls.update_campaign_firmware_devices
    added = await story.call(
        change, campaign.id, V3AddOrRemoveDeviceRequest("append", [FOURTH, FIFTH, FIRST, UNKNOWN])
    )
    assert (added.account_name, added.campaign_id) == (ACCOUNT, campaign.id)
    assert [(row.device_id, row.status, row.reason) for row in added.device_list] == [
        (FOURTH, "AddDeviceSucceed", "Device added Successfully"),
        (FIFTH, "AddDeviceFailed", "Device license not available."),
        (FIRST, "AddDeviceFailed", VERSION_REASON),
        (UNKNOWN, "AddDeviceFailed", "Device not found."),
    ]
    await _moved(story, campaign.id)
    removed = await story.call(change, campaign.id, V3AddOrRemoveDeviceRequest("remove", [FOURTH, FIFTH]))
    assert [(row.device_id, row.status, row.reason) for row in removed.device_list] == [
        (FOURTH, "RemoveDeviceSucceed", "Device removed Successfully"),
        (FIFTH, "RemoveDeviceFailed", "Device not found."),
    ]
    await _cancelled(story, offered)
    assert (
        await story.call(change, campaign.id, V3AddOrRemoveDeviceRequest("append", [FOURTH]))
    ).device_list[0].status == "AddDeviceSucceed"
    return str(campaign.id)


async def _moved(story: Story, campaign_id: str) -> None:
    """Change days and hours: any of them as long as it has not begun."""
    change = story.owner.sdk.campaigns_v3.update_campaign_dates
    later = V3ChangeCampaignDatesRequest(day(2), day(5), [V3TimeWindow(22, 24)])
    moved = await story.call(change, campaign_id, later)
    assert (moved.start_date, moved.end_date, moved.status) == (day(2), day(5), "CampaignRequestQueued")
    assert [(each.start_time, each.end_time) for each in moved.campaign_time_window_list] == [(22, 24)]
    past = V3ChangeCampaignDatesRequest(day(-1), day(5))
    assert await story.refused(change, campaign_id, past) == "Invalid start date"
    assert (
        await story.refused(change, campaign_id, V3ChangeCampaignDatesRequest(day(3), day(2)))
        == "Invalid end date"
    )
    back = await story.call(change, campaign_id, V3ChangeCampaignDatesRequest(day(1), day(3)))
    assert (back.start_date, back.end_date) == (day(1), day(3))
    assert not hasattr(back, "campaign_time_window_list")


async def _cancelled(story: Story, offered: Any) -> None:
    calls = story.owner.sdk.campaigns_v3
    unwanted = await story.owner.schedule(offered, [FOURTH], start=1, auto_assign_license_flag=True)
    assert (await story.call(calls.cancel_campaign, unwanted.id)).success is True
    assert await story.owner.status(unwanted.id) == "CampaignCancelled"

    async def row() -> tuple[str, str]:
        found = (await story.owner.rows(unwanted.id))[FOURTH]
        return found.status, found.result_reason

    await story.owner.until(row, lambda found: found == ("CampaignCancelled", "Campaign canceled by user."))
    assert await story.refused(calls.cancel_campaign, unwanted.id) == "Campaign already ended"
    assert await story.refused(calls.cancel_campaign, "nonsense") == "Invalid uuid"


async def tomorrow(story: Story, today: str, campaign_id: str) -> None:
    """Have the next day come: the campaign begins, and ends with its devices updated."""
    now = datetime.now(UTC)
    seconds = 86_400 - (now.hour * 3600 + now.minute * 60 + now.second) + 60
    await overair_json(
        "clock", "advance", f"{seconds}s", "--url", story.service.http, data=story.service.data
    )
    await story.log_in()
    for imei in (THIRD, FOURTH):
        await _reported(story, imei)
    # News of devices come a minute apart; it is much later now.
    hook = story.hook
    rejected = {imei: ["DeviceRejected"] for imei in (OTHER_MODEL, *CROWD)}
    updated = {imei: ["UpgradeSuccess"] for imei in (FIRST, SECOND)}
    await hook.expect("upgradeProgress", lambda _: len(hook.devices(today)) == len(rejected) + 2)
    assert hook.statuses(today) == [*PENDING, "CampaignEnded"]
    assert hook.devices(today) == rejected | updated
    assert await story.owner.until_over(campaign_id) == "CampaignEnded"
    rows = await story.owner.rows(campaign_id)
    assert {imei: row.status for imei, row in rows.items()} == dict.fromkeys(
        (THIRD, FOURTH), "UpgradeSuccess"
    )
    for imei in rows:
        assert (await story.owner.record(imei)).firmware == NEW
    await _reported(story, FIFTH)
    await hook.expect("upgradeProgress", lambda _: "CampaignEnded" in hook.statuses(campaign_id))
    assert hook.statuses(campaign_id) == [*PENDING, "CampaignEnded"]


async def _reported(story: Story, imei: str) -> None:
    """Ask a device for its firmware: after a day of silence it counts as unreachable until it is heard."""
    asked = await story.call(story.owner.sdk.firmware_v3.report_device_firmware, imei)
    report = await story.hook.expect(
        "deviceFirmwareReport", lambda message: bool(message["requestId"] == asked.request_id)
    )
    (row,) = report["deviceList"]
    assert (row["deviceId"], row["status"]) == (imei, "FirmwareVersionUpdateSuccess")


async def the_end(story: Story) -> None:
    """Nothing goes to a URL that was deregistered; the devices have what the owner reads."""
    calls = story.owner.sdk.software_management_callbacks_v3
    assert (await story.call(calls.deregister_callback)).success is True
    assert not hasattr(await story.call(calls.list_registered_callbacks), "url")
    records = [await story.owner.record(each.imei) for each in FLEET]
    assert Counter(each.firmware == NEW for each in records) == {True: 4, False: len(FLEET) - 4}
    story.fleet.send_signal(signal.SIGTERM)
    output, errors = await story.fleet.communicate()
    assert story.fleet.returncode == 0, errors.decode()
    said = json.loads(output)
    assert said["firmware"][NEW] == said["updated"] == said["downloads"] == 4
