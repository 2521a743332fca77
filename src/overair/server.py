"""The whole service in one process: the domain, and its doors.

``async with Server(settings) as server`` opens everything; the doors' addresses are known then.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
import uvicorn
from sqlalchemy import text
from starlette.routing import Mount, Router

from overair.accounts.service import AccountService
from overair.accounts.store import SqlAccountStore
from overair.core import Core, CoreSettings
from overair.doors.callbacks.http import HttpSender, tls_context
from overair.doors.callbacks.targets import SystemResolver
from overair.doors.ddi.door import DdiDoor
from overair.doors.ddi.http import NO_TRUST, Trust
from overair.doors.images.host import ImageHost, image_routes
from overair.doors.lwm2m.door import Lwm2mDoor
from overair.doors.lwm2m.updates.addresses import Addresses
from overair.doors.operator.callbacks import OperatorCallbacks
from overair.doors.operator.campaigns import OperatorCampaigns
from overair.doors.operator.clock import OperatorClock
from overair.doors.operator.health import operator_routes
from overair.doors.operator.packages import PREFIX, operator_app
from overair.doors.operator.page import page_routes
from overair.doors.operator.status import Status, Vitals, status_routes
from overair.doors.operator.token import OperatorTokenError, operator_token
from overair.doors.thingspace.app import thingspace_app
from overair.doors.thingspace.http import AnyRoute
from overair.doors.thingspace.services import Services
from overair.platform.clock import Clock, ClockError, SandboxClock, SystemClock, was_moved
from overair.platform.database import Database, check_schema, embedded_url
from overair.platform.images import ImagesUnavailable
from overair.platform.limits import DEFAULT_LIMITS, Limits
from overair.platform.tasks import end
from overair.protocols.lwm2m.updating import Means

_log = structlog.get_logger()

Address = tuple[str, int]

LISTEN_BACKLOG = 2048
LOOPBACK = ("127.", "::1", "localhost")


class DoorError(Exception):
    """A door can't be opened; the message says which, and why."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``overair serve`` was told."""

    data: Path
    database_url: str | None = None
    http: Address = ("127.0.0.1", 8080)
    coaps: Address | None = ("127.0.0.1", 5684)
    coap: Address | None = None
    """Where devices may come without security; None: nowhere."""
    enrol_account: str | None = None
    """The account that takes in devices nobody has added; None refuses them."""
    images_url: str | None = None
    """Where images are kept; None: in the data directory."""
    require_signatures: bool = False
    """Whether packages that nobody signed are refused, and not offered."""
    callback_ca: Path | None = None
    """A file of CAs that receivers of callbacks may be certified by, besides the machine's."""
    callback_allow_private: bool = False
    """Whether callbacks may go to private, loopback and other addresses that are not public."""
    advertise: str | None = None
    """The name or address by which devices know this service; None: the address that reaches them."""
    public_url: str | None = None
    """Where the HTTP door is reached from outside, such as through a proxy with TLS."""
    sandbox: bool = False
    """Whether an operator may move the clock."""
    trust: Trust = NO_TRUST
    """Which proxies are believed in what they say of devices that speak HTTP."""
    limits: Limits = DEFAULT_LIMITS


