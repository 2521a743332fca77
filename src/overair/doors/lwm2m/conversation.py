"""Asking one device: Reads and Writes, with the formats that it understands (spec lwm2m.md, 5 and 6.1)."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from overair.doors.lwm2m.registry import Live
from overair.protocols.coap import (
    Endpoint,
    Exchange,
    Failure,
    FailureReason,
    LimitReachedError,
    Message,
    MessageFieldError,
    Observation,
    Options,
    Response,
    codes,
    encode_uint,
)
from overair.protocols.lwm2m import (
    ContentError,
    Path,
    Value,
    decode,
    encode,
    read_formats,
    write_formats,
)
from overair.protocols.lwm2m.arguments import Argument, format_arguments
from overair.protocols.lwm2m.content import TEXT, TLV, encode_paths
from overair.protocols.lwm2m.negotiation import composite_formats

_FORBIDDEN = (codes.UNAUTHORIZED, codes.FORBIDDEN)
_OTHER_FORMAT = (codes.NOT_ACCEPTABLE, codes.UNSUPPORTED_CONTENT_FORMAT)
_NO_ANSWER = (FailureReason.TIMEOUT, FailureReason.CANCELLED)


class Silent(Exception):
    """The device did not answer: it sleeps, or it is gone."""


class Refused(Exception):
    """The device answered with an error code, or with what can't be read."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code

    @property
    def forbidden(self) -> bool:
        """Whether its access control says no."""
        return self.code in _FORBIDDEN


