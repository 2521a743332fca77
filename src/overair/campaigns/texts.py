"""Rows in the words of API v3: statuses and the sentences that go with them (spec lifecycle.md, 3.3)."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from overair.campaigns.model import Row, RowStatus
from overair.campaigns.rules import SLOT_MS

R = RowStatus

V3_STATUS: dict[RowStatus, str] = {
    R.UNCHECKED: "NoDeviceDataFromNetwork",
    R.WAITING: "NoDeviceDataFromNetwork",
    R.REACHABLE: "ReceivedDeviceDataFromNetwork",
    R.PENDING: "UpgradePending",
    R.REFUSED: "RequestToFotaServerFailed",
    R.RUNNING: "UpgradeScheduled",
    R.SUCCEEDED: "UpgradeSuccess",
    R.FAILED: "UpgradeFailed",
    R.REJECTED: "DeviceRejected",
    R.CANCELLED: "CampaignCancelled",
    R.ABORTED: "CampaignAborted",
}


def v3_reason(row: Row, tries_limit: int) -> str:
    """Return the ``resultReason`` of a row; *tries_limit*: how often a device is looked for."""
    return _REASONS[row.status](row, tries_limit)


def _waiting(row: Row, tries_limit: int) -> str:
    if row.tries >= tries_limit:
        return (
            "The network does not report this device is reachable, "
            f"no retry available, try count {row.tries}."
        )
    return "The network reports this device is not reachable."


def _reachable(row: Row, _: int) -> str:
    known = "Reachability information received from the network"
    return f"{known}, try count {row.tries}." if row.tries else f"{known}."


def _pending(row: Row, _: int) -> str:
    at = _minute(row.next_ms if row.next_ms is not None else row.updated_ms)
    return f"Upgrade pending, the device upgrade is estimated to be scheduled for {at}"


def _refused(row: Row, _: int) -> str:
    at = _minute(row.next_ms if row.next_ms is not None else row.updated_ms)
    return f"Request to FOTA server failed, estimated retry time on {at}."


def _running(row: Row, _: int) -> str:
    begun_ms = row.recent_ms if row.recent_ms is not None else row.updated_ms
    return (
        f"The upgrade is scheduled to begin on {_minute(begun_ms)}, "
        f"and the estimated completion is {_minute(begun_ms + SLOT_MS)}."
    )


def _failed(row: Row, _: int) -> str:
    return f"Upgrade failed, {row.detail or 'unknown'}"


@lru_cache(maxsize=4096)  # a thousand rows of a page name few minutes
def _minute(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%d %b %y %H:%M UTC")


_REASONS: dict[RowStatus, Callable[[Row, int], str]] = {
    R.UNCHECKED: _waiting,
    R.WAITING: _waiting,
    R.REACHABLE: _reachable,
    R.PENDING: _pending,
    R.REFUSED: _refused,
    R.RUNNING: _running,
    R.SUCCEEDED: lambda _row, _limit: "Upgrade completed successfully",
    R.FAILED: _failed,
    R.REJECTED: lambda row, _limit: row.detail or "Internal Error.",
    R.CANCELLED: lambda _row, _limit: "Campaign canceled by user.",
    R.ABORTED: lambda _row, _limit: "Campaign aborted by user.",
}
