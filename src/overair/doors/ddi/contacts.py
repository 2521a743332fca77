"""When devices were last heard; written behind, since a poll must not wait for the disk.

A device for which a campaign waits is stored at once, and then told to the campaign engine: that goes by what
is stored.
"""

from collections.abc import Callable
from functools import partial

from overair.devices.contacts import store_contacts
from overair.platform.clock import Clock
from overair.platform.database import Database

STORE_SECONDS = 60.0
RECENT_MS = 15 * 60_000
"""A device that came within that time will come again soon."""
AT_ONCE = 500  # a transaction, beside which registrations still find room


class Contacts:
    """What is still to be stored of when devices were heard."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._last: dict[int, int] = {}
        self._to_store: dict[int, int] = {}
        self._urgent: set[int] = set()
        self.wake: Callable[[], None] = lambda: None
        """Called when something is to be stored soon."""
        self.on_heard: Callable[[int], None] = lambda _imei: None
        """Called with a device for which a campaign waits, once it is stored that it was heard."""

    def heard(self, imei: int, now_ms: int) -> None:
        """The device made a request."""
        self._last[imei] = self._to_store[imei] = now_ms

    def hurry(self, imei: int) -> None:
        """A campaign waits for this device."""
        last_ms = self._last.get(imei)
        if last_ms is not None:
            self._to_store.setdefault(imei, last_ms)
            self._urgent.add(imei)
            self.wake()

    def is_recent(self, imei: int) -> bool:
        """Whether the device came a short time ago."""
        last_ms = self._last.get(imei)
        return last_ms is not None and self._clock.now_ms() - last_ms < RECENT_MS

    def last_ms(self, imei: int) -> int | None:
        """Return when the device was last heard since the service was started."""
        return self._last.get(imei)

    async def store(self) -> bool:
        """Store what came since the last time; False, since nothing is left to do then."""
        heard, self._to_store = self._to_store, {}
        urgent, self._urgent = self._urgent, set()
        uplinks = list(heard.items())
        try:
            for start in range(0, len(uplinks), AT_ONCE):
                part = uplinks[start : start + AT_ONCE]
                await self._database.write(partial(store_contacts, contacts=part))
        except BaseException:
            self._to_store = {**heard, **self._to_store}
            self._urgent |= urgent
            raise
        for imei in urgent:
            self.on_heard(imei)
        return False
