"""The domain and its background jobs on one database: everything but the doors."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

from sqlalchemy import Connection

from overair.accounts.service import AccountService
from overair.accounts.store import SqlAccountStore
from overair.callbacks.deliverer import Deliverer
from overair.callbacks.lane import Send
from overair.callbacks.service import CallbackService
from overair.campaigns import checking, telling
from overair.campaigns.engine import Engine
from overair.campaigns.model import Driver
from overair.campaigns.overview import CampaignOverview
from overair.campaigns.service import Attempts, CampaignService
from overair.credentials.service import CredentialService
from overair.credentials.store import SqlCredentialStore
from overair.credentials.token_service import TokenService
from overair.devices.model import Operation
from overair.devices.service import DeviceService
from overair.devices.store import SqlDeviceStore
from overair.licenses.service import LicenseService
from overair.packages.model import Package
from overair.packages.service import PackageService
from overair.platform.bandwidth import Bandwidth
from overair.platform.clock import Clock
from overair.platform.database import Database
from overair.platform.limits import Limits
from overair.platform.reconciler import Reconciler, Standing
from overair.platform.sealing import Sealer

PURGE_SECONDS = 3600.0
COMMITS = 2
"""After how many commits the deliverer looks: the first may be of the group before."""


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """What the domain has to know."""

    data: Path
    limits: Limits
    images_url: str | None = None
    require_signatures: bool = False


class Core:
    """The services, and the jobs once they are started."""

    def __init__(
        self, database: Database, clock: Clock, settings: CoreSettings, *, enrol_account_id: int | None
    ) -> None:
        limits = settings.limits
        self.clock = clock
        self.limits = limits
        self.database = database
        self.sealer = Sealer(settings.data, os.environ)
        self.accounts = AccountService(SqlAccountStore(database), clock, limits)
        self.devices = DeviceService(
            SqlDeviceStore(database, self._report_ended), clock, limits, enrol_account_id=enrol_account_id
        )
        self.credentials = CredentialService(SqlCredentialStore(database), self.sealer, clock, limits)
        self.tokens = TokenService(database, clock, limits)
        self.licenses = LicenseService(
            database,
            clock,
            limits,
            cancel_scheduled=lambda connection, imeis: checking.cancel_scheduled(
                connection, imeis, clock.now_ms()
            ),
        )
        self.packages = PackageService(
            database,
            settings.data,
            clock,
            limits,
            images_url=settings.images_url,
            require_signatures=settings.require_signatures,
            on_ready=self._package_ready,
        )
        self.bandwidth = Bandwidth(limits.download_bytes_per_second)
        self.callbacks = CallbackService(database, self.sealer, clock, limits)
        self.campaigns = CampaignService(database, clock, limits)
        self.overview = CampaignOverview(database, clock, limits)
        self.attempts = Attempts(database, clock)
        self._purging = Reconciler("purge", self._purge, clock, period_seconds=PURGE_SECONDS)
        self._told = 0
        self.standings_of_doors: Callable[[], list[Standing]] = list
        """How the jobs of doors are doing that have some."""
        self.engine: Engine
        self.deliverer: Deliverer

    def make_jobs(self, drivers: Mapping[str, Driver], send: Send) -> None:
        """Make the campaign engine, with a driver a protocol, and what delivers callbacks by *send*."""
        self.deliverer = Deliverer(
            self.database, self.callbacks, send, self.clock, self.limits, SystemRandom()
        )
        self.engine = Engine(self.database, self.attempts, drivers, self.clock, self.limits)
        self.engine.on_told = self.deliverer.wake
        self.campaigns.wake = self.engine.wake
        self.database.on_idle(self._deliver)

    async def run(self) -> None:
        """Run the jobs until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.engine.run())
            group.create_task(self.deliverer.run())
            group.create_task(self._purging.run())

    @property
    def standings(self) -> list[Standing]:
        """How the jobs are doing."""
        own = [*self.engine.standings, self.deliverer.status, self._purging.standing]
        return own + self.standings_of_doors()

    def wake(self) -> None:
        """Have all jobs look at once: the clock was moved."""
        self.engine.wake()
        self.deliverer.wake()
        self._purging.wake()

    # On the writer's thread, in transactions; what they told is delivered when that is committed.

    def _package_ready(self, connection: Connection, package: Package, now_ms: int) -> None:
        telling.package_ready(connection, package, now_ms)
        self._told = COMMITS

    def _report_ended(self, connection: Connection, operation: Operation, outcome: str, now_ms: int) -> None:
        telling.report_ended(connection, operation, outcome, now_ms)
        self._told = COMMITS

    def _deliver(self) -> None:
        if self._told:
            self._told -= 1
            self.deliverer.wake()

    async def _purge(self) -> bool:
        """Delete what has been over for long."""
        await self.accounts.purge()
        await self.packages.purge()
        await self.callbacks.purge()
        await self.credentials.purge()
        await self.tokens.purge()
        return False
