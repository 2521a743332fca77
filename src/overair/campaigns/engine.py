"""The campaign engine: background jobs that bring campaigns forward (design: plan apart from execution).

Each job reads what is due, has it decided by :mod:`overair.campaigns.plan` inside one small transaction, and
hands attempts that begin to the driver of their protocol. What comes of an attempt, the driver says to
:class:`~overair.campaigns.service.Attempts`. Jobs may be run at any time and as often as one likes; a restart
begins with the attempts that run, as they are stored.

A device that is heard makes its row due at once (:meth:`Engine.heard`); that it was heard is stored too, so a
signal that gets lost is made up for when the row is looked at by its own time.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from sqlalchemy import Connection

from overair.campaigns import checking, dispatching, ending, plan, rows, rules, sql, telling
from overair.campaigns.model import Assignment, Campaign, CampaignStatus, Driver
from overair.campaigns.service import Attempts
from overair.campaigns.states import CAMPAIGN_OVER
from overair.platform.clock import Clock
from overair.platform.database import Database
from overair.platform.limits import Limits
from overair.platform.reconciler import Reconciler, Standing

POLL_SECONDS = 5.0
"""Campaigns are also made by the command line, which can't wake this process."""
SLOW_SECONDS = 60.0
"""For what nobody waits for: attempts that are overdue, and news of devices, a message a minute."""


