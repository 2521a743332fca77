"""What the handlers of this door call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from overair.accounts.service import AccountService
from overair.devices.model import DevicePage, FirmwareReading
from overair.platform.limits import Limits


class Devices(Protocol):
    """The part of :class:`overair.devices.service.DeviceService` that owners reach through this door."""

    async def page(self, account_id: int, protocol: str | None, after: str | None) -> DevicePage: ...

    async def look_up(self, account_id: int, imeis: Sequence[str], protocol: str | None) -> list[bytes]: ...

    async def synchronise_firmware(self, account_id: int, imeis: Sequence[str]) -> list[FirmwareReading]: ...

    async def request_report(self, account_id: int, imei: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Services:
    """The domain, as the door was given it."""

    accounts: AccountService
    devices: Devices
    limits: Limits
