"""The domain and its background jobs on one database: everything but the doors."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

from overair.accounts.service import AccountService
from overair.accounts.store import SqlAccountStore
from overair.callbacks.deliverer import Deliverer
from overair.callbacks.lane import Send
from overair.callbacks.service import CallbackService
from overair.campaigns import checking
from overair.campaigns.engine import Engine
from overair.campaigns.model import Driver
from overair.campaigns.service import Attempts, CampaignService
from overair.credentials.service import CredentialService
from overair.credentials.store import SqlCredentialStore
from overair.devices.service import DeviceService
from overair.devices.store import SqlDeviceStore
from overair.licenses.service import LicenseService
from overair.packages.service import PackageService
from overair.platform.bandwidth import Bandwidth
from overair.platform.clock import Clock
from overair.platform.database import Database
from overair.platform.limits import Limits
from overair.platform.reconciler import Standing
from overair.platform.sealing import Sealer


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
            SqlDeviceStore(database), clock, limits, enrol_account_id=enrol_account_id
        )
        self.credentials = CredentialService(SqlCredentialStore(database), self.sealer, clock, limits)
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
        )
        self.bandwidth = Bandwidth(limits.download_bytes_per_second)
        self.callbacks = CallbackService(database, self.sealer, clock, limits)
        self.campaigns = CampaignService(database, clock, limits)
        self.attempts = Attempts(database, clock)
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

    async def run(self) -> None:
        """Run the jobs until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.engine.run())
            group.create_task(self.deliverer.run())

    @property
    def standings(self) -> list[Standing]:
        """How the jobs are doing."""
        return [*self.engine.standings, self.deliverer.status]

    def wake(self) -> None:
        """Have all jobs look at once: the clock was moved."""
        self.engine.wake()
        self.deliverer.wake()

    async def purge(self) -> None:
        """Delete what has been over for long; call it now and then."""
        await self.accounts.purge()
        await self.packages.purge()
        await self.callbacks.purge()
        await self.credentials.purge()
