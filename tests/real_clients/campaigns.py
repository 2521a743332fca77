"""Campaigns as an owner sees them through the public SDK; it blocks, so every call runs in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
from verizon.models.campaign_firmware_upgrade import CampaignFirmwareUpgrade
from verizon.models.device_imei import DeviceIMEI
from verizon.verizon_client import VerizonClient

from overair.cli.demo_owner import Owner
from overair.doors.operator.token import operator_token

from ..running import ACCOUNT, Service

DEADLINE_SECONDS = 40.0
"""For a campaign of a few devices on a busy machine; the engine looks every five seconds by itself."""
OVER = ("CampaignEnded", "CampaignRequestFailed", "CampaignFailed", "CampaignCancelled")


@dataclass
class Campaigns:
    """What an account does with campaigns."""

    sdk: VerizonClient

    async def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call the SDK and return the body of the answer."""
        return (await asyncio.to_thread(method, *arguments)).body

    async def schedule(
        self, firmware: Any, imeis: Sequence[str], start: int = 0, days: int = 2, **said: Any
    ) -> Any:
        """Schedule a campaign with one of the listed firmware, *start* days from today."""
        asked = CampaignFirmwareUpgrade(
            firmware_name=firmware.firmware_name,
            firmware_from=firmware.firmware_from,
            firmware_to=firmware.firmware_to,
            protocol="LWM2M",
            start_date=day(start),
            end_date=day(start + days),
            device_list=list(imeis),
            **{"auto_assign_license_flag": False, "auto_add_devices_flag": False, **said},
        )
        return await self.call(self.sdk.campaigns_v3.schedule_campaign_firmware_upgrade, ACCOUNT, asked)

    async def status(self, campaign_id: str) -> str:
        info = await self.call(self.sdk.campaigns_v3.get_campaign_information, ACCOUNT, campaign_id)
        return str(info.status)

    async def until_over(self, campaign_id: str) -> str:
        """Return the status that a campaign ends with."""
        return await self.until(lambda: self.status(campaign_id), lambda status: status in OVER)

    async def rows(self, campaign_id: str) -> dict[str, Any]:
        """Return where each device of a campaign stands, by IMEI."""
        report = self.sdk.software_management_reports_v3.get_campaign_device_status
        found: dict[str, Any] = {}
        cursor = "0"
        while True:
            page = await self.call(report, ACCOUNT, campaign_id, cursor)
            found |= {row.device_id: row for row in page.device_list}
            assert page.max_page_size == 1000
            if not page.has_more_data:
                assert page.total_device == len(found)
                return found
            cursor = page.last_seen_device_id

    async def record(self, imei: str) -> Any:
        """Return the V3Device of a device."""
        look_up = self.sdk.account_devices.list_account_devices_information
        (record,) = (await self.call(look_up, ACCOUNT, DeviceIMEI([imei]))).device_list
        return record

    async def firmware(self, **fields: str) -> Any:
        """Return the one firmware on offer with these fields."""
        offered = await self.call(self.sdk.firmware_v3.list_available_firmware, ACCOUNT, "LWM2M")
        (found,) = [
            each for each in offered if all(getattr(each, name) == value for name, value in fields.items())
        ]
        return found

    async def until(self, look: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
        """Look until it holds; returns what was seen then."""
        seen = None
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not holds(seen := await look()):
                    pass
        except TimeoutError:
            raise AssertionError(f"it never came to that: {seen!r}") from None
        return seen


def day(offset: int) -> Any:
    """Return a date so many days from now."""
    return (datetime.now(UTC) + timedelta(days=offset)).date()


async def add_firmware(service: Service, image: bytes, make: str, model: str, old: str, new: str) -> str:
    """Upload firmware as its operator does; returns its name."""
    token = await asyncio.to_thread(operator_token, service.data, {})
    async with httpx2.AsyncClient(base_url=service.http) as client:
        return await Owner(client, ACCOUNT, token).upload(image, make, model, old, new)
