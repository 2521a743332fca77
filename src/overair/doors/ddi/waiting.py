"""Which devices a campaign waits for, and when it could begin with them at the earliest.

The campaign engine asks the driver for each device that it would begin with; that is how it is learned here
that a campaign waits. Its windows are then looked up, so that the device comes again in time: often while one
is open, and more often than usual the nearer the next one is (spec ddi.md, section 2.1).
"""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from overair.campaigns import rows, rules, sql
from overair.campaigns.states import CAMPAIGN_OVER, ROW_IDLE
from overair.platform.clock import Clock
from overair.platform.database import Database

BELIEVED_MS = 60_000
"""For so long nothing is looked up again; afterwards it is, when the device comes or the engine asks."""
PORTION = 200


class Waiting:
    """What is known of campaigns that wait."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._asked: dict[int, None] = {}
        self._known: dict[int, tuple[int, int]] = {}
        self.wake: Callable[[], None] = lambda: None
        """Called when something is to be looked up."""
        self.on_found: Callable[[int], None] = lambda _imei: None
        """Called with a device for which a campaign waits."""

    def ask(self, imei: int) -> None:
        """A campaign may wait for this device: find out."""
        known = self._known.get(imei)
        if known is None or self._clock.now_ms() - known[1] >= BELIEVED_MS:
            self._asked[imei] = None
            self.wake()

    def opens_ms(self, imei: int, now_ms: int) -> int | None:
        """Return when a campaign could begin with the device; None if none is known to wait for it."""
        known = self._known.get(imei)
        if known is None:
            return None
        if now_ms - known[1] >= BELIEVED_MS:
            self.ask(imei)
        return known[0]

    def forget(self, imei: int) -> None:
        """Nothing waits for the device any more."""
        self._known.pop(imei, None)

    async def look(self) -> bool:
        """Look up some of what was asked; returns whether there is more."""
        asked = [self._asked.popitem()[0] for _ in range(min(PORTION, len(self._asked)))]
        if asked:
            await self.look_up(asked)
        return bool(self._asked)

    async def look_up(self, asked: Sequence[int]) -> None:
        """Look up what waits for these devices."""
        now_ms = self._clock.now_ms()
        found = await self._database.read(lambda connection: _openings(connection, asked, now_ms))
        for imei in asked:
            if imei not in found:
                self.forget(imei)
        for imei, opens_ms in found.items():
            self._known[imei] = opens_ms, now_ms
            self.on_found(imei)


def _openings(connection: Connection, imeis: Sequence[int], now_ms: int) -> dict[int, int]:
    idle = [row for row in rows.open_rows(connection, imeis) if row.status in ROW_IDLE]
    campaigns = sql.campaigns_by_id(connection, {row.campaign_id for row in idle})
    openings: dict[int, int] = {}
    for row in idle:
        campaign = campaigns[row.campaign_id]
        if campaign.status in CAMPAIGN_OVER or campaign.protocol != "HTTP":
            continue
        earliest_ms = max(now_ms, rules.start_ms(campaign), row.not_before_ms or 0)
        opens_ms = rules.next_opening_ms(campaign.windows, earliest_ms)
        if opens_ms < rules.end_ms(campaign):
            openings[row.imei] = opens_ms
    return openings
