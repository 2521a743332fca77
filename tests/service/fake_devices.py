"""A devices service that answers from a list, for tests of the door alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from overair.devices.model import DevicePage, FirmwareReading, UnknownDevice

REQUEST_ID = "b7d51d52-6c0f-4b57-9d1f-2f0b9f2f6c55"


@dataclass
class FakeDevices:
    """Documents by IMEI; the same ones for every account. ``calls`` is what the door asked for."""

    documents: dict[str, bytes] = field(default_factory=dict)
    readings: dict[str, FirmwareReading] = field(default_factory=dict)
    page_size: int = 1000
    calls: list[tuple[object, ...]] = field(default_factory=list)
    broken: Exception | None = None

    async def page(self, account_id: int, protocol: str | None, after: str | None) -> DevicePage:
        self._called("page", account_id, protocol, after)
        rest = sorted(imei for imei in self.documents if after is None or imei > after)
        shown = rest[: self.page_size]
        documents = [self.documents[imei] for imei in shown]
        return DevicePage(documents, shown[-1] if shown else None, len(rest) > len(shown))

    async def look_up(self, account_id: int, imeis: Sequence[str], protocol: str | None) -> list[bytes]:
        self._called("look_up", account_id, list(imeis), protocol)
        failed = b'{"deviceId":"%s","requestStatus":"Failure","resultReason":"Device not found."}'
        return [self.documents.get(imei, failed % imei.encode()) for imei in imeis]

    async def synchronise_firmware(self, account_id: int, imeis: Sequence[str]) -> list[FirmwareReading]:
        self._called("synchronise_firmware", account_id, list(imeis))
        return [self.readings.get(imei, FirmwareReading(imei, found=False)) for imei in imeis]

    async def request_report(self, account_id: int, imei: str) -> str:
        self._called("request_report", account_id, imei)
        if imei not in self.documents:
            raise UnknownDevice(f"device {imei} is not known to the account")
        return REQUEST_ID

    def _called(self, *call: object) -> None:
        self.calls.append(call)
        if self.broken is not None:
            raise self.broken
