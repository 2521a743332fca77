"""Moving the clock of a sandbox (``serve --sandbox``); a service that is none refuses."""

import asyncio
from collections.abc import Callable
from typing import Annotated

import structlog
from msgspec import Meta, Struct

from overair.doors.operator.errors import telling
from overair.doors.operator.token import operator_guard
from overair.doors.thingspace.errors import Problem, Refusal, business, invalid_parameter
from overair.doors.thingspace.http import AnyRoute, Call, Route, json_body
from overair.platform.clock import DAY_MS, SANDBOX_DAYS, SandboxClock
from overair.records import RecordError
from overair.records.times import format_t2

PATH = "/v1/clock"

NO_SANDBOX = business("NO_SANDBOX", "The clock can be moved only where 'overair serve --sandbox' runs", 404)

_log = structlog.get_logger()


class ClockRequest(Struct, gc=False, rename="camel", kw_only=True):
    """How far to move the clock (POST /operator/v1/clock)."""

    advance_seconds: Annotated[int, Meta(ge=1, le=SANDBOX_DAYS * DAY_MS // 1000, description="Never back")]


class ClockRecord(Struct, gc=False, rename="camel", kw_only=True):
    """The time of the service."""

    time: str
    ahead_seconds: Annotated[int, Meta(description="How far the machine's own clock is behind")]


class OperatorClock:
    """The handler. *moved* is called after the clock was moved; without a *clock* that can be, it refuses."""

    def __init__(self, clock: SandboxClock | None, moved: Callable[[], None], token: str) -> None:
        self._clock = clock
        self._moved = moved
        self._moving = asyncio.Lock()
        self._guard = operator_guard(token)

    async def advance(self, call: Call, _: None, asked: ClockRequest) -> ClockRecord:  # noqa: ARG002
        """Move the clock forward; everything that is due then begins at once."""
        clock = self._clock
        if clock is None:
            raise Refusal(NO_SANDBOX)
        async with self._moving:
            with telling():
                await asyncio.to_thread(clock.advance, asked.advance_seconds)
        _log.warning("clock_moved", seconds=asked.advance_seconds, time=format_t2(clock.now_ms()))
        self._moved()
        return ClockRecord(time=format_t2(clock.now_ms()), ahead_seconds=clock.ahead_ms // 1000)

    def routes(self) -> tuple[AnyRoute, ...]:
        """Return the table."""
        return (
            Route(method="POST", path=PATH, summary="Move the clock of a sandbox", guard=self._guard,
                  body=json_body(ClockRequest, _unreadable), handler=self.advance, answer=ClockRecord),
        )  # fmt: skip


def _unreadable(error: RecordError) -> Problem:
    return invalid_parameter(str(error))
