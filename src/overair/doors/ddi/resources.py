"""What each resource answers to a target (spec ddi.md, section 2)."""

from collections.abc import Awaitable, Callable, Mapping

from overair.campaigns.rules import next_opening_ms
from overair.doors.ddi import store
from overair.doors.ddi.configuring import Configuring
from overair.doors.ddi.contacts import Contacts
from overair.doors.ddi.driver import Deployments
from overair.doors.ddi.http import EMPTY, Refusal, Reply, Request, body_of, not_found, reply
from overair.doors.ddi.installed import find_package, take_installed
from overair.doors.ddi.model import AlreadyConfirming, AutoConfirmed, Job, Stored
from overair.doors.ddi.targets import Target, Targets
from overair.doors.ddi.waiting import Waiting
from overair.platform.database import Database
from overair.platform.limits import Limits
from overair.protocols.ddi import bodies, offering
from overair.protocols.ddi.polling import interval
from overair.protocols.ddi.records import AutoConfirm, ConfigData, Confirmation, Feedback, Installed
from overair.protocols.ddi.states import State

Handler = Callable[[Request, Target], Awaitable[Reply]]
Shape = tuple[str, ...]
NUMBER, NAME = "#", "*"
INITIATOR_CHARACTERS = 64
REMARK_CHARACTERS = 512