class Engine:
    """The jobs. *drivers* by the protocol of a campaign."""

    def __init__(
        self,
        database: Database,
        attempts: Attempts,
        drivers: Mapping[str, Driver],
        clock: Clock,
        limits: Limits,
        *,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._database = database
        self._attempts = attempts
        self._drivers = drivers
        self._clock = clock
        self._limits = limits
        self._running: dict[int, int] = {}
        """Devices whose attempt runs here, with its number."""
        self._scheduled: list[Campaign] = []
        self._heard: dict[int, None] = {}
        slow_seconds = max(SLOW_SECONDS, poll_seconds)
        self._timetable = Reconciler("campaigns", self._step, clock, period_seconds=poll_seconds)
        self._dispatch = Reconciler("attempts", self._look, clock, period_seconds=poll_seconds)
        self._deadlines = Reconciler("deadlines", self._give_up, clock, period_seconds=slow_seconds)
        self._news = Reconciler("news", self._tell, clock, period_seconds=slow_seconds)
        self._jobs = (self._timetable, self._dispatch, self._deadlines, self._news)
        self.on_told: Callable[[], None] = lambda: None
        """Called when there is something for the outbox to deliver."""
        attempts.on_end = self._attempt_over

    async def run(self) -> None:
        """Take up the attempts that run, then work until cancelled."""
        await self._resume()
        async with asyncio.TaskGroup() as group:
            for job in self._jobs:
                group.create_task(job.run())

    @property
    def standings(self) -> list[Standing]:
        """How the jobs are doing."""
        return [job.standing for job in self._jobs]

    @property
    def running(self) -> int:
        """How many attempts run."""
        return len(self._running)

    def wake(self) -> None:
        """Campaigns were made or changed, or the clock was moved."""
        self.on_told()
        for job in self._jobs:
            job.wake()

    def heard(self, imei: int) -> None:
        """A device is awake: if a campaign waits for it, now is the time."""
        if self._scheduled and imei not in self._running:
            self._heard[imei] = None
            self._dispatch.wake()

    # Campaigns.

    async def _step(self) -> bool:
        """Bring every campaign as far as it can go by now."""
        campaigns = await self._database.read(sql.unfinished)
        more = False
        for campaign in campaigns:
            more |= await self._step_one(campaign)
        running = [each for each in campaigns if each.status is CampaignStatus.SCHEDULED]
        if not more:
            self._scheduled = running
            self._dispatch.wake()
        return more

    async def _step_one(self, campaign: Campaign) -> bool:
        if campaign.status in CAMPAIGN_OVER:
            return await self._close(campaign)
        now_ms = self._clock.now_ms()
        if campaign.status is CampaignStatus.PENDING:
            while await self._database.write(
                partial(checking.check_portion, campaign_id=campaign.id, now_ms=now_ms)
            ):
                now_ms = self._clock.now_ms()
        if _adds_devices(campaign, now_ms):
            while await self._database.write(
                partial(checking.auto_add_portion, campaign_id=campaign.id, now_ms=now_ms)
            ):
                continue
        moved = await self._database.write(partial(_move, campaign_id=campaign.id, now_ms=now_ms))
        if moved:
            self.on_told()
        return moved

    async def _close(self, campaign: Campaign) -> bool:
        """Let go of the devices of a campaign that is over."""
        now_ms = self._clock.now_ms()
        while await self._database.write(
            partial(ending.close_unchecked, campaign_id=campaign.id, now_ms=now_ms)
        ):
            continue
        after: int | None = -1
        while after is not None:
            portion = partial(
                ending.close_portion, campaign_id=campaign.id, after=after, limits=self._limits, now_ms=now_ms
            )
            after, stopped = await self._database.write(portion)
            for imei in stopped:
                self._drivers[campaign.protocol].stop(imei)
        await self._database.write(partial(ending.note_closed, campaign_id=campaign.id, now_ms=now_ms))
        return False

    # Attempts.

    async def _resume(self) -> None:
        running = await self._database.read(rows.running)
        numbers = {row.campaign_id for row, _ in running}
        campaigns = await self._database.read(partial(sql.campaigns_by_id, numbers=numbers))
        for row, progress in running:
            campaign = campaigns[row.campaign_id]
            self._begin(campaign, dispatching.assignment(campaign, row, progress))

    def _begin(self, campaign: Campaign, assignment: Assignment) -> None:
        self._running[assignment.imei] = assignment.attempt
        self._drivers[campaign.protocol].begin(assignment)

    async def _look(self) -> bool:
        """Look at rows of devices that were heard, or whose time has come."""
        now_ms = self._clock.now_ms()
        campaigns = {
            each.id: each
            for each in self._scheduled
            if each.protocol in self._drivers and now_ms < rules.end_ms(each)
        }
        heard = [self._heard.popitem()[0] for _ in range(min(len(self._heard), dispatching.PORTION))]
        if not campaigns:
            return False
        places = self._limits.attempts_at_once - len(self._running)
        query = partial(_candidates, campaigns=campaigns, heard=heard, now_ms=now_ms, places=places)
        candidates = await self._database.read(query)
        if not candidates:
            return bool(self._heard)
        ready = {
            imei
            for number, imeis in candidates.imeis.items()
            for imei in imeis
            if self._drivers[campaigns[number].protocol].ready(imei)
        }
        looked_at = partial(
            dispatching.look,
            candidates=candidates,
            ready=ready,
            places=places,
            limits=self._limits,
            now_ms=now_ms,
        )
        for assignment in await self._database.write(looked_at):
            self._begin(campaigns[assignment.campaign_id], assignment)
        return True

    def _attempt_over(self, imei: int, attempt: int) -> None:
        if self._running.get(imei) == attempt:
            del self._running[imei]
            self._dispatch.wake()
            if not self._running:
                self._timetable.wake()

    async def _give_up(self) -> bool:
        """End attempts that should have been over: a row is never in progress for ever."""
        now_ms = self._clock.now_ms()
        campaigns = await self._database.read(sql.unfinished)
        overdue = await self._database.read(partial(ending.overdue, campaigns=campaigns, now_ms=now_ms))
        protocols = {campaign.id: campaign.protocol for campaign in campaigns}
        for row in overdue:
            self._drivers[protocols[row.campaign_id]].stop(row.imei)
        # All at once, so that they share transactions.
        await asyncio.gather(
            *(
                self._attempts.failed(row.campaign_id, row.imei, row.attempts, ending.NO_RESPONSE, None)
                for row in overdue
            )
        )
        return len(overdue) >= ending.PORTION

    async def _tell(self) -> bool:
        """Tell owners which devices came to an end."""
        for campaign_id in await self._database.read(rows.campaigns_with_news):
            now_ms = self._clock.now_ms()
            portion = partial(
                telling.ended_portion, campaign_id=campaign_id, limits=self._limits, now_ms=now_ms
            )
            while await self._database.write(portion):
                continue
            self.on_told()
        return False


def _adds_devices(campaign: Campaign, now_ms: int) -> bool:
    return campaign.auto_add_ms is not None and campaign.auto_add_ms <= now_ms < rules.end_ms(campaign)


def _move(connection: Connection, *, campaign_id: int, now_ms: int) -> bool:
    campaign = sql.get(connection, campaign_id)
    event = plan.campaign_event(campaign, checking.conditions(connection, campaign), now_ms)
    if event is None:
        return False
    telling.moved(connection, campaign, event, now_ms)
    return True


def _candidates(
    connection: Connection,
    *,
    campaigns: Mapping[int, Campaign],
    heard: Iterable[int],
    now_ms: int,
    places: int,
) -> dispatching.Candidates:
    found = [row for row in dispatching.heard_rows(connection, list(heard)) if row.campaign_id in campaigns]
    if len(found) < dispatching.PORTION:
        found += dispatching.due_rows(connection, list(campaigns.values()), now_ms, places)
    by_campaign = checking.by_campaign(found[: dispatching.PORTION])
    return dispatching.Candidates(
        {number: list(dict.fromkeys(row.imei for row in of_it)) for number, of_it in by_campaign.items()}
    )
