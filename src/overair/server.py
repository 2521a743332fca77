"""The whole service in one process: database, domain, doors.

``async with Server(settings) as server`` opens everything; the doors' addresses are known then.
"""

import asyncio
import contextlib
import os
import random
import secrets
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
from overair.credentials.ring import KeyRing
from overair.credentials.sealing import Sealer
from overair.credentials.service import CredentialService
from overair.credentials.store import SqlCredentialStore
from overair.devices.service import DeviceService
from overair.devices.store import SqlDeviceStore
from overair.doors.lwm2m.face import UdpFace
from overair.doors.lwm2m.gateway import Gateway
from overair.doors.lwm2m.sessions import SavedSessions
from overair.doors.operator.health import operator_routes
from overair.doors.thingspace.app import thingspace_app
from overair.platform.clock import Clock, SystemClock
from overair.platform.database import Database, check_schema, embedded_url
from overair.platform.limits import DEFAULT_LIMITS, Limits
from overair.protocols import dtls
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
    coaps: Address | None = ("127.0.0.1", 5684)
    coap: Address | None = None
    """Where devices may come without security; None: nowhere."""
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
        if settings.coap is not None or settings.coaps is not None:
            await self._open_lwm2m(opening)
        await self._open_http(opening, settings.http)
        opening.push_async_callback(_end, asyncio.create_task(self._purge()))

    async def _open_lwm2m(self, opening: contextlib.AsyncExitStack) -> None:
        settings, database = self._settings, self._database
        # Tokens and message ids must not be guessed from earlier ones.
        self._endpoint = Endpoint(random=random.SystemRandom())
        face = UdpFace(self._endpoint, self._handle_event, busy=lambda: database.busy)
        database.on_idle(face.resume)
        sealer = Sealer(settings.data, os.environ)
        self.credentials = CredentialService(
            SqlCredentialStore(database), sealer, self._clock, settings.limits
        )
        keys = self.credentials.key_ring()
        opening.callback(keys.close)
        self._gateway = Gateway(
            self._endpoint, self.devices, self._clock, settings.limits, face.flush, keys.owner
        )
        opening.push_async_callback(self._gateway.close)
        await self._gateway.start()
        if settings.coaps is not None:
            await self.credentials.start()
            await self._open_coaps(opening, face, settings.coaps, keys, sealer)
        if settings.coap is not None:
            self._open_coap(face, settings.coap)
        opening.callback(face.close)

    async def _open_coaps(
        self,
        opening: contextlib.AsyncExitStack,
        face: UdpFace,
        address: Address,
        keys: KeyRing,
        sealer: Sealer,
    ) -> None:
        self._dtls = engine = dtls.Server(keys=keys, random=secrets.token_bytes)
        saved = SavedSessions(self._settings.data, sealer)
        now = asyncio.get_running_loop().time()
        self._gateway.associations(await asyncio.to_thread(saved.take_up, engine, now))
        with _opening("coaps", address):
            self.coaps_address = face.open_secure(engine, self._gateway.secured, *address)
        opening.push_async_callback(saved.keep, engine)

    def _open_coap(self, face: UdpFace, address: Address) -> None:
        with _opening("coap", address):
            self.coap_address = face.open(*address)
        host, port = self.coap_address
        reach = "loopback only" if address[0].startswith(LOOPBACK) else "reachable from outside"
        _log.warning("coap_without_security", host=host, port=port, reach=reach)

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
        if self.coap_address is not None or self.coaps_address is not None:
            readings["lwm2m_registrations"] = len(self._gateway.registry)
            for name, value in msgspec.structs.asdict(self._endpoint.counters).items():
                readings[f"coap_{name}_total"] = value
        if self.coaps_address is not None:
            readings["dtls_associations"] = len(self._dtls)
            for name, value in msgspec.structs.asdict(self._dtls.counters).items():
                readings[f"dtls_{name}_total"] = value
        return readings

    async def _purge(self) -> None:
        while True:
            await self.accounts.purge()
            if self.coaps_address is not None:
                await self.credentials.purge()
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
