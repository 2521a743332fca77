"""The door for devices that speak HTTP: ``/{tenant}/controller/v1/{controllerId}`` (spec ddi.md).

First it is found out who asks, and whoever is nobody learns nothing more. A poll of a device that was here
lately is answered from memory.
"""

import asyncio
from collections.abc import Mapping

import structlog
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from overair.campaigns.service import Attempts
from overair.devices.contacts import SpokeHttp
from overair.devices.group import apply_changes
from overair.devices.model import DeviceError
from overair.devices.service import DeviceService
from overair.doors.ddi.artifacts import Artifacts
from overair.doors.ddi.configuring import Configuring, UnclaimedRefused
from overair.doors.ddi.contacts import STORE_SECONDS, Contacts
from overair.doors.ddi.driver import Deployments
from overair.doors.ddi.facts import Facts
from overair.doors.ddi.http import (
    EMPTY,
    NO_TRUST,
    RETRY_SECONDS,
    Refusal,
    Reply,
    Request,
    Trust,
    body_of,
    certificate,
    not_found,
    problem,
    reply,
    request_of,
    send_reply,
    unauthorized,
)
from overair.doors.ddi.model import AlreadyConfirming, NotCancelling, UnknownAction
from overair.doors.ddi.resources import NAME, NUMBER, Resources, shape_of
from overair.doors.ddi.targets import Target, Targets, Unclaimed, Unproved, proof_of
from overair.doors.ddi.waiting import Waiting
from overair.doors.images.sending import Sending
from overair.packages.service import PackageService
from overair.platform.clock import Clock
from overair.platform.database import Database
from overair.platform.limits import Limits
from overair.platform.reconciler import Reconciler, Standing
from overair.protocols.ddi import bodies, paths
from overair.protocols.ddi.errors import Malformed, TooMany
from overair.protocols.ddi.polling import SHORTEST_SECONDS
from overair.protocols.ddi.records import ConfigData

_log = structlog.get_logger()

PATTERN = "/{tenant}/controller/v1/{rest:path}"
LOOK_SECONDS = 60.0
CHANGE_SECONDS = 2.0
"""How long a token that was taken away may still be good."""
WAITING_SECONDS = 30.0
PURGE_SECONDS = 3600.0
_ARTIFACTS = ("softwaremodules", NUMBER, "artifacts")
_FILE = (*_ARTIFACTS, NAME)

_RETRY = [(b"retry-after", RETRY_SECONDS)]
_REFUSALS: Mapping[type[Exception], tuple[int, str, list[tuple[bytes, bytes]]]] = {
    Malformed: (400, "rest.body.notReadable", []),
    DeviceError: (404, "repo.entitiyNotFound", []),
    UnclaimedRefused: (404, "repo.entitiyNotFound", []),
    UnknownAction: (404, "repo.entitiyNotFound", []),
    NotCancelling: (405, "action.notCancelable", [(b"allow", b"GET")]),
    AlreadyConfirming: (409, "autoConfirm.alreadyActive", []),
    TooMany: (429, "quota.tooManyEntries", _RETRY),
}


