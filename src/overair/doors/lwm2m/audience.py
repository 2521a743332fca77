"""Whoever wants to know what devices do, beside the gateway itself."""

from collections.abc import Mapping
from typing import Protocol

from overair.protocols.lwm2m import Path, Value


class Audience(Protocol):
    """Is told as soon as the device has its answer; devices by IMEI."""

    def device_registered(self, imei: int) -> None:
        """The device registered anew: it may have rebooted, and is awake."""
        ...

    def device_heard(self, imei: int) -> None:
        """The device is awake."""
        ...

    def device_said(self, imei: int, values: Mapping[Path, Value]) -> None:
        """The device sent values unasked."""
        ...
