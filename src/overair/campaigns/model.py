"""Campaigns and their rows: one for each device that a campaign was to reach (spec lifecycle.md).

The words here are those of no API version: :mod:`overair.campaigns.texts` says them in version 3's.
Times are UTC epoch milliseconds; days are whole days since 1970-01-01, UTC.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, Protocol

import msgspec

Kind = Literal["firmware", "software", "file"]
Version = Literal["v1", "v2", "v3"]


class CampaignStatus(StrEnum):
    """Where a campaign stands; the table is in :mod:`overair.campaigns.states`."""

    PENDING = "CampaignRequestPending"
    REQUEST_FAILED = "CampaignRequestFailed"
    QUEUED = "CampaignRequestQueued"
    PRE_SCHEDULED = "CampaignPreScheduled"
    SCHEDULED = "CampaignScheduled"
    ENDED = "CampaignEnded"
    CANCELLED = "CampaignCancelled"
    ABORTED = "CampaignAborted"
    FAILED = "CampaignFailed"


class RowStatus(StrEnum):
    """Where one device of a campaign stands."""

    UNCHECKED = "unchecked"
    WAITING = "waiting"
    """Accepted; the device has not been heard."""
    REACHABLE = "reachable"
    PENDING = "pending"
    """Waits for its window, for a free place or for the next attempt."""
    REFUSED = "refused"
    """The service itself could not begin: its package is missing."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    ABORTED = "aborted"


class Window(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Hours of the day, UTC: ``start_hour <= hour < end_hour``."""

    start_hour: int
    end_hour: int


class NewCampaign(msgspec.Struct, frozen=True, kw_only=True):
    """What an owner asks for. *device_ids* as they came: those that are no IMEI are rejected one by one."""

    version: Version
    name: str | None
    package_name: str
    version_from: str
    version_to: str
    start_day: int
    end_day: int
    windows: tuple[Window, ...]
    device_ids: tuple[str, ...]
    auto_assign: bool = False
    auto_add: bool = False


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign as it stands. What it brings is copied from its package, which may go."""

    id: int
    uuid: str
    account_id: int
    version: Version
    name: str | None
    package_id: str
    package_name: str
    kind: Kind
    version_from: str
    version_to: str
    make: str
    model: str
    protocol: str
    start_day: int
    end_day: int
    windows: tuple[Window, ...]
    auto_assign: bool
    auto_add: bool
    status: CampaignStatus
    created_ms: int
    changed_ms: int
    """When the status last changed."""
    auto_add_ms: int | None
    """When devices are to be added next; None: never."""
    auto_add_after: int
    """The device after which a round of adding goes on; -1 at its beginning."""
    open_rows: int
    """Accepted devices that have not come to an end."""
    closed_ms: int | None
    """When the last device of a campaign that is over was let go."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One device of a campaign."""

    campaign_id: int
    imei: int
    status: RowStatus
    detail: str | None
    """Why it was rejected or failed."""
    tries: int
    """How often the device was looked for in vain."""
    attempts: int
    """How many attempts have begun; the number of the one that runs."""
    updated_ms: int
    recent_ms: int | None
    """When the last attempt began."""
    next_ms: int | None
    """When the engine looks at it next; while an attempt runs, when that is over at the latest."""
    not_before_ms: int | None
    """When the next attempt may begin at the earliest, after one that failed."""


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that a driver is to make. *progress* is the driver's own, as it stored it last."""

    campaign_id: int
    imei: int
    attempt: int
    account_id: int
    package_id: str
    package_name: str
    kind: Kind
    make: str
    model: str
    version_from: str
    version_to: str
    windows: tuple[Window, ...]
    end_ms: int
    """When the campaign is over; nothing new is begun with the device from then on."""
    deadline_ms: int
    progress: bytes | None


class Driver(Protocol):
    """Brings what a campaign says to devices of one protocol; told what to do by the engine.

    What comes of it, the driver tells :class:`overair.campaigns.service.Attempts`.
    """

    def ready(self, imei: int) -> bool:
        """Whether an attempt could begin right now: the device is there, awake, and there is room."""
        ...

    def begin(self, assignment: Assignment) -> None:
        """Make an attempt, or go on with one that a restart interrupted."""
        ...

    def stop(self, imei: int) -> None:
        """Give up the device's attempt as far as that is still possible."""
        ...


class MemberChange(msgspec.Struct, frozen=True):
    """What became of one device that was to be added or removed; *reason* says why it could not."""

    device_id: str
    reason: str | None


class CampaignPage(msgspec.Struct, frozen=True):
    """Campaigns with a status, ids ascending."""

    campaigns: Sequence[Campaign]
    more: bool


class RowPage(msgspec.Struct, frozen=True):
    """Rows of a campaign, IMEIs ascending. *strays* come with the last page: ids that are no IMEI."""

    campaign: Campaign
    total: int
    rows: Sequence[Row]
    strays: Sequence[str]
    more: bool


class HistoryRow(msgspec.Struct, frozen=True):
    """A campaign that a device came to an end with."""

    campaign: Campaign
    row: Row


class CampaignError(Exception):
    """A request about campaigns can't be met; the message says why."""


class UnknownCampaign(CampaignError):
    """The account has no such campaign."""


class UnknownPackage(CampaignError):
    """The account has no such package, or it is not offered, or its versions are others."""


class DateRefused(CampaignError):
    """A date breaks a rule; *field* is ``start``, ``end`` or ``windows``."""

    def __init__(self, field: Literal["start", "end", "windows"], rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field


class AlreadyStarted(CampaignError):
    """The campaign has started: that can't be done any more."""


class NotStarted(CampaignError):
    """The campaign has not started: it can be cancelled, and need not be aborted."""


class AlreadyEnded(CampaignError):
    """The campaign is over."""


class NotEnoughLicenses(CampaignError):
    """The account has no subscription under which devices could be upgraded."""


class TooManyDevices(CampaignError):
    """More devices than one request may name; *limit* says how many it may."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} devices")
        self.limit = limit
