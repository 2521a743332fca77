"""Dates, windows, and which devices are taken into a campaign (spec lifecycle.md, sections 3.2, 4 and 6)."""

from collections.abc import Sequence

from overair.accounts.model import Account
from overair.campaigns.model import Campaign, DateRefused, Kind, Window
from overair.devices.model import Device
from overair.devices.rules import eligible
from overair.licenses.rules import may_upgrade
from overair.platform.clock import DAY_MS

HOUR_MS = 3_600_000
SLOT_MS = 4 * HOUR_MS
"""How long an upgrade is expected to take once it has begun (spec lifecycle.md, section 4)."""
NOTICE_MS = 24 * HOUR_MS
"""A campaign that runs goes on for at least that long after its end was changed."""

# Spec lifecycle.md, section 3.2, in the order in which they are checked.
NOT_FOUND = "Device not found."
BAD_IMEI = "Invalid device IMEI."
NOT_CAPABLE = "Device not eligible for service (not FOTA capable)"
BUSY = (
    "Device scheduled for firmware upgrade previously, "
    "needs to be completed before another upgrade is scheduled."
)
OTHER_VERSION = "Current device software version does not meet software prerequisites."
OTHER_MODEL = "Device make/model does not meet software prerequisites."
NOT_ACTIVE = "Device is not in active state or is not connected."
NO_LICENSE = "Device license not available."
INTERNAL = "Internal Error."


def start_ms(campaign: Campaign) -> int:
    """Return the instant from which devices may be upgraded."""
    return campaign.start_day * DAY_MS


def end_ms(campaign: Campaign) -> int:
    """Return the first instant after the last day."""
    return (campaign.end_day + 1) * DAY_MS


def window_open(windows: Sequence[Window], now_ms: int) -> bool:
    """Whether an upgrade may begin in this hour; without windows, in any."""
    hour = now_ms % DAY_MS // HOUR_MS
    return not windows or any(window.start_hour <= hour < window.end_hour for window in windows)


def next_opening_ms(windows: Sequence[Window], now_ms: int) -> int:
    """Return when a window is open next: now, if one is."""
    if window_open(windows, now_ms):
        return now_ms
    day_ms = now_ms - now_ms % DAY_MS
    starts = [day_ms + window.start_hour * HOUR_MS for window in windows]
    return min(start if start > now_ms else start + DAY_MS for start in starts)


def check_dates(start_day: int, end_day: int, windows: Sequence[Window], now_ms: int) -> None:
    """Raise :class:`DateRefused` for dates that a new campaign, or one before its start, can't have."""
    if start_day < now_ms // DAY_MS:
        raise DateRefused("start", "must not be in the past")
    if end_day < start_day:
        raise DateRefused("end", "must not be before the start")
    check_windows(windows)


def check_windows(windows: Sequence[Window]) -> None:
    """Raise :class:`DateRefused` for hours that no day has, or that end before they begin."""
    for window in windows:
        if not 0 <= window.start_hour < window.end_hour <= 24:
            raise DateRefused("windows", "hours 0 to 24, the start before the end")


def check_new_end(
    campaign: Campaign, start_day: int, end_day: int, windows: Sequence[Window], now_ms: int
) -> None:
    """Raise :class:`DateRefused` for what can't be changed of a campaign that runs (spec api-v3.md, 5.4)."""
    if start_day != campaign.start_day:
        raise DateRefused("start", "the campaign has started")
    if sorted(windows) != sorted(campaign.windows):
        raise DateRefused("windows", "the campaign has started")
    if (end_day + 1) * DAY_MS - 1000 < now_ms + NOTICE_MS:
        raise DateRefused("end", "at least 24 hours from now")


def rejection(
    device: Device | None, campaign: Campaign, account: Account, *, busy: bool, will_be_licensed: bool
) -> str | None:
    """Return why a device is not taken into a campaign; None if it is (section 3.2, in its order).

    *busy*: it is in another unfinished campaign. *will_be_licensed*: it gets a licence by being taken.
    """
    if device is None:
        return NOT_FOUND
    if not eligible(device) or device.protocol != campaign.protocol:
        return NOT_CAPABLE
    if busy:
        return BUSY
    reason = mismatch(device, campaign)
    if reason is None and not may_upgrade(account, device.licensed or will_be_licensed):
        return NO_LICENSE
    return reason


def mismatch(device: Device, campaign: Campaign) -> str | None:
    """Return why a device is not, or no more, what the campaign is for (section 6)."""
    if version_of(device, campaign.kind, campaign.package_name) != campaign.version_from:
        return OTHER_VERSION
    if not _same(device.make, campaign.make) or not _same(device.model, campaign.model):
        return OTHER_MODEL
    return None if device.status == "Active" else NOT_ACTIVE


def version_of(device: Device, kind: Kind, name: str) -> str | None:
    """Return the version that a device reports of what a package replaces."""
    if kind == "firmware":
        return device.firmware.value if device.firmware else None
    entries = device.software if kind == "software" else device.files
    return next((entry.version for entry in entries if entry.name == name), None)


def _same(fact: object, wanted: str) -> bool:
    value = getattr(fact, "value", "")
    return isinstance(value, str) and value.lower() == wanted.lower()