class DdiDoor:
    """The ASGI application, and the driver behind it; start it before it is served."""

    def __init__(
        self,
        database: Database,
        devices: DeviceService,
        packages: PackageService,
        attempts: Attempts,
        sending: Sending,
        clock: Clock,
        limits: Limits,
        trust: Trust = NO_TRUST,
    ) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self._trust = trust
        self.contacts = Contacts(database, clock)
        self._waiting = Waiting(database, clock)
        self._targets = Targets(database, clock, limits)
        self.deployments = Deployments(
            database,
            Facts(database, packages),
            attempts,
            self._targets,
            self.contacts,
            self._waiting,
            clock,
            limits,
        )
        self._configuring = Configuring(database, devices, self._targets, clock)
        self._resources = Resources(
            database,
            self.deployments,
            self._configuring,
            self._targets,
            self.contacts,
            self._waiting,
            limits,
        )
        self._artifacts = Artifacts(self.deployments, sending)
        self._jobs = self._made_jobs(clock)
        self._running: list[asyncio.Task[None]] = []

    def route(self) -> Route:
        """Return the route under which it is served."""
        return Route(PATTERN, self, include_in_schema=False)

    async def start(self) -> None:
        """Take up what is open."""
        await self._targets.refresh()
        await self._configuring.start()
        await self.deployments.start()
        self._running = [asyncio.create_task(job.run()) for job in self._jobs]

    async def close(self) -> None:
        """Store what is still to be stored, and let go."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.deployments.close()
        await self.contacts.store()

    @property
    def standings(self) -> list[Standing]:
        """How the jobs are doing."""
        return [job.standing for job in self._jobs]

    def wake(self) -> None:
        """Have all jobs look at once: the clock was moved."""
        for job in self._jobs:
            job.wake()

    def readings(self) -> Mapping[str, float]:
        """Return what is shown on the metrics page."""
        return {"ddi_targets": len(self._targets), "ddi_actions": len(self.deployments)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request: Request | None = None
        try:
            place = paths.parse(scope["raw_path"])
            if place is None:
                raise not_found("the resource")
            request = request_of(scope, place, receive, self._trust, self._clock.now_ms())
            target = await self._identified(request, scope)
            answer = await self._answer(request, target, receive, send)
        except Refusal as refusal:
            answer = problem(request, refusal)
        except Unproved:
            answer = problem(request, unauthorized())
        except tuple(_REFUSALS) as error:
            answer = problem(request, _refusal(error))
        if answer is not None:
            await send_reply(answer, send, head=scope["method"] == "HEAD")

    async def _identified(self, request: Request, scope: Scope) -> Target | Unclaimed:
        """Return who asks; raises Unproved."""
        place = request.place
        name, issuers = certificate(scope, request.headers, self._trust)
        proof = proof_of(request.headers.get(b"authorization", b""), name, issuers)
        target: Target | Unclaimed | None = self._targets.known(place.tenant, place.controller_id, proof)
        if target is None:
            target = await self._targets.find(place.tenant, place.controller_id, proof)
            if isinstance(target, Target):
                await self._met(target)
        if isinstance(target, Target):
            self.contacts.heard(target.imei, request.now_ms)
        return target

    async def _met(self, target: Target) -> None:
        """A device came that was not here lately."""
        if target.protocol != "HTTP":
            spoke = SpokeHttp(target.imei, self._clock.now_ms())
            await self._database.write(lambda connection: apply_changes(connection, [spoke]))
            target.protocol = "HTTP"
        if target.campaigning:
            await self._waiting.look_up([target.imei])  # or it would come too late for a window that is open

    async def _answer(
        self, request: Request, target: Target | Unclaimed, receive: Receive, send: Send
    ) -> Reply | None:
        if isinstance(target, Unclaimed):
            return await self._answer_unclaimed(request, target)
        segments = request.place.segments
        if not segments:
            _check_method(request, ("GET",))
            return self._resources.poll(request, target)
        shape = shape_of(request)
        if shape == _ARTIFACTS:
            _check_method(request, ("GET",))
            return await self._artifacts.listed(request, target)
        if shape == _FILE:
            _check_method(request, ("GET", "HEAD"))
            return await self._artifacts.fetched(request, target, receive, send)
        handlers = self._resources.table.get(shape)
        if handlers is None:
            raise not_found("the resource")
        _check_method(request, tuple(handlers))
        return await handlers[request.method](request, target)

    async def _answer_unclaimed(self, request: Request, unclaimed: Unclaimed) -> Reply:
        """A gateway's controller that is no device yet is asked for its attributes, and nothing else."""
        segments = request.place.segments
        if not segments:
            _check_method(request, ("GET",))
            links = {"configData": f"{request.base}/configData"}
            return reply(request, bodies.poll(SHORTEST_SECONDS, links))
        if segments != ("configData",):
            raise not_found("the device")
        _check_method(request, ("PUT",))
        await self._configuring.claim(unclaimed, await body_of(request, ConfigData, self._limits))
        return EMPTY

    def _made_jobs(self, clock: Clock) -> list[Reconciler]:
        contacts = Reconciler("contacts", self.contacts.store, clock, period_seconds=STORE_SECONDS)
        waiting = Reconciler("waiting", self._waiting.look, clock, period_seconds=WAITING_SECONDS)
        self.contacts.wake, self._waiting.wake = contacts.wake, waiting.wake
        return [
            contacts,
            waiting,
            Reconciler("tokens", self._targets.refresh, clock, period_seconds=CHANGE_SECONDS),
            Reconciler("actions", self.deployments.look, clock, period_seconds=LOOK_SECONDS),
            Reconciler("actions_purge", self._purge, clock, period_seconds=PURGE_SECONDS),
        ]

    async def _purge(self) -> bool:
        return bool(await self.deployments.purge())


def _check_method(request: Request, allowed: tuple[str, ...]) -> None:
    if request.method not in allowed:
        listed = ", ".join(allowed).encode()
        raise Refusal(405, "rest.methodNotAllowed", "not this method", [(b"allow", listed)])


def _refusal(error: Exception) -> Refusal:
    kind = next(kind for kind in _REFUSALS if isinstance(error, kind))
    status, code, headers = _REFUSALS[kind]
    return Refusal(status, code, str(error), headers)
