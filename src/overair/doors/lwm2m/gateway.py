"""The LwM2M server: what devices send, and where it is taken (spec lwm2m.md, section 3)."""

import asyncio
from collections.abc import Callable

from overair.devices.service import DeviceService
from overair.doors.lwm2m.answers import Answers
from overair.doors.lwm2m.associations import Associations
from overair.doors.lwm2m.audience import Audience
from overair.doors.lwm2m.conversation import settle
from overair.doors.lwm2m.registrar import Registrar
from overair.doors.lwm2m.registry import SWEEP_SECONDS, Registry
from overair.doors.lwm2m.security import HasKey, Nowhere, Owner
from overair.doors.lwm2m.settling import Settling
from overair.doors.lwm2m.tasks import Tasks
from overair.doors.lwm2m.telling import Telling
from overair.doors.lwm2m.updates.files import Files
from overair.doors.lwm2m.whereabouts import STORE_SECONDS, Whereabouts
from overair.doors.lwm2m.work import Work
from overair.platform.clock import Clock
from overair.platform.limits import Limits
from overair.protocols.coap import Endpoint, Event, Failure, Notification, Request, Response, codes


class Gateway:
    """The registrations of this process, and what takes the events of its endpoint.

    *flush* has the face send what the endpoint put out; *owner* tells whose a security identity is, *has_key*
    which devices have one.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        service: DeviceService,
        clock: Clock,
        limits: Limits,
        flush: Callable[[], None],
        owner: Owner = lambda _: None,
        has_key: HasKey = lambda _: False,
    ) -> None:
        self._endpoint = endpoint
        self._service = service
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self.answers = Answers(endpoint, flush)
        self._files: Files | None = None
        self._tasks = Tasks(self.answers.fail)
        self.registry = registry = Registry()
        self.whereabouts = Whereabouts(registry, service, clock)
        self.settling = Settling(service)
        self.work = Work(endpoint, registry, service, clock, limits, flush)
        self._registrar = Registrar(
            endpoint, registry, service, clock, limits, owner, has_key,
            answers=self.answers, work=self.work, settling=self.settling, whereabouts=self.whereabouts,
        )  # fmt: skip
        self._telling = Telling(registry, service, self.work, self.whereabouts, self.answers, self._tasks)
        self.security = Associations(
            registry, self._registrar, self.whereabouts, owner, has_key, clock, flush
        )

    def attend(self, audience: Audience) -> None:
        """Have somebody else told what devices do."""
        self._registrar.audience = self._telling.audience = (audience,)

    def serve(self, files: Files) -> None:
        """Have images served to devices."""
        self._files = files

    async def start(self) -> None:
        """Take up what was registered before a restart, and what devices are still to be asked."""
        now_ms = self._clock.now_ms()
        # Where two devices had the same address one after the other, the later one has it.
        for registration in sorted(await self._service.registrations(), key=lambda each: each.updated_ms):
            peer = Nowhere() if registration.identity else (registration.host, registration.port)
            live = self._registrar.live(registration, peer)
            if live.expires_ms() > now_ms:
                self.registry.put(live)
            else:
                self._registrar.end(live)
        await self._restore_observations()
        for imei in await self._service.not_inventoried():
            cut_short = self.registry.by_imei(imei)
            if cut_short is not None:
                self.work.resume(cut_short)
        for operation in await self._service.open_operations():
            self.work.ask(operation)
        self._service.on_operation(self.work.ask)
        self._tasks.spawn(self.settling.run())
        self._tasks.repeat(SWEEP_SECONDS, self._sweep)
        self._tasks.repeat(STORE_SECONDS, self.whereabouts.store)

    async def _restore_observations(self) -> None:
        for observed in await self._service.observations():
            live = self.registry.by_imei(observed.imei)
            if live is not None and self.registry.reaches(live):
                path = (*live.objects.root.split("/")[1:], *observed.path.split("/")[1:])
                self._endpoint.restore_observation(
                    live.peer, observed.token, path=path, created=self._loop.time()
                )

    async def close(self) -> None:
        """End what is going on, and store what was heard."""
        await self.work.close()
        if self._files is not None:
            await self._files.close()
        await self._tasks.close()
        await self.whereabouts.store()

    def handle(self, event: Event) -> None:
        """Take one event of the endpoint."""
        if isinstance(event, Request):
            self._request(event)
        elif isinstance(event, Response | Failure):
            if isinstance(event, Response):
                self.whereabouts.heard(self.registry.by_peer(event.exchange.peer))
            settle(event)
        elif isinstance(event, Notification):
            self._telling.notified(event)

    def _request(self, request: Request) -> None:
        message = request.message
        path, queries, content_format = message.request_parts()
        if path == ("rd",) and message.code == codes.POST:
            self._registrar.register(request, queries, content_format)
        elif len(path) == 2 and path[0] == "rd":
            self._registrar.at_location(request, path[1], queries, content_format)
        elif path == ("dp",) and message.code == codes.POST:
            self._telling.send(request)
        elif path[:1] == ("f",) and len(path) in (2, 3) and self._files is not None:
            self._file(request, path[1])
        elif path in (("rd",), ("dp",)):
            self.answers.give(request, codes.METHOD_NOT_ALLOWED)
        else:
            self.answers.give(request, codes.NOT_FOUND)

    def _file(self, request: Request, token: str) -> None:
        if request.message.code == codes.GET and self._files is not None:
            self.whereabouts.heard(self.registry.by_peer(request.peer))
            self._files.serve(request, token)
        else:
            self.answers.give(request, codes.METHOD_NOT_ALLOWED)

    async def _sweep(self) -> None:
        for live in self.registry.expired(self._clock.now_ms()):
            self._registrar.end(live)
        self.work.expire()
