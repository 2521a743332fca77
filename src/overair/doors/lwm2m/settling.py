"""Bringing records up to date with what registrations said, after the devices have their answers.

A device that waits for its 2.01 sends its Register again, so a fleet that wakes up at once is answered first:
an answer needs the registration on the disk, not the record. What is still to be done stands in the database
with the registration, so a restart takes it up. The work takes no input but the list of devices, and doing it
twice does nothing.
"""

import asyncio

import structlog

from overair.devices.service import DeviceService

_log = structlog.get_logger()

QUIET_BATCH = 256
BUSY_BATCH = 32
RETRY_SECONDS = 5.0
BUSY_PAUSE_SECONDS = 0.05  # with BUSY_BATCH: records follow at 640/s at least, however busy the door is


class Settling:
    """The devices whose records are behind, and the task that brings them up to date."""

    def __init__(self, service: DeviceService) -> None:
        self._service = service
        self._behind: dict[int, None] = {}
        self._wake = asyncio.Event()
        self._is_busy = False

    def __len__(self) -> int:
        return len(self._behind)

    def registered(self, imei: int, *, settled: bool) -> None:
        """Note a Register that was answered."""
        self._is_busy = True
        if not settled:
            self._behind[imei] = None
            self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        self._behind.update(dict.fromkeys(await self._service.unsettled()))
        while True:
            if not self._behind:
                self._wake.clear()
                await self._wake.wait()
            was_busy, self._is_busy = self._is_busy, False
            count = min(BUSY_BATCH if was_busy else QUIET_BATCH, len(self._behind))
            batch = [self._behind.popitem()[0] for _ in range(count)]
            try:
                await self._service.settle(batch)
            except Exception:  # noqa: BLE001 - logged
                # Whatever it is, the records are still behind: the work goes on when the database does.
                _log.exception("records_not_settled", devices=len(batch))
                self._behind.update(dict.fromkeys(batch))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await asyncio.sleep(BUSY_PAUSE_SECONDS if self._is_busy else 0)
