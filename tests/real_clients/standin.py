"""An LwM2M server of a few lines, on aiocoap: proves the clients and this harness without our own service."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field

from aiocoap import Context, Message
from aiocoap.numbers.codes import CHANGED, CREATED, DELETED, GET, Code
from aiocoap.resource import Resource, Site

LOCATION = ("rd", "5a3f")


@dataclass
class Seen:
    """One request on the registration interface."""

    operation: str
    remote: object
    queries: tuple[str, ...]
    payload: str


@dataclass
class StandIn:
    """Accepts every registration under one location and remembers what it saw, in order."""

    port: int
    refusal: Code | None = None
    """If set, the answer to every registration."""
    seen: list[Seen] = field(default_factory=list)
    _context: Context | None = None

    @classmethod
    async def start(cls) -> StandIn:
        """Starts one on a free port of the loopback interface."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            server = cls(probe.getsockname()[1])
        site = Site()
        site.add_resource(["rd"], _Registration(server))
        site.add_resource(LOCATION, _Location(server))
        server._context = await Context.create_server_context(site, bind=("127.0.0.1", server.port))
        return server

    @property
    def uri(self) -> str:
        """Its address for a client."""
        return f"coap://127.0.0.1:{self.port}"

    async def read(self, path: str, accept: int | None = None, timeout_seconds: float = 5) -> Message:
        """Reads from whoever spoke last; raises TimeoutError without an answer."""
        if self._context is None:
            raise RuntimeError("the server is not started")
        request = Message(code=GET, uri_path=path.strip("/").split("/"), accept=accept)
        request.remote = self.seen[-1].remote
        async with asyncio.timeout(timeout_seconds):
            return await self._context.request(request).response

    def see(self, operation: str, request: Message) -> None:
        """Remembers a request."""
        queries = tuple(request.opt.uri_query)
        self.seen.append(Seen(operation, request.remote, queries, request.payload.decode()))

    async def stop(self) -> None:
        """Closes its socket."""
        if self._context is not None:
            await self._context.shutdown()
            self._context = None


class _Registration(Resource):
    def __init__(self, server: StandIn) -> None:
        super().__init__()
        self._server = server

    async def render_post(self, request: Message) -> Message:
        self._server.see("register", request)
        if self._server.refusal is not None:
            return Message(code=self._server.refusal)
        return Message(code=CREATED, location_path=LOCATION)


class _Location(_Registration):
    async def render_post(self, request: Message) -> Message:
        self._server.see("update", request)
        return Message(code=CHANGED)

    async def render_delete(self, request: Message) -> Message:
        self._server.see("deregister", request)
        return Message(code=DELETED)
