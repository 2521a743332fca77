"""The door for LwM2M devices as a whole: sockets, CoAP, DTLS, registrations, updates."""

import asyncio
import contextlib
import random
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from overair.campaigns.service import Attempts
from overair.credentials.service import CredentialService
from overair.credentials.watch import LOOK_SECONDS
from overair.devices.service import DeviceService
from overair.doors.lwm2m.face import UdpFace
from overair.doors.lwm2m.gateway import Gateway
from overair.doors.lwm2m.sessions import SavedSessions
from overair.doors.lwm2m.updates.addresses import Addresses
from overair.doors.lwm2m.updates.driver import Updates
from overair.doors.lwm2m.updates.files import Files
from overair.packages.service import PackageService
from overair.platform.bandwidth import Bandwidth
from overair.platform.clock import Clock
from overair.platform.database import Database
from overair.platform.limits import Limits
from overair.platform.reconciler import Reconciler
from overair.platform.sealing import Sealer
from overair.platform.tasks import end
from overair.protocols import dtls
from overair.protocols.coap import Endpoint, Event
from overair.protocols.lwm2m.updating import Means

Address = tuple[str, int]

ECHO_SECRET_BYTES = 16


class Lwm2mDoor:
    """Opens on the addresses that it is told; until then devices find nobody.

    *updates* is the driver that the campaign engine gets.
    """

    def __init__(
        self,
        database: Database,
        devices: DeviceService,
        credentials: CredentialService,
        packages: PackageService,
        attempts: Attempts,
        addresses: Addresses,
        bandwidth: Bandwidth,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._credentials = credentials
        self._addresses = addresses
        self._clock = clock
        self._resources = contextlib.AsyncExitStack()
        # Tokens and message ids must not be guessed from earlier ones.
        self._endpoint = Endpoint(random=random.SystemRandom())
        self._face = UdpFace(self._endpoint, self._handle, busy=lambda: database.busy)
        database.on_idle(self._face.resume)
        self._keys = credentials.key_ring()
        self._gateway = Gateway(
            self._endpoint, devices, clock, limits, self._face.flush,
            owner=self._keys.owner, has_key=self._keys.has_key,
        )  # fmt: skip
        self.updates = Updates(
            self._endpoint, self._gateway.registry, devices, packages, attempts, addresses, clock, limits,
            self._face.flush,
        )  # fmt: skip
        files = Files(
            self._endpoint, packages.images, self.updates, self._keys.owner, bandwidth, self._gateway.answers,
            self._face.flush, secrets.token_bytes(ECHO_SECRET_BYTES),
        )  # fmt: skip
        self._gateway.attend(self.updates)
        self._gateway.serve(files)
        self._dtls: dtls.Server | None = None

    async def start(self) -> None:
        """Take up what was registered before a restart."""
        self._resources.callback(self._keys.close)
        self._resources.push_async_callback(self._gateway.close)
        self._resources.push_async_callback(self.updates.close)
        await self._gateway.start()

    async def open_secure(self, data: Path, sealer: Sealer, address: Address) -> Address:
        """Listen for DTLS, with the associations that were saved; returns the address bound."""
        await self._credentials.start()
        self._dtls = engine = dtls.Server(keys=self._keys, random=secrets.token_bytes)
        saved = SavedSessions(data, sealer)
        now = asyncio.get_running_loop().time()
        self._gateway.security.take_up(engine, await asyncio.to_thread(saved.take_up, engine, now))
        bound = self._face.open_secure(engine, self._gateway.security.take, *address)
        self._addresses.doors[Means.COAPS] = bound
        self._resources.push_async_callback(saved.keep, engine)
        return bound

    def open_plain(self, address: Address) -> Address:
        """Listen without security; returns the address bound."""
        bound = self._face.open(*address)
        self._addresses.doors[Means.COAP] = bound
        return bound

    def watch_keys(self) -> None:
        """Have those go whose keys were taken away; call it when the doors are open."""
        watch = self._credentials.key_watch(self._keys)
        watch.on_change(self._gateway.security.keys_changed)
        looking = Reconciler("keys", watch.look, self._clock, period_seconds=LOOK_SECONDS)
        self._resources.push_async_callback(end, asyncio.create_task(looking.run()))
        self._resources.callback(self._face.close)

    async def close(self) -> None:
        """Close the sockets first, then what stands behind them."""
        await self._resources.aclose()

    def readings(self) -> Mapping[str, float]:
        """Return figures for the operator, by name."""
        readings: dict[str, float] = {
            "lwm2m_registrations": len(self._gateway.registry),
            "lwm2m_updates": len(self.updates),
        }
        for name, value in msgspec.structs.asdict(self._endpoint.counters).items():
            readings[f"coap_{name}_total"] = value
        if self._dtls is not None:
            readings["dtls_associations"] = len(self._dtls)
            for name, value in msgspec.structs.asdict(self._dtls.counters).items():
                readings[f"dtls_{name}_total"] = value
        return readings

    def _handle(self, event: Event) -> None:
        self._gateway.handle(event)
