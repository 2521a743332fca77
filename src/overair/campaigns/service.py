"""What owners do with campaigns, and what drivers say of attempts."""

import asyncio
import uuid as uuids
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection

from overair.accounts.model import Account
from overair.campaigns import checking, ending, rows, rules, sql, states, telling
from overair.campaigns.model import (
    AlreadyEnded,
    AlreadyStarted,
    Campaign,
    CampaignPage,
    CampaignStatus,
    DateRefused,
    HistoryRow,
    MemberChange,
    NewCampaign,
    NotEnoughLicenses,
    NotStarted,
    RowPage,
    RowStatus,
    TooManyDevices,
    UnknownPackage,
    Version,
    Window,
)
from overair.campaigns.states import CAMPAIGN_OVER, OPEN_TO_MEMBERS, CampaignEvent
from overair.licenses.rules import has_any
from overair.packages import sql as packages
from overair.packages.model import Package
from overair.packages.model import State as PackageState
from overair.platform.clock import DAY_MS, Clock
from overair.platform.database import Database
from overair.platform.limits import Limits

NAME_CHARACTERS = 255
STRAY_CHARACTERS = 64
_SHOWN_IN_HISTORY = frozenset(states.ROW_FINAL - {RowStatus.REJECTED})


class CampaignService:
    """The use cases of owners. *wake* tells the engine that there is something to do."""

    def __init__(self, database: Database, clock: Clock, limits: Limits) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self.wake: Callable[[], None] = lambda: None

    async def schedule(self, account: Account, asked: NewCampaign) -> Campaign:
        """Store a campaign and its devices; they are checked afterwards (spec api-v3.md, section 5.1).

        Raises DateRefused, NotEnoughLicenses, TooManyDevices or UnknownPackage.
        """
        now_ms = self._clock.now_ms()
        rules.check_dates(asked.start_day, asked.end_day, asked.windows, now_ms)
        self._check_amounts(asked.windows, asked.device_ids)
        if not has_any(account):
            raise NotEnoughLicenses("the account has no subscription")
        campaign = await self._database.write(partial(_schedule, account=account, asked=asked, now_ms=now_ms))
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
            campaign = _open_to_members(connection, account.id, uuid)
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
            campaign = _open_to_members(connection, account.id, uuid)
            sql.drop_strays(connection, campaign.id, [each for each in device_ids if not _is_imei(each)])
            return checking.remove_members(connection, campaign, imeis)

        return await self._change_members(device_ids, change)

    async def change_dates(
        self, account_id: int, uuid: str, start_day: int, end_day: int, windows: Sequence[Window]
    ) -> Campaign:
        """Change dates and windows, once it runs only the end; raises DateRefused or AlreadyEnded."""
        self._check_amounts(windows, ())
        asked = (start_day, end_day, tuple(windows))
        now_ms = self._clock.now_ms()
        campaign = await self._database.write(
            lambda connection: _change_dates(connection, account_id, uuid, asked, now_ms)
        )
        self.wake()
        return campaign

    async def cancel(self, account_id: int, uuid: str) -> None:
        """Cancel a campaign before its start; raises AlreadyStarted or AlreadyEnded."""
        now_ms = self._clock.now_ms()
        await self._database.write(lambda connection: _cancel(connection, account_id, uuid, now_ms))
        self.wake()

    async def abort(self, account_id: int, uuid: str) -> None:
        """Abort a campaign that runs (quirks.md Q17); raises NotStarted or AlreadyEnded.

        Devices that are done keep their result. Those under way may still finish, which does not count.
        """
        now_ms = self._clock.now_ms()
        await self._database.write(lambda connection: _abort(connection, account_id, uuid, now_ms))
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
        return await self._database.read(
            partial(_page, account_id=account_id, uuid=uuid, after=after, count=count)
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
        change: Callable[[Connection, Sequence[int]], list[MemberChange]],
    ) -> list[MemberChange]:
        """Return what became of each device, in the order of the request, strays rejected."""
        imeis = [int(each) for each in device_ids if _is_imei(each)]
        changes = await self._database.write(lambda connection: change(connection, imeis))
        known = {each.device_id: each for each in changes}
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
        await self._submit(ending.keep_progress, item)

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
        counted = await self._submit(ending.end_attempts, item)
        self.on_end(imei, attempt)
        return bool(counted)

    async def _submit(self, handler: Any, item: Any) -> Any:
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._database.submit(handler, item, partial(_settle, waiter))
        return await waiter


def _settle(waiter: "asyncio.Future[Any]", result: Any) -> None:
    if waiter.cancelled():
        return
    if isinstance(result, Exception):
        waiter.set_exception(result)
    else:
        waiter.set_result(result)


