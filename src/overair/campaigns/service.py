"""What owners do with campaigns, and what drivers say of attempts."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection

from overair.accounts.model import Account
from overair.campaigns import checking, ending, owners, rows, rules, sql, states
from overair.campaigns.model import (
    Campaign,
    CampaignPage,
    CampaignStatus,
    DateRefused,
    HistoryRow,
    MemberChange,
    NewCampaign,
    NotEnoughLicenses,
    RowPage,
    RowStatus,
    TooManyDevices,
    Version,
    Window,
)
from overair.licenses.rules import has_any
from overair.platform.clock import DAY_MS, Clock
from overair.platform.database import Database
from overair.platform.limits import Limits

PORTION = 5000
"""Rows that are only added in one transaction: some tens of milliseconds."""
TOTALS = 1000  # campaigns; those whose listings go on are counted again
STRAY_CHARACTERS = 64
_SHOWN_IN_HISTORY = frozenset(states.ROW_FINAL - {RowStatus.REJECTED})


class CampaignService:
    """The use cases of owners. *wake* tells the engine that there is something to do."""

    def __init__(self, database: Database, clock: Clock, limits: Limits) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self.wake: Callable[[], None] = lambda: None
        self._totals: dict[int, int] = {}
        """What was counted for first pages: of a million rows that takes longer than to read a page."""

    async def schedule(self, account: Account, asked: NewCampaign) -> Campaign:
        """Store a campaign and its devices; they are checked afterwards (spec api-v3.md, section 5.1).

        Raises DateRefused, NotEnoughLicenses, TooManyDevices or UnknownPackage.
        """
        now_ms = self._clock.now_ms()
        rules.check_dates(asked.start_day, asked.end_day, asked.windows, now_ms)
        self._check_amounts(asked.windows, asked.device_ids)
        if not has_any(account):
            raise NotEnoughLicenses("the account has no subscription")
        imeis, strays = _sorted_out(asked.device_ids)
        first, *others = _portions(imeis, PORTION)
        campaign = await self._database.write(
            partial(
                owners.schedule, account=account, asked=asked, imeis=first, strays=strays, whole=not others,
                now_ms=now_ms,
            )
        )  # fmt: skip
        for portion in others:
            await self._database.write(
                partial(rows.add, campaign_id=campaign.id, imeis=portion, now_ms=now_ms)
            )
        if others:
            campaign = await self._database.write(
                partial(owners.complete, account=account, campaign=campaign)
            )
        self.wake()
        return campaign

    async def campaign(self, account_id: int, uuid: str) -> Campaign:
        """Return a campaign of the account, or raise UnknownCampaign."""
        return await self._database.read(lambda connection: sql.find(connection, account_id, uuid))

    async def add_devices(self, account: Account, uuid: str, device_ids: Sequence[str]) -> list[MemberChange]:
        """Add devices before the start, each if it passes the checks; raises AlreadyStarted."""
        self._check_amounts((), device_ids)
        now_ms = self._clock.now_ms()

        def change(connection: Connection, imeis: Sequence[int]) -> list[MemberChange]:
            campaign = owners.open_to_members(connection, account.id, uuid)
            return checking.add_members(connection, campaign, account, imeis, now_ms)

        changes = await self._change_members(device_ids, change)
        self.wake()
        return changes

    async def remove_devices(
        self, account: Account, uuid: str, device_ids: Sequence[str]
    ) -> list[MemberChange]:
        """Take devices out before the start; raises AlreadyStarted."""
        self._check_amounts((), device_ids)

        def change(connection: Connection, imeis: Sequence[int]) -> list[MemberChange]:
            campaign = owners.open_to_members(connection, account.id, uuid)
            strays = [each for each in device_ids if not _is_imei(each)]
            gone = [MemberChange(each, None) for each in sql.drop_strays(connection, campaign.id, strays)]
            return [*gone, *checking.remove_members(connection, campaign, imeis)]

        return await self._change_members(device_ids, change)

    async def change_dates(
        self, account_id: int, uuid: str, start_day: int, end_day: int, windows: Sequence[Window]
    ) -> Campaign:
        """Change dates and windows, once it runs only the end; raises DateRefused or AlreadyEnded."""
        self._check_amounts(windows, ())
        asked = (start_day, end_day, tuple(windows))
        now_ms = self._clock.now_ms()
        campaign = await self._database.write(
            lambda connection: owners.change_dates(connection, account_id, uuid, asked, now_ms)
        )
        self.wake()
        return campaign

    async def cancel(self, account_id: int, uuid: str) -> None:
        """Cancel a campaign before its start; raises AlreadyStarted or AlreadyEnded."""
        now_ms = self._clock.now_ms()
        await self._database.write(lambda connection: owners.cancel(connection, account_id, uuid, now_ms))
        self.wake()

    async def abort(self, account_id: int, uuid: str) -> None:
        """Abort a campaign that runs (quirks.md Q17); raises NotStarted or AlreadyEnded.

        Devices that are done keep their result. Those under way may still finish, which does not count.
        """
        now_ms = self._clock.now_ms()
        await self._database.write(lambda connection: owners.abort(connection, account_id, uuid, now_ms))
        self.wake()

    async def by_status(
        self, account_id: int, version: Version, status: CampaignStatus, after: str
    ) -> CampaignPage:
        """Return a page of the campaigns with a status, ids ascending from the one after *after*."""
        count = self._limits.page_size
        return await self._database.read(
            lambda connection: sql.by_status(connection, account_id, version, status, after, count)
        )

    async def rows(self, account_id: int, uuid: str, after: int) -> RowPage:
        """Return a page of a campaign's devices, IMEIs ascending from the one after *after*."""
        count = self._limits.page_size
        if len(self._totals) >= TOTALS:
            self._totals.clear()
        return await self._database.read(
            partial(
                owners.page, account_id=account_id, uuid=uuid, after=after, count=count, totals=self._totals
            )
        )

    async def counts(self, account_id: int, uuid: str) -> dict[RowStatus, int]:
        """Return how many devices of a campaign have each status."""

        def query(connection: Connection) -> dict[RowStatus, int]:
            return rows.counts(connection, sql.find(connection, account_id, uuid).id)

        return await self._database.read(query)

    async def history(self, account_id: int, imei: int, version: Version) -> list[HistoryRow]:
        """Return the campaigns of the last six months that a device came to an end with, the newest first."""
        oldest_ms = self._clock.now_ms() - self._limits.history_days * DAY_MS

        def query(connection: Connection) -> list[HistoryRow]:
            of_device = rows.of_device(connection, imei, self._limits.page_size)
            campaigns = sql.campaigns_by_id(connection, {row.campaign_id for row in of_device})
            return [
                HistoryRow(campaigns[row.campaign_id], row)
                for row in of_device
                if row.status in _SHOWN_IN_HISTORY
                and row.updated_ms >= oldest_ms
                and campaigns[row.campaign_id].account_id == account_id
                and campaigns[row.campaign_id].version == version
            ]

        return await self._database.read(query)

    async def _change_members(
        self,
        device_ids: Sequence[str],
        change: Callable[..., list[MemberChange]],
    ) -> list[MemberChange]:
        """Return what became of each device, in the order of the request, strays rejected.

        A campaign that starts meanwhile refuses the rest: what was done before stays done.
        """
        imeis = dict.fromkeys(int(each) for each in device_ids if _is_imei(each))
        known: dict[str, MemberChange] = {}
        for portion in _portions(list(imeis), checking.PORTION):
            changes = await self._database.write(partial(change, imeis=portion))
            known |= {each.device_id: each for each in changes}
        return [known.get(each) or MemberChange(each, rules.BAD_IMEI) for each in dict.fromkeys(device_ids)]

    def _check_amounts(self, windows: Sequence[Window], device_ids: Sequence[str]) -> None:
        if len(windows) > self._limits.windows:
            raise DateRefused("windows", f"at most {self._limits.windows}")
        if len(device_ids) > self._limits.campaign_devices:
            raise TooManyDevices(self._limits.campaign_devices)


