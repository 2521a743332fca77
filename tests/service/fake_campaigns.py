"""A campaigns service that answers from what a test gives it, for tests of the door alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from overair.accounts.model import Account
from overair.campaigns.model import (
    Campaign,
    CampaignPage,
    CampaignStatus,
    HistoryRow,
    MemberChange,
    NewCampaign,
    Row,
    RowPage,
    RowStatus,
    UnknownCampaign,
    Version,
    Window,
)

UUID = "5d2f9c1e-8b1a-4f6e-9a57-0f1c2f6b7d10"
START_DAY = 20276  # 2025-07-07

# What only the engine asks for stays None.
CAMPAIGN = Campaign(
    **dict.fromkeys(Campaign.__struct_fields__)  # type: ignore[arg-type]
    | {
        "id": 7,
        "uuid": UUID,
        "account_id": 1,
        "version": "v3",
        "name": "AT-410 July rollout",
        "package_name": "AcmeTelematics_AT-410_AT410-1.4.2_AT410-1.5.0",
        "version_from": "AT410-1.4.2",
        "version_to": "AT410-1.5.0",
        "make": "Acme Telematics",
        "model": "AT-410",
        "protocol": "LWM2M",
        "start_day": START_DAY,
        "end_day": START_DAY + 14,
        "windows": (Window(1, 5),),
        "auto_assign": True,
        "auto_add": False,
        "status": CampaignStatus.PENDING,
    }
)
"""The campaign of the published samples."""


def row(imei: int, status: RowStatus = RowStatus.WAITING, **fields: object) -> Row:
    """Return a row of :data:`CAMPAIGN`."""
    usual = {"campaign_id": 7, "imei": imei, "status": status, "tries": 0, "updated_ms": 1_751_846_400_000}
    return Row(**dict.fromkeys(Row.__struct_fields__) | usual | fields)  # type: ignore[arg-type]


@dataclass
class FakeCampaigns:
    """Campaigns by UUID; ``calls`` is what the door asked for; ``broken`` is raised instead of an answer."""

    campaigns: dict[str, Campaign] = field(default_factory=lambda: {UUID: CAMPAIGN})
    changes: list[MemberChange] = field(default_factory=list)
    statuses: list[Row] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    past: list[HistoryRow] = field(default_factory=list)
    page_size: int = 1000
    calls: list[tuple[object, ...]] = field(default_factory=list)
    broken: Exception | None = None

    async def schedule(self, account: Account, asked: NewCampaign) -> Campaign:
        self._called("schedule", account.id, asked)
        return CAMPAIGN

    async def campaign(self, account_id: int, uuid: str) -> Campaign:
        self._called("campaign", account_id, uuid)
        return self._known(uuid)

    async def add_devices(self, account: Account, uuid: str, device_ids: Sequence[str]) -> list[MemberChange]:
        self._called("add_devices", account.id, uuid, list(device_ids))
        return self.changes

    async def remove_devices(
        self, account: Account, uuid: str, device_ids: Sequence[str]
    ) -> list[MemberChange]:
        self._called("remove_devices", account.id, uuid, list(device_ids))
        return self.changes

    async def change_dates(
        self, account_id: int, uuid: str, start_day: int, end_day: int, windows: Sequence[Window]
    ) -> Campaign:
        self._called("change_dates", account_id, uuid, start_day, end_day, tuple(windows))
        return self._known(uuid)

    async def cancel(self, account_id: int, uuid: str) -> None:
        self._called("cancel", account_id, uuid)

    async def by_status(
        self, account_id: int, version: Version, status: CampaignStatus, after: str
    ) -> CampaignPage:
        self._called("by_status", account_id, version, status, after)
        rest = sorted(uuid for uuid, one in self.campaigns.items() if uuid > after and one.status == status)
        shown = [self.campaigns[uuid] for uuid in rest[: self.page_size]]
        return CampaignPage(shown, len(rest) > len(shown))

    async def rows(self, account_id: int, uuid: str, after: int) -> RowPage:
        self._called("rows", account_id, uuid, after)
        campaign = self._known(uuid)
        rest = [one for one in self.statuses if one.imei > after]
        shown = rest[: self.page_size]
        more = len(rest) > len(shown)
        total = len(self.statuses) + len(self.strays)
        return RowPage(campaign, total, shown, [] if more else self.strays, more)

    async def history(self, account_id: int, imei: int, version: Version) -> list[HistoryRow]:
        self._called("history", account_id, imei, version)
        return self.past

    def _known(self, uuid: str) -> Campaign:
        if uuid not in self.campaigns:
            raise UnknownCampaign(f"campaign {uuid} is not known to the account")
        return self.campaigns[uuid]

    def _called(self, *call: object) -> None:
        self.calls.append(call)
        if self.broken is not None:
            raise self.broken