class Conversation:
    """What is asked of one registered device, one request at a time.

    Answers reach it through :meth:`settle`, which the gateway calls with the endpoint's events.
    """

    def __init__(self, endpoint: Endpoint, live: Live, flush: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self.live = live
        self.asked_until = 0.0
        """Until when the device was awake as far as known when it was asked last; loop's seconds."""
        self._flush = flush
        self._loop = asyncio.get_running_loop()

    async def read(self, path: Path) -> dict[Path, Value]:
        """Read an object, an instance or a resource; values by full path.

        Raises :class:`Silent` or :class:`Refused`.
        """
        _, answer = await self._get(path)
        return _decoded(answer, path)

    @property
    def composes(self) -> bool:
        """Whether several paths can be read in one message, as far as known (spec lwm2m.md, 5.1)."""
        live = self.live
        known = (live.worked or {}).get(composite_formats(live.objects), 0)
        return live.registration.lwm2m_version != "1.0" and known is not None

    async def read_composite(self, paths: Sequence[Path]) -> dict[Path, Value]:
        """Read several paths at once; values by full path, without those that the device has not.

        Raises :class:`Silent` or :class:`Refused`; from then on it :attr:`composes` no more.
        """
        formats = composite_formats(self.live.objects)
        try:
            number, answer = await self._fetch(formats, paths)
            values = _decoded(answer, ())
        except (Silent, Refused):
            # Of some clients a method that they don't know gets no answer at all.
            self._remember(formats, None)
            raise
        asked = {path: value for path, value in values.items() if _is_under(path, paths)}
        if not asked:
            self._remember(formats, None)
            raise Refused(answer.code, "nothing of what was asked for")
        if number != formats[0]:
            self._remember(formats, number)
        return asked

    async def observe(self, path: Path) -> tuple[dict[Path, Value], Observation | None]:
        """Read a resource and have its changes reported; None where the device does not observe.

        Raises :class:`Silent` or :class:`Refused`.
        """
        exchange, answer = await self._get(path, observe=True)
        return _decoded(answer, path), exchange.observation

    async def write(self, path: Path, value: Value) -> None:
        """Write one resource. Raises :class:`Silent` or :class:`Refused`."""
        code = codes.UNSUPPORTED_CONTENT_FORMAT
        for content_format in write_formats(path, self.live.registration.lwm2m_version, self.live.objects):
            payload = encode(content_format, {path: value}, path)
            options = ((codes.CONTENT_FORMAT, encode_uint(content_format)),)
            _, answer = await self._ask(codes.PUT, path, options, payload)
            if answer.code == codes.CHANGED:
                return
            code = answer.code
            if code not in _OTHER_FORMAT:
                break
        raise Refused(code, f"{path}: {codes.code_name(code)}")

    async def execute(self, path: Path, arguments: Sequence[Argument] = ()) -> None:
        """Execute a resource. Raises :class:`Silent` or :class:`Refused`."""
        payload = format_arguments(arguments)
        # Some clients refuse a Content-Format where there is nothing (spec lwm2m.md, 5.6).
        options = ((codes.CONTENT_FORMAT, encode_uint(TEXT)),) if payload else ()
        _, answer = await self._ask(codes.POST, path, options, payload)
        if answer.code != codes.CHANGED:
            raise Refused(answer.code, f"{path}: {codes.code_name(answer.code)}")

    async def create(self, object_id: int) -> Path | None:
        """Create an instance of an object; returns its path where the device names it.

        Raises :class:`Silent` or :class:`Refused`.
        """
        options = ((codes.CONTENT_FORMAT, encode_uint(TLV)),)
        _, answer = await self._ask(codes.POST, (object_id,), options)
        if answer.code != codes.CREATED:
            raise Refused(answer.code, f"/{object_id}: {codes.code_name(answer.code)}")
        place = [value.decode() for number, value in answer.options if number == codes.LOCATION_PATH]
        last = place[-1] if place else ""
        return (object_id, int(last)) if last.isascii() and last.isdigit() else None

    async def _get(self, path: Path, *, observe: bool = False) -> tuple[Exchange, Message]:
        """Try the formats that the device may speak until it answers with content."""
        live = self.live
        code = codes.NOT_ACCEPTABLE
        formats = read_formats(path, live.registration.lwm2m_version, live.objects)
        for accept in _best_first(formats, live):
            exchange, answer = await self._ask(codes.GET, path, _accepting(accept), observe=observe)
            if answer.code == codes.CONTENT:
                if accept != formats[0]:
                    self._remember(formats, accept)
                return exchange, answer
            code = answer.code
            if code not in _OTHER_FORMAT:
                break
        raise Refused(code, f"{path}: {codes.code_name(code)}")

    async def _fetch(self, formats: tuple[int, ...], paths: Sequence[Path]) -> tuple[int, Message]:
        code = codes.METHOD_NOT_ALLOWED
        for number in _best_first(formats, self.live):
            if number is None:
                continue
            given = (codes.CONTENT_FORMAT, encode_uint(number))
            options = (given, *_accepting(number))
            _, answer = await self._ask(codes.FETCH, (), options, encode_paths(number, paths))
            if answer.code == codes.CONTENT:
                return number, answer
            code = answer.code
            if code not in _OTHER_FORMAT:
                break
        raise Refused(code, f"composite: {codes.code_name(code)}")

    def _remember(self, formats: tuple[int | None, ...], worked: int | None) -> None:
        """Until the next Register; the tuples of single and composite reads differ."""
        self.live.worked = {**(self.live.worked or {}), formats: worked}

    async def _ask(
        self, code: int, path: Path, options: Options, payload: bytes = b"", *, observe: bool = False
    ) -> tuple[Exchange, Message]:
        now = self._loop.time()
        if not self.live.is_awake(now):
            raise Silent("asleep")
        self.asked_until = self.live.awake_until
        waiter: asyncio.Future[Response | Failure] = self._loop.create_future()
        ask = self._endpoint.observe if observe else self._endpoint.request
        try:
            exchange = ask(
                self.live.peer,
                code,
                path=(*_segments(self.live.objects.root), *map(str, path)),
                options=options,
                payload=payload,
                context=waiter,
                now=now,
            )
        except LimitReachedError as full:
            raise Silent(str(full)) from full
        except MessageFieldError as error:  # the root that the device registered is part of the path
            raise Refused(0, str(error)) from error
        self._flush()
        try:
            await self._answered(waiter, exchange)
        finally:
            if not exchange.done:
                self._endpoint.cancel(exchange)
            if exchange.observation is not None:
                exchange.observation.context = None  # or it would keep the answer for as long as it lasts
        event = waiter.result()
        if isinstance(event, Failure):
            raise _failure(event)
        return exchange, event.message

    async def _answered(self, waiter: asyncio.Future[Response | Failure], exchange: Exchange) -> None:
        """Wait for the answer; to a device that sleeps nothing is repeated (spec lwm2m.md, 4.1)."""
        live, received = self.live, 0
        while live.queue_mode and not waiter.done():
            await asyncio.wait([waiter], timeout=max(0.0, live.awake_until - self._loop.time()))
            if exchange.bytes_received > received:
                received = exchange.bytes_received
                live.touched(self._loop.time())  # each block of a long answer is a sign of life too
            if not waiter.done() and not live.is_awake(self._loop.time()):
                raise Silent("asleep")
        if not waiter.done():
            await asyncio.wait([waiter])


def settle(event: Response | Failure) -> None:
    """Hand an answer, or the lack of one, to whoever asked."""
    waiter: Any = event.exchange.context
    event.exchange.context = None  # no circle from the answer to itself
    if isinstance(waiter, asyncio.Future) and not waiter.done():
        waiter.set_result(event)


def _failure(event: Failure) -> Silent | Refused:
    if event.reason in _NO_ANSWER:
        return Silent(event.reason)
    code = 0 if event.message is None else event.message.code
    return Refused(code, f"{event.reason}: {codes.code_name(code)}")


def _best_first(formats: tuple[int | None, ...], live: Live) -> tuple[int | None, ...]:
    """Begin with what worked since the device registered (spec lwm2m.md, 6.1)."""
    worked = (live.worked or {}).get(formats, formats[0])
    return (worked, *[each for each in formats if each != worked])


def _decoded(answer: Message, path: Path) -> dict[Path, Value]:
    try:
        return decode(answer.content_format, answer.payload, path)
    except ContentError as error:
        raise Refused(answer.code, f"{path}: unreadable answer: {error}") from error


def _is_under(path: Path, asked: Sequence[Path]) -> bool:
    return any(path[: len(each)] == each for each in asked)


def _segments(root: str) -> list[str]:
    return [segment for segment in root.split("/") if segment]


def _accepting(content_format: int | None) -> Options:
    return () if content_format is None else ((codes.ACCEPT, encode_uint(content_format)),)