class Attempts:
    """What drivers say of the attempts that they make. Each method returns after the commit."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.on_end: Callable[[int, int], None] = lambda _imei, _attempt: None
        """Called with device and attempt when an attempt is over."""

    async def keep(self, campaign_id: int, imei: int, attempt: int, progress: bytes) -> None:
        """Store what the driver wants to know after a restart: 4 kB at most."""
        item = ending.Progress(campaign_id, imei, attempt, progress)
        await self._database.write_with(ending.keep_progress, item)

    async def succeeded(self, campaign_id: int, imei: int, attempt: int, version: str | None) -> bool:
        """The device has what it was to get; *version* as it says, None if it does not say.

        Returns whether that counted.
        """
        return await self._end(campaign_id, imei, attempt, outcome="succeeded", version=version)

    async def failed(
        self, campaign_id: int, imei: int, attempt: int, detail: str, retry_seconds: float | None
    ) -> bool:
        """The attempt failed; another one may come after *retry_seconds*, or never."""
        return await self._end(
            campaign_id, imei, attempt, outcome="failed", detail=detail, retry_seconds=retry_seconds
        )

    async def refused(self, campaign_id: int, imei: int, attempt: int, detail: str) -> bool:
        """The service itself could not bring what it was to bring."""
        return await self._end(campaign_id, imei, attempt, outcome="refused", detail=detail)

    async def _end(self, campaign_id: int, imei: int, attempt: int, **said: Any) -> bool:
        item = ending.Ended(
            campaign_id=campaign_id, imei=imei, attempt=attempt, now_ms=self._clock.now_ms(), **said
        )
        counted = await self._database.write_with(ending.end_attempts, item)
        self.on_end(imei, attempt)
        return bool(counted)


def _sorted_out(device_ids: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return the IMEIs, ascending as the table is, and what is none."""
    imeis: set[int] = set()
    strays: list[str] = []
    for each in device_ids:
        if _is_imei(each):
            imeis.add(int(each))
        else:
            strays.append(each[:STRAY_CHARACTERS])
    return sorted(imeis), strays


def _portions(imeis: list[int], count: int) -> list[list[int]]:
    """Cut a list into portions; of none there is one that is empty."""
    return [imeis[start : start + count] for start in range(0, len(imeis), count)] or [[]]


def _is_imei(text: str) -> bool:
    return len(text) == 15 and text.isascii() and text.isdigit()
