"""What the handlers of this door call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from overair.accounts.model import Account
from overair.accounts.service import AccountService
from overair.callbacks.model import Listener
from overair.campaigns.model import (
    Campaign,
    CampaignPage,
    CampaignStatus,
    HistoryRow,
    MemberChange,
    NewCampaign,
    RowPage,
    Version,
    Window,
)
from overair.devices.model import DevicePage, FirmwareReading
from overair.licenses.model import Assigned, Counters, LicensePage, Removed
from overair.packages.model import Package
from overair.platform.limits import Limits


class Devices(Protocol):
    """The part of :class:`overair.devices.service.DeviceService` that owners reach through this door."""

    async def page(self, account_id: int, protocol: str | None, after: str | None) -> DevicePage: ...

    async def look_up(self, account_id: int, imeis: Sequence[str], protocol: str | None) -> list[bytes]: ...

    async def synchronise_firmware(self, account_id: int, imeis: Sequence[str]) -> list[FirmwareReading]: ...

    async def request_report(self, account_id: int, imei: str) -> str: ...


class Licenses(Protocol):
    """The part of :class:`overair.licenses.service.LicenseService` that owners reach through this door."""

    async def page(self, account_id: int, after: str | None) -> LicensePage: ...

    async def assign(self, account: Account, imeis: Sequence[str]) -> Assigned: ...

    async def remove(self, account: Account, imeis: Sequence[str]) -> Removed: ...

    async def counters(self, account_id: int) -> Counters: ...


class Campaigns(Protocol):
    """The part of :class:`overair.campaigns.service.CampaignService` that owners reach through this door."""

    async def schedule(self, account: Account, asked: NewCampaign) -> Campaign: ...

    async def campaign(self, account_id: int, uuid: str) -> Campaign: ...

    async def add_devices(
        self, account: Account, uuid: str, device_ids: Sequence[str]
    ) -> list[MemberChange]: ...

    async def remove_devices(
        self, account: Account, uuid: str, device_ids: Sequence[str]
    ) -> list[MemberChange]: ...

    async def change_dates(
        self, account_id: int, uuid: str, start_day: int, end_day: int, windows: Sequence[Window]
    ) -> Campaign: ...

    async def cancel(self, account_id: int, uuid: str) -> None: ...

    async def by_status(
        self, account_id: int, version: Version, status: CampaignStatus, after: str
    ) -> CampaignPage: ...

    async def rows(self, account_id: int, uuid: str, after: int) -> RowPage: ...

    async def history(self, account_id: int, imei: int, version: Version) -> list[HistoryRow]: ...


class Packages(Protocol):
    """The part of :class:`overair.packages.service.PackageService` that owners reach through this door."""

    async def offered(self, account_id: int, protocol: str | None) -> list[Package]: ...


class Callbacks(Protocol):
    """The part of :class:`overair.callbacks.service.CallbackService` that owners reach through this door."""

    async def register(self, account_id: int, version: Version, url: str | None) -> Listener: ...

    async def listener(self, account_id: int, version: Version) -> Listener | None: ...

    async def deregister(self, account_id: int, version: Version) -> None: ...


@dataclass(frozen=True, slots=True)
class Services:
    """The domain, as the door was given it."""

    accounts: AccountService
    devices: Devices
    limits: Limits
    licenses: Licenses | None = None
    campaigns: Campaigns | None = None
    packages: Packages | None = None
    callbacks: Callbacks | None = None
