"""Looking at rows, and beginning attempts: one portion in one transaction."""

from collections.abc import Collection, Mapping, Sequence

import msgspec
from sqlalchemy import Connection

from overair.campaigns import checking, plan, rows, rules, sql
from overair.campaigns.model import Assignment, Campaign, CampaignStatus, Row, RowStatus
from overair.campaigns.states import ROW_IDLE
from overair.devices.model import Device
from overair.devices.sql import contacts, devices_of
from overair.licenses import store as licenses
from overair.platform.limits import Limits

PORTION = 200
"""Rows in one transaction: a registration waits for no longer than that takes."""
ASLEEP = 20
"""More rows than there are places: some of their devices will be asleep."""
HEARD = (RowStatus.REACHABLE, RowStatus.PENDING, RowStatus.REFUSED)


class Candidates(msgspec.Struct, frozen=True):
    """Rows to look at: their devices, by the number of their campaign."""

    imeis: Mapping[int, Sequence[int]]

    def __bool__(self) -> bool:
        return bool(self.imeis)

    @property
    def all(self) -> list[int]:
        return [imei for imeis in self.imeis.values() for imei in imeis]


def heard_rows(connection: Connection, imeis: Sequence[int]) -> list[Row]:
    """Return the idle rows of devices that were heard."""
    return [row for row in rows.open_rows(connection, imeis) if row.status in ROW_IDLE]


def due_rows(connection: Connection, campaigns: Sequence[Campaign], now_ms: int, places: int) -> list[Row]:
    """Return rows that it is time to look at; without *places* only those of devices to be looked for."""
    share = max(1, PORTION // max(1, len(campaigns)))
    # No more than there is room for, or all that wait would be looked at for every place that comes free.
    heard_share = min(share, places + ASLEEP) if places > 0 else 0
    found: list[Row] = []
    for campaign in campaigns:
        for status in HEARD if heard_share else ():
            found += rows.due(connection, campaign.id, status, now_ms, heard_share)
        found += rows.due(connection, campaign.id, RowStatus.WAITING, now_ms, share)
    return found[:PORTION]


def look(
    connection: Connection,
    candidates: Candidates,
    ready: Collection[int],
    places: int,
    limits: Limits,
    now_ms: int,
) -> list[Assignment]:
    """Look at rows; returns the attempts that begin, *places* at most."""
    assignments: list[Assignment] = []
    for campaign_id, imeis in candidates.imeis.items():
        campaign = sql.get(connection, campaign_id)
        if campaign.status is CampaignStatus.SCHEDULED and now_ms < rules.end_ms(campaign):
            looking = _Looking(connection, campaign, limits, now_ms)
            assignments += looking.look(imeis, ready, places - len(assignments))
    return assignments


def assignment(campaign: Campaign, row: Row, progress: bytes | None) -> Assignment:
    """Return what the driver is told of an attempt."""
    return Assignment(
        campaign_id=campaign.id,
        imei=row.imei,
        attempt=row.attempts,
        account_id=campaign.account_id,
        package_id=campaign.package_id,
        package_name=campaign.package_name,
        kind=campaign.kind,
        make=campaign.make,
        model=campaign.model,
        version_from=campaign.version_from,
        version_to=campaign.version_to,
        windows=campaign.windows,
        end_ms=rules.end_ms(campaign),
        deadline_ms=row.next_ms or 0,
        progress=progress,
    )


class _Looking:
    """One campaign's part of a portion."""

    def __init__(self, connection: Connection, campaign: Campaign, limits: Limits, now_ms: int) -> None:
        self._connection = connection
        self._campaign = campaign
        self._limits = limits
        self._now_ms = now_ms
        self._conditions = checking.conditions(connection, campaign)

    def look(self, imeis: Sequence[int], ready: Collection[int], places: int) -> list[Assignment]:
        connection = self._connection
        members = rows.members(connection, self._campaign.id, imeis)
        idle = [row for row in members.values() if row.status in ROW_IDLE]
        heard = contacts(connection, imeis)
        devices = devices_of(connection, self._campaign.account_id, list(heard))  # of others nothing is asked
        after: dict[int, Row] = {}
        for row in idle:
            known = self._known(row, devices.get(row.imei), heard.get(row.imei), ready)
            after[row.imei] = self._after(row, known, places)
            places -= after[row.imei].status is RowStatus.RUNNING
        after |= self._without_licence(idle, after)
        changed = [after[row.imei] for row in idle if after[row.imei] != row]
        rows.put(connection, changed)
        ended = [row.imei for row in changed if row.status in (RowStatus.SUCCEEDED, RowStatus.FAILED)]
        checking.released(connection, self._campaign.id, ended)
        begun = [row for row in changed if row.status is RowStatus.RUNNING]
        progress = rows.progress_of(connection, self._campaign.id, [row.imei for row in begun])
        return [assignment(self._campaign, row, progress.get(row.imei)) for row in begun]

    def _without_licence(self, before: Sequence[Row], after: Mapping[int, Row]) -> dict[int, Row]:
        """Tell the licences which upgrades begin; returns the rows of those that may not."""
        begun = [imei for imei, row in after.items() if row.status is RowStatus.RUNNING]
        if not begun:
            return {}
        account = sql.account_of_campaign(self._connection, self._campaign)
        uuid, now_ms = self._campaign.uuid, self._now_ms
        allowed = licenses.upgrade_started(self._connection, account, begun, uuid, now_ms)
        rows_before = {row.imei: row for row in before}
        denied = [imei for imei in begun if imei not in allowed]
        return {imei: plan.unlicensed(rows_before[imei], now_ms) for imei in denied}

    def _after(self, row: Row, known: plan.Known, places: int) -> Row:
        after = plan.row_after(row, self._campaign, known, self._conditions, self._limits, self._now_ms)
        if after.status is not RowStatus.RUNNING or places > 0:
            return after
        return plan.without_place(row, self._now_ms)

    def _known(
        self, row: Row, device: Device | None, heard_ms: int | None, ready: Collection[int]
    ) -> plan.Known:
        if device is None:
            return plan.Known(heard_ms=heard_ms, mismatch=rules.NOT_FOUND)
        campaign = self._campaign
        version = rules.version_of(device, campaign.kind, campaign.package_name)
        return plan.Known(
            heard_ms=heard_ms,
            ready=row.imei in ready,
            mismatch=rules.mismatch(device, campaign),
            current=version == campaign.version_to,
        )
