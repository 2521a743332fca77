"""Sending an image to a device by Block1 (spec lwm2m.md, 13.2): timers are a block's, not the whole's.

It goes as it is; to a device that refuses that, as one TLV resource.
"""

import asyncio
from collections.abc import Callable

import msgspec

from overair.doors.lwm2m.registry import Live
from overair.protocols.coap import (
    Endpoint,
    Exchange,
    ExchangeStateError,
    Failure,
    FailureReason,
    LimitReachedError,
    MessageFieldError,
    Response,
    Source,
    codes,
    encode_uint,
)
from overair.protocols.lwm2m import updating as rules
from overair.protocols.lwm2m.content import OPAQUE, TLV
from overair.protocols.lwm2m.updating import Reply
from overair.protocols.lwm2m.updating.wrapping import IMAGE_BYTES_MAX, Wrapped

LOOK_SECONDS = 2.0
"""How often it is seen whether blocks were confirmed: a device that confirms them is awake."""
WRAPPED_RESOURCE = 0
"""The TLV header of the rules is that of objects 5 and 33629."""

_REPLIES = {
    FailureReason.TIMEOUT: Reply.SILENT,
    FailureReason.TOO_LARGE: Reply.TOO_LARGE,
    FailureReason.IGNORED_BLOCKS: Reply.TOO_LARGE,
    FailureReason.RESET: Reply.REFUSED,
    FailureReason.BAD_OPTION: Reply.REFUSED,
    FailureReason.BLOCKS: Reply.GONE,
    FailureReason.CANCELLED: Reply.GONE,
}


class Push:
    """One transfer; where it broke off for want of answers it can go on."""

    def __init__(self, endpoint: Endpoint, step: rules.Push, body: Source, flush: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self._step = step
        self._body = body
        self._format = OPAQUE
        self._flush = flush
        self._loop = asyncio.get_running_loop()
        self._exchange: Exchange | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self.task is not None and not self.task.done()

    def run(self, live: Live, done: Callable[[Reply, int], None]) -> None:
        """Begin, or go on where it stopped; *done* gets what came of it, and the bytes confirmed."""
        self.task = self._loop.create_task(self._run(live, done))

    def give_up(self) -> None:
        """Stop in the middle."""
        if self.task is not None:
            self.task.cancel()
            self.task = None  # a task that was cancelled knows its way back here
        if self._exchange is not None and not self._exchange.done:
            self._endpoint.cancel(self._exchange)

    async def _run(self, live: Live, done: Callable[[Reply, int], None]) -> None:
        reply, bytes_sent = await self._send(live)
        done(reply, bytes_sent)

    async def _send(self, live: Live) -> tuple[Reply, int]:
        waiter: asyncio.Future[Response | Failure] = self._loop.create_future()
        try:
            exchange = self._start(live, waiter)
        except MessageFieldError:  # the root that the device registered is part of the path
            return Reply.REFUSED, 0
        except (LimitReachedError, ExchangeStateError):
            return Reply.GONE, 0
        self._flush()
        if not await self._confirmed(waiter, exchange, live):
            return Reply.SILENT, exchange.bytes_sent
        event = waiter.result()
        if self._is_to_wrap(event):
            self._format, self._body, self._exchange = TLV, Wrapped(self._body), None
            return await self._send(live)
        return _reply(event), exchange.bytes_sent

    async def _confirmed(
        self, waiter: "asyncio.Future[Response | Failure]", exchange: Exchange, live: Live
    ) -> bool:
        """Wait for the end; returns whether it came before the device fell asleep."""
        confirmed = exchange.bytes_sent
        while not waiter.done():
            await asyncio.wait([waiter], timeout=LOOK_SECONDS)
            now = self._loop.time()
            if exchange.bytes_sent > confirmed:
                confirmed = exchange.bytes_sent
                live.touched(now)
            elif not waiter.done() and not live.is_awake(now):
                self._endpoint.cancel(exchange)
                exchange.failed_at = now  # from there it can be taken up
                return False
        return True

    def _is_to_wrap(self, event: Response | Failure) -> bool:
        return (
            isinstance(event, Response)
            and event.message.code == codes.UNSUPPORTED_CONTENT_FORMAT
            and self._format == OPAQUE
            and self._step.path[-1] == WRAPPED_RESOURCE
            and len(self._body) <= IMAGE_BYTES_MAX
        )

    def _start(self, live: Live, waiter: "asyncio.Future[Response | Failure]") -> Exchange:
        now = self._loop.time()
        if self._exchange is not None:
            self._exchange.context = waiter
            self._endpoint.resume(self._exchange, peer=live.peer, now=now)
            return self._exchange
        root = [segment for segment in live.objects.root.split("/") if segment]
        parameters = msgspec.structs.replace(self._endpoint.parameters, block_size=self._step.block_size)
        self._exchange = self._endpoint.request(
            live.peer,
            codes.PUT,
            path=(*root, *map(str, self._step.path)),
            options=((codes.CONTENT_FORMAT, encode_uint(self._format)),),
            payload=self._body,
            context=waiter,
            parameters=parameters,
            now=now,
        )
        return self._exchange


def _reply(event: Response | Failure) -> Reply:
    if isinstance(event, Failure):
        return _REPLIES[event.reason]
    return rules.reply_of(event.message.code)
