"""Callbacks of API v3: the registration, and the messages that receivers get (spec callbacks.md 1 and 4.3).

Of a message every element is always there; those that its type does not use are empty.
"""

from typing import Annotated

from msgspec import Meta, Struct

from overair.records.fields import MAX_ENTRIES, T2, DeviceId
from overair.records.v3_packages import V3Firmware


class V3CallbackRegistration(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """Where messages are to go (POST and PUT /callbacks/{acc}); one of the two names (quirks.md Q8)."""

    url: Annotated[str | None, Meta(description="http or https")] = None
    callback: Annotated[str | None, Meta(description="Same as url")] = None

    def __post_init__(self) -> None:
        if self.url is None:
            self.url = self.callback
        self.callback = None


class V3CallbackListener(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """Where messages go (/callbacks/{acc}); empty when nothing is registered (quirks.md Q24)."""

    url: str | None = None


class V3CallbackDevice(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """Where one device of a campaign stands."""

    device_id: DeviceId
    status: str
    result_reason: str


class V3CallbackUpgrade(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """A campaign, and those of its devices that the message is about; with no field at all: none."""

    upgrade_id: Annotated[str | None, Meta(description="Same as campaignId")] = None
    campaign_id: str | None = None
    campaign_name: str | None = None
    firmware_name: str | None = None
    firmware_from: str | None = None
    firmware_to: str | None = None
    protocol: str | None = None
    start_date: Annotated[str | None, Meta(description="Date, UTC")] = None
    end_date: Annotated[str | None, Meta(description="Date, UTC")] = None
    status: str | None = None
    device_list: Annotated[list[V3CallbackDevice], Meta(max_length=MAX_ENTRIES)] | None = None


class V3CallbackMessage(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """What a receiver gets for ``newFirmware``, ``upgradeScheduled`` and ``upgradeProgress``."""

    account_name: str
    type: str
    firmware_list: Annotated[list[V3Firmware], Meta(max_length=MAX_ENTRIES)]
    upgrade_scheduled: V3CallbackUpgrade
    upgrade_progress: V3CallbackUpgrade


class V3ReportedDevice(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """What a device that was asked for its firmware reported."""

    device_id: DeviceId
    status: Annotated[str, Meta(description="`FirmwareVersionUpdateSuccess` or `…Failed`")]
    result_reason: Annotated[str, Meta(description="Empty on success")]
    firmware_version: Annotated[str, Meta(description="Empty when unknown")]
    firmware_version_update_time: Annotated[T2 | None, Meta(description="Last change of version")] = None


class V3FirmwareReportMessage(V3CallbackMessage, kw_only=True):
    """What a receiver gets for ``deviceFirmwareReport``."""

    request_id: Annotated[str, Meta(description="As PUT /firmware/{acc}/async/{deviceId} answered it")]
    device_list: Annotated[list[V3ReportedDevice], Meta(max_length=MAX_ENTRIES)]
