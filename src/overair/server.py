"""The whole service in one process: database, domain, doors.

``async with Server(settings) as server`` opens everything; the doors' addresses are known then.
"""

import asyncio
import contextlib
import random
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog
import uvicorn
from sqlalchemy import text
from starlette.routing import Mount, Router

from overair.accounts.service import AccountService
from overair.accounts.store import SqlAccountStore
from overair.devices.service import DeviceService
from overair.devices.store import SqlDeviceStore
from overair.doors.lwm2m.face import UdpFace
from overair.doors.lwm2m.gateway import Gateway
from overair.doors.operator.health import operator_routes
from overair.doors.thingspace.app import thingspace_app
from overair.platform.clock import Clock, SystemClock
from overair.platform.database import Database, check_schema, embedded_url
from overair.platform.limits import DEFAULT_LIMITS, Limits
from overair.protocols.coap import Endpoint

_log = structlog.get_logger()

Address = tuple[str, int]

PURGE_SECONDS = 3600
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
    coap: Address | None = ("127.0.0.1", 5683)
    enrol_account: str | None = None
    """The account that takes in devices nobody has added; None refuses them."""
    limits: Limits = DEFAULT_LIMITS


class Server:
    """The running service."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._resources = contextlib.AsyncExitStack()
        self.http_address: Address | None = None
        self.coap_address: Address | None = None

    async def __aenter__(self) -> "Server":
        async with contextlib.AsyncExitStack() as opening:
            await self._open(opening)
            self._resources = opening.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the doors first, then what stands behind them."""
        await self._resources.aclose()

    async def _open(self, opening: contextlib.AsyncExitStack) -> None:
        settings, limits = self._settings, self._settings.limits
        self._database = Database(settings.database_url or embedded_url(settings.data))
        await asyncio.to_thread(check_schema, self._database.engine)
        await opening.enter_async_context(self._database)
        self.accounts = AccountService(SqlAccountStore(self._database), self._clock, limits)
        enrol = await self.accounts.account(settings.enrol_account) if settings.enrol_account else None
        self.devices = DeviceService(
            SqlDeviceStore(self._database),
            self._clock,
            limits,
            enrol_account_id=enrol.id if enrol else None,
        )
        if settings.coap is not None:
            await self._open_coap(opening, settings.coap)
        await self._open_http(opening, settings.http)
        opening.push_async_callback(_end, asyncio.create_task(self._purge()))

    async def _open_coap(self, opening: contextlib.AsyncExitStack, address: Address) -> None:
        limits = self._settings.limits
        # Tokens and message ids must not be guessed from earlier ones.
        self._endpoint = Endpoint(random=random.SystemRandom())
        database = self._database
        face = UdpFace(self._endpoint, self._handle_event, busy=lambda: database.busy)
        database.on_idle(face.resume)
        self._gateway = Gateway(self._endpoint, self.devices, self._clock, limits, face.flush)
        opening.push_async_callback(self._gateway.close)
        await self._gateway.start()
        with _opening("coap", address):
            self.coap_address = face.open(*address)
        opening.callback(face.close)
        reach = "loopback only" if address[0].startswith(LOOPBACK) else "reachable from outside"
        _log.warning(
            "coap_without_security", host=self.coap_address[0], port=self.coap_address[1], reach=reach
        )

    async def _open_http(self, opening: contextlib.AsyncExitStack, address: Address) -> None:
        api = thingspace_app(self.accounts, self.devices, self._settings.limits)
        app = Router([*operator_routes(self._ready, self._readings), Mount("/", api)])
        with _opening("http", address):
            sock = _listen(address)
        self.http_address = sock.getsockname()[:2]
        config = uvicorn.Config(
            app, loop="asyncio", http="httptools", ws="none", lifespan="off", log_config=None,
            access_log=False, server_header=False, timeout_graceful_shutdown=5,
        )  # fmt: skip
        http = _Http(config)
        serving = asyncio.create_task(http.serve(sockets=[sock]))
        opening.push_async_callback(http.stop, serving)

    def _handle_event(self, event: object) -> None:
        self._gateway.handle(event)  # type: ignore[arg-type]

    async def _ready(self) -> bool:
        try:
            await self._database.read(lambda connection: connection.execute(text("SELECT 1")).all())
        except Exception:  # noqa: BLE001 - not ready, whatever the reason; it is logged
            _log.exception("not_ready")
            return False
        return True

    def _readings(self) -> Mapping[str, float]:
        readings: dict[str, float] = {"write_backlog": self._database.backlog}
        if self.coap_address is not None:
            readings["lwm2m_registrations"] = len(self._gateway.registry)
            for name, value in msgspec.structs.asdict(self._endpoint.counters).items():
                readings[f"coap_{name}_total"] = value
        return readings

    async def _purge(self) -> None:
        while True:
            await self.accounts.purge()
            await asyncio.sleep(PURGE_SECONDS)


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


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
