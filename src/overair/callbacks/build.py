"""The messages of API v3 (spec callbacks.md, sections 3 and 4.3)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from overair.callbacks.model import Message, MessageType
from overair.records import (
    V3CallbackDevice,
    V3CallbackMessage,
    V3CallbackUpgrade,
    V3Firmware,
    V3FirmwareReportMessage,
    V3ReportedDevice,
    encode,
)
from overair.records.fields import MAX_ENTRIES

T = TypeVar("T")

NO_UPGRADE = V3CallbackUpgrade()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """What messages tell of a campaign, in API v3's words; dates as ``2025-07-08``."""

    campaign_id: str
    campaign_name: str | None
    firmware_name: str
    firmware_from: str
    firmware_to: str
    protocol: str
    start_date: str
    end_date: str
    status: str


def upgrade_scheduled(
    account_name: str, upgrade: Upgrade, devices: Sequence[V3CallbackDevice] = ()
) -> list[Message]:
    """Return the messages that a campaign is scheduled: one, or more for more than 1000 devices."""

    def record(shown: V3CallbackUpgrade) -> V3CallbackMessage:
        return V3CallbackMessage(
            account_name=account_name,
            type=MessageType.UPGRADE_SCHEDULED,
            firmware_list=[],
            upgrade_scheduled=shown,
            upgrade_progress=NO_UPGRADE,
        )

    return _about_upgrade(MessageType.UPGRADE_SCHEDULED, upgrade, devices, record)


def upgrade_progress(
    account_name: str, upgrade: Upgrade, devices: Sequence[V3CallbackDevice] = ()
) -> list[Message]:
    """Return the messages that a campaign or its devices changed; *devices* are those that did."""

    def record(shown: V3CallbackUpgrade) -> V3CallbackMessage:
        return V3CallbackMessage(
            account_name=account_name,
            type=MessageType.UPGRADE_PROGRESS,
            firmware_list=[],
            upgrade_scheduled=NO_UPGRADE,
            upgrade_progress=shown,
        )

    return _about_upgrade(MessageType.UPGRADE_PROGRESS, upgrade, devices, record)


def new_firmware(account_name: str, firmware: V3Firmware) -> Message:
    """Return the message that a package can be used by the account."""
    body = V3CallbackMessage(
        account_name=account_name,
        type=MessageType.NEW_FIRMWARE,
        firmware_list=[firmware],
        upgrade_scheduled=NO_UPGRADE,
        upgrade_progress=NO_UPGRADE,
    )
    return Message(MessageType.NEW_FIRMWARE, firmware.firmware_name, (), encode(body))


def firmware_report(account_name: str, request_id: str, device: V3ReportedDevice) -> Message:
    """Return the answer to ``PUT /firmware/{acc}/async/{deviceId}``."""
    body = V3FirmwareReportMessage(
        account_name=account_name,
        type=MessageType.FIRMWARE_REPORT,
        firmware_list=[],
        upgrade_scheduled=NO_UPGRADE,
        upgrade_progress=NO_UPGRADE,
        request_id=request_id,
        device_list=[device],
    )
    imei = device.device_id
    return Message(MessageType.FIRMWARE_REPORT, imei, (int(imei),), encode(body))


def _about_upgrade(
    kind: MessageType,
    upgrade: Upgrade,
    devices: Sequence[V3CallbackDevice],
    record: Callable[[V3CallbackUpgrade], V3CallbackMessage],
) -> list[Message]:
    return [
        Message(
            kind,
            upgrade.campaign_id,
            tuple(int(device.device_id) for device in part),
            encode(record(_shown(upgrade, part))),
        )
        for part in _parts(devices)
    ]


def _shown(upgrade: Upgrade, devices: Sequence[V3CallbackDevice]) -> V3CallbackUpgrade:
    return V3CallbackUpgrade(
        upgrade_id=upgrade.campaign_id,
        campaign_id=upgrade.campaign_id,
        campaign_name=upgrade.campaign_name,
        firmware_name=upgrade.firmware_name,
        firmware_from=upgrade.firmware_from,
        firmware_to=upgrade.firmware_to,
        protocol=upgrade.protocol,
        start_date=upgrade.start_date,
        end_date=upgrade.end_date,
        status=upgrade.status,
        device_list=list(devices),
    )


def _parts(devices: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the devices by the thousand; once nothing where there are none."""
    for start in range(0, max(len(devices), 1), MAX_ENTRIES):
        yield devices[start : start + MAX_ENTRIES]