class Server:
    """The running service."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._sandbox: SandboxClock | None = None
        self._resources = contextlib.AsyncExitStack()
        self.http_address: Address | None = None
        self.coap_address: Address | None = None
        self.coaps_address: Address | None = None

    async def __aenter__(self) -> "Server":
        async with contextlib.AsyncExitStack() as opening:
            await self._open(opening)
            self._resources = opening.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the doors first, then what stands behind them."""
        await self._resources.aclose()

    async def _open(self, opening: contextlib.AsyncExitStack) -> None:
        settings = self._settings
        await asyncio.to_thread(self._find_clock)
        database = Database(settings.database_url or embedded_url(settings.data))
        await asyncio.to_thread(check_schema, database.engine)
        await opening.enter_async_context(database)
        self.core = core = await self._core(database)
        self._addresses = Addresses(settings.advertise, settings.public_url)
        self._lwm2m = Lwm2mDoor(
            database, core.devices, core.credentials, core.packages, core.attempts, self._addresses,
            core.bandwidth, core.clock, core.limits,
        )  # fmt: skip
        self._images = ImageHost(core.packages.images, self._lwm2m.updates, core.bandwidth, core.limits)
        self._ddi = DdiDoor(
            database, core.devices, core.packages, core.attempts, self._images.sending, core.clock,
            core.limits, settings.trust,
        )  # fmt: skip
        core.make_jobs(
            {"LWM2M": self._lwm2m.updates, "HTTP": self._ddi.deployments}, await self._sender(opening)
        )
        self._lwm2m.updates.on_heard = self._ddi.contacts.on_heard = core.engine.heard
        opening.push_async_callback(self._ddi.close)
        await self._ddi.start()
        core.standings_of_doors = lambda: self._ddi.standings
        await self._open_http(opening, settings.http)
        await self._open_lwm2m(opening)
        opening.push_async_callback(end, asyncio.create_task(core.run()))

    def _find_clock(self) -> None:
        """Take the clock that the data directory goes by."""
        settings = self._settings
        if settings.sandbox:
            try:
                self._clock = self._sandbox = SandboxClock(settings.data)
            except ClockError as error:
                raise DoorError(str(error)) from error
        elif was_moved(settings.data):
            raise DoorError(f"{settings.data}: a sandbox moved its clock ahead; start it with --sandbox")

    @property
    def sandbox(self) -> SandboxClock | None:
        """The clock that an operator may move; None: this is no sandbox."""
        return self._sandbox

    async def _core(self, database: Database) -> Core:
        settings = self._settings
        enrol = None
        if settings.enrol_account is not None:
            accounts = AccountService(SqlAccountStore(database), self._clock, settings.limits)
            enrol = (await accounts.account(settings.enrol_account)).id
        core_settings = CoreSettings(
            settings.data, settings.limits, settings.images_url, settings.require_signatures
        )
        try:
            return Core(database, self._clock, core_settings, enrol_account_id=enrol)
        except ImagesUnavailable as error:
            raise DoorError(str(error)) from error

    async def _sender(self, opening: contextlib.AsyncExitStack) -> HttpSender:
        settings = self._settings
        try:
            context = await asyncio.to_thread(tls_context, settings.callback_ca)
        except OSError as error:
            raise DoorError(f"callbacks: {settings.callback_ca}: {error.strerror or error}") from error
        resolver = SystemResolver()
        opening.callback(resolver.close)
        return HttpSender(resolver, context, settings.limits, allow_private=settings.callback_allow_private)

    async def _open_lwm2m(self, opening: contextlib.AsyncExitStack) -> None:
        settings, door = self._settings, self._lwm2m
        opening.push_async_callback(door.close)
        await door.start()
        if settings.coaps is not None:
            with _opening("coaps", settings.coaps):
                self.coaps_address = await door.open_secure(settings.data, self.core.sealer, settings.coaps)
        if settings.coap is not None:
            with _opening("coap", settings.coap):
                self.coap_address = door.open_plain(settings.coap)
            host, port = self.coap_address
            reach = "loopback only" if host.startswith(LOOPBACK) else "reachable from outside"
            _log.warning("coap_without_security", host=host, port=port, reach=reach)
        door.watch_keys()

    async def _open_http(self, opening: contextlib.AsyncExitStack, address: Address) -> None:
        core, limits = self.core, self._settings.limits
        services = Services(
            core.accounts, core.devices, limits, core.licenses, core.campaigns, core.packages, core.callbacks
        )
        try:
            token = await asyncio.to_thread(operator_token, self._settings.data, os.environ)
        except OperatorTokenError as error:
            raise DoorError(str(error)) from error
        status = Status(core, self._vitals)
        operator = operator_app(core.packages, services, token, self._operator_routes(status, token))
        app = Router(
            [
                self._ddi.route(),
                *operator_routes(self._ready, self._readings),
                *image_routes(self._images),
                *page_routes(status, token),
                Mount(PREFIX, operator),
                Mount("/", thingspace_app(services)),
            ]
        )
        with _opening("http", address):
            sock = _listen(address)
        self.http_address = sock.getsockname()[:2]
        self._addresses.doors[Means.HTTP] = self.http_address
        config = uvicorn.Config(
            app, loop="asyncio", http="httptools", ws="none", lifespan="off", log_config=None,
            access_log=False, server_header=False, timeout_graceful_shutdown=5, proxy_headers=False,
        )  # fmt: skip
        http = _Http(config)
        serving = asyncio.create_task(http.serve(sockets=[sock]))
        opening.push_async_callback(http.stop, serving)

    async def _ready(self) -> bool:
        try:
            await self.core.database.read(lambda connection: connection.execute(text("SELECT 1")).all())
        except Exception:  # noqa: BLE001 - not ready, whatever the reason; it is logged
            _log.exception("not_ready")
            return False
        return True

    def _readings(self) -> Mapping[str, float]:
        core = self.core
        readings: dict[str, float] = {
            "write_backlog": core.database.backlog,
            "campaign_attempts": core.engine.running,
            "callback_lanes": core.deliverer.lanes,
        }
        for name, value in asdict(core.deliverer.counters).items():
            readings[f"callbacks_{name}_total"] = value
        return {**readings, **self._lwm2m.readings(), **self._ddi.readings()}

    def _operator_routes(self, status: Status, token: str) -> list[AnyRoute]:
        core = self.core
        return [
            *status_routes(status, token),
            *OperatorCampaigns(core, token).routes(),
            *OperatorCallbacks(core, token).routes(),
            *OperatorClock(self._sandbox, self._clock_moved, token).routes(),
        ]

    def _vitals(self) -> Vitals:
        updates, sandbox = self._lwm2m.updates, self._sandbox
        return Vitals(
            registrations=int(self._lwm2m.readings()["lwm2m_registrations"]),
            updates=len(updates),
            transfers=updates.transfers,
            ahead_seconds=None if sandbox is None else sandbox.ahead_ms // 1000,
        )

    def _clock_moved(self) -> None:
        self.core.wake()
        self._lwm2m.updates.wake()
        self._ddi.wake()


class _Http(uvicorn.Server):
    """uvicorn without its own signal handlers: the process's are in one place."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def stop(self, serving: "asyncio.Task[None]") -> None:
        self.should_exit = True
        await serving


@contextlib.contextmanager
def _opening(door: str, address: Address) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DoorError(f"{door} {address[0]}:{address[1]}: {error.strerror}") from error


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
        sock.listen(LISTEN_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
