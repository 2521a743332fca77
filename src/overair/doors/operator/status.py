"""How the service is doing, on one page: jobs, attempts, listeners with waiting messages, campaigns.

The same record is answered as JSON, shown to a browser (:mod:`overair.doors.operator.page`) and printed by
``overair status``.
"""

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

import overair
from overair.callbacks.model import ListenerStanding
from overair.core import Core
from overair.doors.operator.campaign_records import CampaignRecord, campaign_record
from overair.doors.operator.campaigns import account_names
from overair.doors.operator.token import operator_guard
from overair.doors.thingspace.http import NO_BODY, AnyRoute, Call, Route
from overair.platform.reconciler import Standing
from overair.records.times import format_t2

PATH = "/v1/status"

CAMPAIGNS_SHOWN = 50
"""Those of a page that one can still read; the counts of each cost a query."""


class Vitals(msgspec.Struct, frozen=True):
    """What the doors for devices hold at the moment."""

    registrations: int
    updates: int
    transfers: int
    ahead_seconds: int | None = None
    """How far the clock of a sandbox is ahead; None: this is no sandbox."""


class JobRecord(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """How a background job is doing."""

    name: str
    runs: int
    failures: int
    last_run_time: str | None = None
    last_error: str | None = None
    last_error_time: str | None = None


class WaitingRecord(Struct, gc=False, rename="camel", kw_only=True):
    """A listener that messages wait for."""

    account_name: str
    version: str
    url: str
    waiting: int


class StatusRecord(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """How the service is doing (GET /operator/v1/status)."""

    version: Annotated[str, Meta(description="Of this software")]
    time: str
    sandbox_ahead_seconds: Annotated[
        int | None, Meta(description="How far a sandbox's clock was moved; absent: no sandbox")
    ] = None
    registrations: Annotated[int, Meta(description="Devices that are registered")]
    attempts: Annotated[int, Meta(description="Attempts of campaigns that run")]
    updates: Annotated[int, Meta(description="Of these, updates that this process carries out over LwM2M")]
    transfers: Annotated[int, Meta(description="Of these, with an image on its way")]
    write_backlog: Annotated[int, Meta(description="Writes that wait for the database")]
    callbacks_delivered: Annotated[int, Meta(description="Messages delivered since the start")]
    jobs: list[JobRecord]
    listeners: Annotated[list[WaitingRecord], Meta(description="Those that messages wait for")]
    campaign_count: Annotated[int, Meta(description="Campaigns that go on, also those not listed")]
    campaigns: Annotated[list[CampaignRecord], Meta(description="Those that go on, newest first")]


class Status:
    """Reads how the service is doing. *vitals* asks the doors."""

    def __init__(self, core: Core, vitals: Callable[[], Vitals]) -> None:
        self._core = core
        self._vitals = vitals

    async def read(self) -> StatusRecord:
        """Return how the service is doing right now."""
        core, vitals = self._core, self._vitals()
        going_on, waiting = await core.overview.going_on(), await core.callbacks.waiting()
        names = await account_names(core)
        return StatusRecord(
            version=overair.__version__,
            time=format_t2(core.clock.now_ms()),
            sandbox_ahead_seconds=vitals.ahead_seconds,
            registrations=vitals.registrations,
            attempts=core.engine.running,
            updates=vitals.updates,
            transfers=vitals.transfers,
            write_backlog=core.database.backlog,
            callbacks_delivered=core.deliverer.counters.delivered,
            jobs=[_job(standing) for standing in core.standings],
            listeners=[_waiting(each, names[each.listener.account_id]) for each in waiting],
            campaign_count=len(going_on),
            campaigns=[
                campaign_record(each, names[each.account_id], await core.overview.progress(each))
                for each in going_on[:CAMPAIGNS_SHOWN]
            ],
        )


def status_routes(status: Status, token: str) -> tuple[AnyRoute, ...]:
    """Return the table."""

    async def answer(call: Call, _: None, __: None) -> StatusRecord:  # noqa: ARG001
        return await status.read()

    return (
        Route(method="GET", path=PATH, summary="How the service is doing", guard=operator_guard(token),
              body=NO_BODY, handler=answer, answer=StatusRecord),
    )  # fmt: skip


def _job(standing: Standing) -> JobRecord:
    return JobRecord(
        name=standing.name,
        runs=standing.runs,
        failures=standing.failures,
        last_run_time=_time(standing.last_run_ms),
        last_error=standing.last_error,
        last_error_time=_time(standing.last_error_ms),
    )


def _waiting(standing: ListenerStanding, account_name: str) -> WaitingRecord:
    listener = standing.listener
    return WaitingRecord(
        account_name=account_name, version=listener.version, url=listener.url, waiting=standing.waiting
    )


def _time(time_ms: int | None) -> str | None:
    return None if time_ms is None else format_t2(time_ms)
