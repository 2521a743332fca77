"""The thin typed layer between Starlette and the handlers.

A resource module is a table of :class:`Route`. A route says what a call must show (*guard*), what its body
is, which parameters it takes and what it answers; the handler gets these decoded, and returns a record, or
bytes that are JSON already. Routing (:func:`router`) and the OpenAPI document
(:mod:`overair.doors.thingspace.openapi`) are made from the same table.

A call is served in a fixed order: path, method, guard, body, handler. So a stranger without a token
makes us read nothing but the head of a request.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import structlog
from msgspec import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from overair.doors.thingspace import errors
from overair.doors.thingspace.errors import Problem, Refusal
from overair.doors.thingspace.services import Services
from overair.platform.limits import Limits
from overair.records import RecordError, decode_request, encode

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")
RecordT = TypeVar("RecordT", bound=Struct)

ADDRESS_CHARACTERS = 8192  # path and query each; the longest published query, 1000 IMEIs, goes in a body
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

log = structlog.get_logger(__name__)


class Call:
    """One request, with the services that its handler may use."""

    def __init__(self, request: Request, services: Services) -> None:
        self._request = request
        self.services = services

    @property
    def path(self) -> str:
        return str(self._request.scope["path"])

    def header(self, name: str) -> str | None:
        """Return a header without the white space around it; None when missing or empty."""
        return self._request.headers.get(name, "").strip() or None

    def value(self, parameter: "Parameter[T]") -> T:
        """Return a decoded parameter; :class:`Refusal` if it breaks its rule."""
        source: Mapping[str, str] = self._request.query_params
        if parameter.place == "path":
            source = self._request.path_params
        return parameter.read(source.get(parameter.name, ""))

    def stream(self) -> AsyncIterator[bytes]:
        """Return the body as it comes, for handlers with bounds of their own."""
        return self._request.stream()

    async def body(self, max_bytes: int | None = None) -> bytes:
        """Return the body; :class:`Refusal` when it is larger, or slower, than the limits allow."""
        limits = self.services.limits
        max_bytes = max_bytes or limits.request_body_bytes
        announced = self.header("content-length") or "0"
        if announced.isdecimal() and (len(announced) > 15 or int(announced) > max_bytes):
            raise Refusal(errors.BODY_TOO_LARGE)
        data = bytearray()
        try:
            async with asyncio.timeout(limits.request_timeout_seconds):
                async for chunk in self._request.stream():
                    if len(data) + len(chunk) > max_bytes:
                        raise Refusal(errors.BODY_TOO_LARGE)
                    data += chunk
        except (TimeoutError, ClientDisconnect):
            raise Refusal(errors.BODY_TOO_SLOW) from None
        return bytes(data)


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T]):
    """A parameter of the path or the query; *read* gets ``""`` when it is missing, and may refuse."""

    name: str
    place: Literal["path", "query"]
    read: Callable[[str], T]
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Body(Generic[B]):
    """What a call carries, and how it is decoded."""

    read: Callable[[Call], Awaitable[B]]
    media_type: str = ""
    schema: type[Struct] | Mapping[str, Any] | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Guard(Generic[A]):
    """What a call must show before anything else of it is looked at; *check* refuses or says who calls."""

    check: Callable[[Call], Awaitable[A]]
    schemes: tuple[str, ...] = ()
    """Security schemes of the OpenAPI document, all of them needed."""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with headers of its own; without a record its body is empty."""

    record: Struct | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = bytes | Struct | Reply
"""Bytes are JSON that has been encoded before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Generic[A, B]):
    """A line of a resource's table."""

    method: str
    path: str
    summary: str
    guard: Guard[A]
    body: Body[B]
    handler: Callable[[Call, A, B], Awaitable[Answer]]
    answer: type[Struct] | None
    listed: bool = False
    """Whether the answer is an array of that record."""
    parameters: tuple[Parameter[Any], ...] = ()
    problems: tuple[Problem, ...] = ()
    """Those of the handler, besides those of its guard, body and parameters."""


AnyRoute = Route[Any, Any]


async def _nothing(_: Call) -> None:
    return None


NO_BODY = Body(_nothing)
ANYONE = Guard(_nothing)


def _usual_bytes(limits: Limits) -> int:
    return limits.request_body_bytes


def json_body(
    record_type: type[RecordT],
    refuse: Callable[[RecordError], Problem],
    *problems: Problem,
    max_bytes: Callable[[Limits], int] = _usual_bytes,
) -> Body[RecordT]:
    """Return a body that is JSON whatever its Content-Type says (Q1); *refuse* words what is wrong."""

    async def read(call: Call) -> RecordT:
        most = max_bytes(call.services.limits)
        data = await call.body(most)
        try:
            return decode_request(record_type, data, most)
        except RecordError as error:
            raise Refusal(refuse(error)) from None

    return Body(read, JSON, record_type, problems)


def router(routes: Iterable[AnyRoute], services: Services, *more: StarletteRoute) -> ASGIApp:
    """Return the ASGI application that serves the table, and *more* routes beside it."""
    by_path: dict[str, dict[str, AnyRoute]] = {}
    for route in routes:
        by_path.setdefault(route.path, {})[route.method] = route
    served = [
        StarletteRoute(path, _Endpoint(by_path[path], services), include_in_schema=False)
        for path in sorted(by_path, key=_literals_first)
    ]
    return _Doorstep(Router([*served, *more], redirect_slashes=False, default=_no_route))


def _literals_first(path: str) -> list[bool]:
    return [segment.startswith("{") for segment in path.split("/")]


class _Doorstep:
    """Mends the path before it is routed (Q2), and never redirects: clients drop the body on the way."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if max(len(scope["path"]), len(scope.get("query_string", b""))) > ADDRESS_CHARACTERS:
                await _refused(errors.ADDRESS_TOO_LONG)(scope, receive, send)
                return
            path = re.sub("/{2,}", "/", scope["path"])
            scope = {**scope, "path": path.removesuffix("/") or "/"}
        await self._app(scope, receive, send)


class _Endpoint:
    """All methods of one path."""

    def __init__(self, methods: dict[str, AnyRoute], services: Services) -> None:
        self._methods = methods
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._respond(Request(scope, receive))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        # The server leaves out the body of an answer to HEAD.
        route = self._methods.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            return _refused(errors.wrong_method(", ".join(sorted(self._methods))))
        call = Call(request, self._services)
        try:
            caller = await route.guard.check(call)
            body = await route.body.read(call)
            return _answered(await route.handler(call, caller, body))
        except Exception as error:
            problem = errors.problem_of(error, route.path)
            if problem is None:
                log.exception("call failed", method=route.method, path=route.path)
            return _refused(problem or errors.INTERNAL)


def _answered(answer: Answer) -> Response:
    if isinstance(answer, bytes):
        return Response(answer, media_type=JSON)
    if isinstance(answer, Struct):
        return Response(encode(answer), media_type=JSON)
    if answer.record is None:
        return Response(headers=answer.headers)
    return Response(encode(answer.record), headers=answer.headers, media_type=JSON)


def _refused(problem: Problem) -> Response:
    return Response(encode(problem.body), problem.status, problem.headers, JSON)


async def _no_route(scope: Scope, receive: Receive, send: Send) -> None:
    gone: ASGIApp = WebSocketClose() if scope["type"] == "websocket" else _refused(errors.NO_ROUTE)
    await gone(scope, receive, send)
