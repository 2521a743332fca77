"""Sending an image to a device by Block1 (spec lwm2m.md, 13.2): timers are a block's, not the whole's."""

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
    Response,
    codes,
    encode_uint,
)
from overair.protocols.lwm2m import updating as rules
from overair.protocols.lwm2m.updating import Reply

LOOK_SECONDS = 10.0
"""How often it is seen whether blocks were confirmed: a device that confirms them is awake."""
OCTET_STREAM = (codes.CONTENT_FORMAT, encode_uint(42))

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

    def __init__(self, endpoint: Endpoint, step: rules.Push, body: bytes, flush: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self._step = step
        self._body = body
        self._flush = flush
        self._loop = asyncio.get_running_loop()
        self._exchange: Exchange | None = None
        self.task: asyncio.Task[None]

    @property
    def is_running(self) -> bool:
        return not self.task.done()

    def run(self, live: Live, done: Callable[[Reply, int], None]) -> None:
        """Begin, or go on where it stopped; *done* gets what came of it, and the bytes confirmed."""
        self.task = self._loop.create_task(self._run(live, done))

    def give_up(self) -> None:
        """Stop in the middle."""
        self.task.cancel()
        if self._exchange is not None and not self._exchange.done:
            self._endpoint.cancel(self._exchange)

    async def _run(self, live: Live, done: Callable[[Reply, int], None]) -> None:
        waiter: asyncio.Future[Response | Failure] = self._loop.create_future()
        try:
            exchange = self._start(live, waiter)
        except (LimitReachedError, ExchangeStateError):
            done(Reply.GONE, 0)
            return
        self._flush()
        confirmed = exchange.bytes_sent
        while not waiter.done():
            await asyncio.wait([waiter], timeout=LOOK_SECONDS)
            if exchange.bytes_sent > confirmed:
                confirmed = exchange.bytes_sent
                live.touched(self._loop.time())
        done(_reply(waiter.result()), exchange.bytes_sent)

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
            options=(OCTET_STREAM,),
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