class Resources:
    """The resources but files."""

    def __init__(
        self,
        database: Database,
        deployments: Deployments,
        configuring: Configuring,
        targets: Targets,
        contacts: Contacts,
        waiting: Waiting,
        limits: Limits,
    ) -> None:
        self._database = database
        self._deployments = deployments
        self._configuring = configuring
        self._targets = targets
        self._contacts = contacts
        self._waiting = waiting
        self._limits = limits
        self.table: Mapping[Shape, Mapping[str, Handler]] = {
            ("configData",): {"PUT": self._configured},
            ("deploymentBase", NUMBER): {"GET": self._deployment},
            ("deploymentBase", NUMBER, "feedback"): {"POST": self._said},
            ("cancelAction", NUMBER): {"GET": self._cancellation},
            ("cancelAction", NUMBER, "feedback"): {"POST": self._said_of_cancelling},
            ("installedBase",): {"PUT": self._installs},
            ("installedBase", NUMBER): {"GET": self._installed},
            ("confirmationBase",): {"GET": self._confirmations},
            ("confirmationBase", NUMBER): {"GET": self._confirmation},
            ("confirmationBase", NUMBER, "feedback"): {"POST": self._confirms},
            ("confirmationBase", "activateAutoConfirm"): {"POST": self._activates},
            ("confirmationBase", "deactivateAutoConfirm"): {"POST": self._deactivates},
        }

    # Polling.

    def poll(self, request: Request, target: Target) -> Reply:
        """Answer a poll, from memory."""
        now_ms = request.now_ms
        links, busy, opens_ms = self._action_link(request, target)
        if target.standing.installed_id is not None:
            links["installedBase"] = f"{request.base}/installedBase/{target.standing.installed_id}"
        if self._configuring.is_wanted(target, now_ms):
            links["configData"] = f"{request.base}/configData"
        seconds = interval(target.settings.polling, now_ms, target.imei, busy=busy, opens_ms=opens_ms)
        return reply(request, bodies.poll(seconds, links))

    def _action_link(self, request: Request, target: Target) -> tuple[dict[str, str], bool, int | None]:
        """Return what waits for the device, whether it should come soon, and when it may begin."""
        now_ms, job = request.now_ms, self._deployments.job(target.imei)
        if job is None:
            opens_ms = self._waiting.opens_ms(target.imei, now_ms)
            soon = opens_ms is not None and opens_ms <= now_ms and self._deployments.has_room()
            if soon:
                self._contacts.hurry(target.imei)
            return {}, soon, None if soon else opens_ms
        is_open = self._deployments.is_open(job)
        link = offering.link_of(job.action, request.client, window_open=is_open)
        opens_ms = None if is_open else next_opening_ms(job.windows, now_ms)
        if link is None:
            return {}, False, opens_ms
        update = offering.handling(job.action, request.client, window_open=is_open)
        url = bodies.action_url(request.base, link, job.action, update)
        waits = link == "deploymentBase" and update == "skip"
        return {link: url}, not waits, opens_ms if waits else None

    # Attributes.

    async def _configured(self, request: Request, target: Target) -> Reply:
        said = await body_of(request, ConfigData, self._limits)
        await self._configuring.take(target, said)
        return EMPTY

    # Deployments.

    async def _deployment(self, request: Request, target: Target) -> Reply:
        stored, job = await self._found(request, target)
        if not offering.is_readable(stored.action, request.now_ms):
            raise not_found("the action")
        windowed = job is not None and bool(job.windows)
        is_open = job is None or self._deployments.is_open(job)
        if job is not None and offering.link_of(job.action, request.client, window_open=is_open) is None:
            raise not_found("the action")  # or a client that kept the link would begin outside its window
        update = offering.handling(stored.action, request.client, window_open=is_open)
        if job is not None and not job.action.is_closed:
            await self._deployments.retrieved(job, skip=update == "skip")
        body = bodies.deployment(request.base, stored.action, request.client, update, windowed=windowed)
        return reply(request, await self._with_history(request, stored, body))

    async def _said(self, request: Request, target: Target) -> Reply:
        said = await body_of(request, Feedback, self._limits)
        await self._deployments.said(target.imei, _number(request), said)
        return EMPTY

    async def _cancellation(self, request: Request, target: Target) -> Reply:
        stored, _ = await self._found(request, target)
        if stored.action.state is not State.CANCELLING:
            raise not_found("the cancellation")
        return reply(request, bodies.cancellation(stored.action))

    async def _said_of_cancelling(self, request: Request, target: Target) -> Reply:
        said = await body_of(request, Feedback, self._limits)
        await self._deployments.said_of_cancelling(target.imei, _number(request), said)
        return EMPTY

    async def _found(self, request: Request, target: Target) -> tuple[Stored, Job | None]:
        """Return the action that a request names, and its job while it is open."""
        stored = await self._deployments.stored(target.imei, _number(request))
        job = self._deployments.job(target.imei)
        return stored, job if job is not None and job.action.id == stored.action.id else None

    async def _with_history(self, request: Request, stored: Stored, body: bodies.Body) -> bodies.Body:
        count = bodies.history_count(request.parameter("actionHistory"))
        if not count:
            return body
        messages = await self._deployments.history(stored.action.id, count)
        return bodies.with_history(body, stored.action.state.name, messages)

    # What is installed.

    async def _installed(self, request: Request, target: Target) -> Reply:
        stored, _ = await self._found(request, target)
        if stored.action.state is not State.FINISHED:
            raise not_found("the installed action")
        body = bodies.deployment(request.base, stored.action, request.client, "forced", windowed=False)
        return reply(request, await self._with_history(request, stored, body))

    async def _installs(self, request: Request, target: Target) -> Reply:
        """The device says what it has; that is known by name and version, or it is not taken."""
        said = await body_of(request, Installed, self._limits)
        package = await self._database.read(
            lambda connection: find_package(connection, target.account_id, said)
        )
        if package is None:
            raise not_found("the package")
        is_new = await self._database.write(
            lambda connection: take_installed(connection, target.imei, package, request.now_ms)
        )
        return Reply(201, EMPTY.headers) if is_new else EMPTY

    # Confirmation.

    async def _confirmations(self, request: Request, target: Target) -> Reply:
        confirmed, base = target.standing.auto_confirm, f"{request.base}/confirmationBase"
        if confirmed is None:
            shown: bodies.Body = {"active": False}
        else:
            shown = {"active": True, "activatedAt": confirmed.activated_ms}
            shown |= {"initiator": confirmed.initiator, "remark": confirmed.remark}
        name = "activateAutoConfirm" if confirmed is None else "deactivateAutoConfirm"
        links = {name: {"href": f"{base}/{name}"}}
        job = self._deployments.job(target.imei)
        if job is not None and job.action.state is State.CONFIRMING:
            url = bodies.action_url(request.base, "confirmationBase", job.action, "forced")
            links["confirmationBase"] = {"href": url}
        return reply(request, {"autoConfirm": shown, "_links": links})

    async def _confirmation(self, request: Request, target: Target) -> Reply:
        stored, _ = await self._found(request, target)
        if stored.action.state is not State.CONFIRMING:
            raise not_found("the action")
        body = bodies.deployment(
            request.base, stored.action, request.client, "forced", windowed=False, key="confirmation"
        )
        return reply(request, await self._with_history(request, stored, body))

    async def _confirms(self, request: Request, target: Target) -> Reply:
        said = await body_of(request, Confirmation, self._limits)
        if not await self._deployments.confirmed(target.imei, _number(request), said):
            raise Refusal(410, "action.closed", "the action is closed")
        return EMPTY

    async def _activates(self, request: Request, target: Target) -> Reply:
        said = await body_of(request, AutoConfirm, self._limits, optional=True)
        if target.standing.auto_confirm is not None:
            raise AlreadyConfirming
        confirmed = AutoConfirmed(
            request.now_ms,
            (said.initiator or "")[:INITIATOR_CHARACTERS] or None,
            (said.remark or "")[:REMARK_CHARACTERS] or None,
        )
        await self._set_auto_confirm(target, confirmed)
        await self._deployments.agreed_for_ever(target.imei)
        return EMPTY

    async def _deactivates(self, request: Request, target: Target) -> Reply:  # noqa: ARG002
        await self._set_auto_confirm(target, None)
        return EMPTY

    async def _set_auto_confirm(self, target: Target, confirmed: AutoConfirmed | None) -> None:
        standing = await self._database.write(
            lambda connection: store.set_auto_confirm(connection, target.imei, target.account_id, confirmed)
        )
        self._targets.stands(target.imei, standing)
        target.standing = standing


def shape_of(request: Request) -> Shape:
    """Return how a path looks: numbers and names of files are the same for all."""
    segments = request.place.segments
    if len(segments) >= 2 and request.place.number(1) is not None:
        segments = (segments[0], NUMBER, *segments[2:])
    return (*segments[:3], NAME) if len(segments) == 4 else segments


def _number(request: Request) -> int:
    number = request.place.number(1)
    if number is None:
        raise not_found("the action")
    return number
