"""All updates that are going on over LwM2M: the campaign engine's driver for this protocol."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from overair.campaigns.model import Assignment
from overair.campaigns.service import Attempts
from overair.devices.model import Observed, imei_text
from overair.devices.service import DeviceService
from overair.doors.lwm2m.conversation import Conversation
from overair.doors.lwm2m.registry import Live, Registry
from overair.doors.lwm2m.security import Nowhere, address_of
from overair.doors.lwm2m.updates.addresses import Addresses
from overair.doors.lwm2m.updates.body import Whole, Wholes
from overair.doors.lwm2m.updates.files import EXPECTED_SECONDS
from overair.doors.lwm2m.updates.places import Places
from overair.doors.lwm2m.updates.update import Update
from overair.packages.model import ImageGrant, Package, State
from overair.packages.service import PackageService
from overair.platform.clock import Clock
from overair.platform.images import UnknownImage
from overair.platform.limits import Limits
from overair.platform.secrets import random_text
from overair.protocols.coap import Endpoint, Observation
from overair.protocols.lwm2m import Path, Value, format_path
from overair.protocols.lwm2m.updating import Detail, Means, Policy

_log = structlog.get_logger()

TOKEN_CHARACTERS = 16  # 95 bits
RESOLVE_TRIES = 20  # for ten seconds: a request holds a place of the HTTP door


class Updates:
    """The driver. Devices are found in *registry*; what comes of attempts goes to *attempts*."""

    retry_seconds = 60.0
    longest_seconds = 900.0
    taking_up_seconds = 2.0
    """After the start: the doors open before the attempts that run are taken up."""

    def __init__(
        self,
        endpoint: Endpoint,
        registry: Registry,
        devices: DeviceService,
        packages: PackageService,
        attempts: Attempts,
        addresses: Addresses,
        clock: Clock,
        limits: Limits,
        flush: Callable[[], None],
        policy: Policy | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.clock = clock
        self.flush = flush
        self.policy = policy or Policy()
        self._registry = registry
        self._devices = devices
        self._packages = packages
        self._attempts = attempts
        self._addresses = addresses
        self.places = Places(limits.transfers_at_once)
        self.push_bytes = limits.image_memory_bytes
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._updates: dict[int, Update] = {}
        self._tokens: dict[str, Update] = {}
        self.on_heard: Callable[[int], None] = lambda _imei: None
        """Called with a device that is awake and has no update going on."""
        self._images = Wholes(packages.images)

    def __len__(self) -> int:
        return len(self._updates)

    @property
    def transfers(self) -> int:
        """How many images are on their way to devices."""
        return self.places.taken

    # Told by the engine.

    def ready(self, imei: int) -> bool:
        """Whether an update of a device could begin right now."""
        return imei not in self._updates and self.listening(imei) is not None

    def begin(self, assignment: Assignment) -> None:
        """Begin an update, or go on with one."""
        update = Update(self, assignment, random_text(TOKEN_CHARACTERS))
        self._updates[assignment.imei] = update
        self._tokens[update.job.token] = update
        update.wake()

    def stop(self, imei: int) -> None:
        """End an update as far as that is still possible."""
        update = self._updates.get(imei)
        if update is not None:
            update.stop()

    def wake(self) -> None:
        """Look at all updates: the clock was moved."""
        for update in self._updates.values():
            update.wake()

    async def close(self) -> None:
        """Let go of all updates; they are taken up after a restart."""
        updates = list(self._updates.values())
        self._updates.clear()  # first, so that none of them goes on
        self._tokens.clear()
        await asyncio.gather(*[update.close() for update in updates])

    # Told by the gateway.

    def device_registered(self, imei: int) -> None:
        """The device registered anew."""
        update = self._updates.get(imei)
        if update is not None:
            update.registered()
        else:
            self.on_heard(imei)

    def device_heard(self, imei: int) -> None:
        """The device is awake."""
        update = self._updates.get(imei)
        if update is not None:
            update.wake()
        else:
            self.on_heard(imei)

    def device_said(self, imei: int, values: Mapping[Path, Value]) -> None:
        """The device said something unasked, such as its state."""
        update = self._updates.get(imei)
        if update is not None:
            update.learned(values)

    # Asked by the file servers.

    def grant(self, token: str) -> tuple[int, ImageGrant] | None:
        """Return the device that a token was made for, and its image; None for a token of no update."""
        update = self._tokens.get(token)
        return None if update is None or update.grant is None else (update.imei, update.grant)

    def expects(self, token: str) -> bool:
        """Return whether a token without an image may have one in a moment."""
        return token in self._tokens or self._loop.time() < self._since + self.taking_up_seconds

    async def resolve(self, token: str) -> ImageGrant | None:
        """Return the image behind a token, for the HTTP door."""
        for _ in range(RESOLVE_TRIES):
            if self.grant(token) is not None or not self.expects(token):
                break
            await asyncio.sleep(EXPECTED_SECONDS)
        update = self._tokens.get(token)
        if update is None:
            return None
        update.fetched(refused=False)
        return update.grant

    def fetched(self, token: str, *, refused: bool = False) -> None:
        """A device asked for a part of its image."""
        update = self._tokens.get(token)
        if update is not None:
            update.fetched(refused=refused)

    def host_of(self, imei: int) -> str | None:
        """Return where a device is registered from."""
        live = self._registry.by_imei(imei)
        return None if live is None else _host(live)

    # Asked by updates.

    def is_over(self, update: Update) -> bool:
        return self._updates.get(update.imei) is not update

    def registered(self, imei: int) -> Live | None:
        return self._registry.by_imei(imei)

    def listening(self, imei: int) -> Live | None:
        live = self._registry.by_imei(imei)
        if live is None or isinstance(live.peer, Nowhere) or not self._registry.reaches(live):
            return None
        return live if live.is_awake(self._loop.time()) else None

    def conversation(self, live: Live) -> Conversation:
        return Conversation(self.endpoint, live, self.flush)

    def means(self, live: Live | None) -> frozenset[Means]:
        if live is None:
            return frozenset()
        return self._addresses.means(_host(live), secure=bool(live.registration.identity))

    def image_url(self, update: Update, means: Means, live: Live, *, short: bool) -> str:
        return self._addresses.image_url(means, update.job.token, _host(live), short=short)

    async def package(self, package_id: str) -> Package | None:
        package = await self._packages.get_by_id(package_id)
        return package if package.state is State.READY else None

    async def whole(self, update: Update) -> Whole:
        if update.grant is None:
            raise UnknownImage("before the image was looked for")
        return await self._images.get(update.grant)

    async def observed(self, live: Live, path: Path, observation: Observation) -> None:
        registration = live.registration
        kept = Observed(
            registration.imei,
            format_path(path),
            observation.token,
            registration.location,
            self.clock.now_ms(),
        )
        await self._devices.observe(kept)

    async def keep(self, update: Update, progress: bytes) -> None:
        await self._attempts.keep(*_key(update), progress)

    # An update is forgotten when its end is stored: if that fails it goes on, and says so again.

    async def succeeded(self, update: Update, version: str | None) -> None:
        await self._attempts.succeeded(*_key(update), version)
        self._forget(update)

    async def failed(self, update: Update, detail: str) -> None:
        await self._attempts.failed(*_key(update), detail, None)
        self._forget(update)

    async def retry(self, update: Update, detail: str, at_ms: int) -> None:
        seconds = max(0, at_ms - self.clock.now_ms()) / 1000
        await self._attempts.failed(*_key(update), detail, seconds)
        self._forget(update)
        # Its row may have been looked at since the commit, and put off because this update was still here.
        self.on_heard(update.imei)

    async def refused(self, update: Update) -> None:
        _log.warning("package_missing", imei=imei_text(update.imei), package=update.assignment.package_name)
        await self._attempts.refused(*_key(update), Detail.PACKAGE)
        self._forget(update)

    def _forget(self, update: Update) -> None:
        self._tokens.pop(update.job.token, None)
        self._updates.pop(update.imei, None)
        update.let_go()
        self.places.leave(update)


def _key(update: Update) -> tuple[int, int, int]:
    assignment = update.assignment
    return assignment.campaign_id, assignment.imei, assignment.attempt


def _host(live: Live) -> str:
    """Return where a device was last: its peer, or after a restart what was stored."""
    return live.registration.host if isinstance(live.peer, Nowhere) else address_of(live.peer)[0]