def _schedule(connection: Connection, *, account: Account, asked: NewCampaign, now_ms: int) -> Campaign:
    package = packages.live(connection, account.id, asked.package_name)
    if package is None or not _offers(package, asked):
        raise UnknownPackage(
            f"package {asked.package_name[:NAME_CHARACTERS]!r}: not offered with these versions"
        )
    campaign = sql.add(connection, _new(account, asked, package, now_ms))
    imeis = dict.fromkeys(int(each) for each in asked.device_ids if _is_imei(each))
    rows.add(connection, campaign.id, sorted(imeis), now_ms)
    strays = [each[:STRAY_CHARACTERS] for each in asked.device_ids if not _is_imei(each)]
    sql.add_strays(connection, campaign.id, strays)
    telling.changed(connection, account.name, campaign, now_ms)
    return campaign


def _new(account: Account, asked: NewCampaign, package: Package, now_ms: int) -> Campaign:
    return Campaign(
        id=0,
        uuid=str(uuids.uuid4()),
        account_id=account.id,
        version=asked.version,
        name=None if asked.name is None else asked.name[:NAME_CHARACTERS],
        package_id=package.id,
        package_name=package.name,
        kind=package.kind.value,
        version_from=package.version_from,
        version_to=package.version_to,
        make=package.make,
        model=package.model,
        protocol=package.protocol,
        start_day=asked.start_day,
        end_day=asked.end_day,
        windows=asked.windows,
        auto_assign=asked.auto_assign,
        auto_add=asked.auto_add,
        status=CampaignStatus.PENDING,
        created_ms=now_ms,
        changed_ms=now_ms,
        auto_add_ms=now_ms if asked.auto_add else None,
        auto_add_after=-1,
        open_rows=0,
        closed_ms=None,
    )


def _offers(package: Package, asked: NewCampaign) -> bool:
    versions = (package.version_from, package.version_to)
    return package.state is PackageState.READY and versions == (asked.version_from, asked.version_to)


def _open_to_members(connection: Connection, account_id: int, uuid: str) -> Campaign:
    campaign = sql.find(connection, account_id, uuid)
    if campaign.status not in OPEN_TO_MEMBERS:
        raise AlreadyStarted(f"campaign {uuid}: {campaign.status}")
    return campaign


def _change_dates(
    connection: Connection,
    account_id: int,
    uuid: str,
    asked: tuple[int, int, tuple[Window, ...]],
    now_ms: int,
) -> Campaign:
    campaign = sql.find(connection, account_id, uuid)
    start_day, end_day, windows = asked
    if campaign.status in CAMPAIGN_OVER or now_ms >= rules.end_ms(campaign):
        raise AlreadyEnded(f"campaign {uuid}: {campaign.status}")
    if campaign.status is CampaignStatus.SCHEDULED:
        rules.check_new_end(campaign, start_day, end_day, windows, now_ms)
    else:
        rules.check_dates(start_day, end_day, windows, now_ms)
    return sql.put(connection, campaign, start_day=start_day, end_day=end_day, windows=windows)


def _cancel(connection: Connection, account_id: int, uuid: str, now_ms: int) -> None:
    campaign = sql.find(connection, account_id, uuid)
    if campaign.status in CAMPAIGN_OVER:
        raise AlreadyEnded(f"campaign {uuid}: {campaign.status}")
    if campaign.status is CampaignStatus.SCHEDULED:
        raise AlreadyStarted(f"campaign {uuid}: {campaign.status}")
    after = sql.move(connection, campaign, CampaignEvent.CANCEL, now_ms)
    account = sql.account_of_campaign(connection, after)
    telling.changed(connection, account.name, after, now_ms)


def _abort(connection: Connection, account_id: int, uuid: str, now_ms: int) -> None:
    campaign = sql.find(connection, account_id, uuid)
    if campaign.status in CAMPAIGN_OVER:
        raise AlreadyEnded(f"campaign {uuid}: {campaign.status}")
    if campaign.status is not CampaignStatus.SCHEDULED:
        raise NotStarted(f"campaign {uuid}: {campaign.status}, not started")
    after = sql.move(connection, campaign, CampaignEvent.ABORT, now_ms)
    account = sql.account_of_campaign(connection, after)
    telling.changed(connection, account.name, after, now_ms)


def _page(connection: Connection, *, account_id: int, uuid: str, after: int, count: int) -> RowPage:
    campaign = sql.find(connection, account_id, uuid)
    found = rows.page(connection, campaign.id, after, count + 1)
    more = len(found) > count
    total = rows.count(connection, campaign.id) + sql.count_strays(connection, campaign.id)
    strays = [] if more else sql.strays(connection, campaign.id)
    return RowPage(campaign, total, found[:count], strays, more)


def _is_imei(text: str) -> bool:
    return len(text) == 15 and text.isascii() and text.isdigit()
