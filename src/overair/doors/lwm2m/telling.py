"""What devices tell unasked: Sends and notifications (spec lwm2m.md, sections 5.3 and 5.7)."""

import structlog

from overair.devices.model import Report, imei_text
from overair.devices.service import DeviceService
from overair.doors.lwm2m import inventory
from overair.doors.lwm2m.answers import Answers
from overair.doors.lwm2m.audience import Audience
from overair.doors.lwm2m.registering import is_registered
from overair.doors.lwm2m.registry import Live, Registry
from overair.doors.lwm2m.tasks import Tasks
from overair.doors.lwm2m.whereabouts import Whereabouts
from overair.doors.lwm2m.work import Work
from overair.protocols.coap import Notification, Request, codes
from overair.protocols.lwm2m import ContentError, decode

_log = structlog.get_logger()


class Telling:
    """Takes what devices tell into their records."""

    def __init__(
        self,
        registry: Registry,
        service: DeviceService,
        work: Work,
        whereabouts: Whereabouts,
        answers: Answers,
        tasks: Tasks,
    ) -> None:
        self._registry = registry
        self._service = service
        self._work = work
        self._whereabouts = whereabouts
        self._answers = answers
        self._tasks = tasks
        self.audience: tuple[Audience, ...] = ()

    def send(self, request: Request) -> None:
        """Take a Send."""
        live = self._registry.by_peer(request.peer)
        message = request.message
        if live is None:
            self._answers.give(request, codes.NOT_FOUND)
            return
        self._listens(live)
        try:
            values = decode(message.content_format, message.payload, ())
        except ContentError as error:
            self._answers.give(request, codes.BAD_REQUEST, payload=str(error).encode())
            return
        if not all(is_registered(path, live.objects) for path in values):
            self._answers.give(request, codes.NOT_FOUND)
            return
        for each in self.audience:
            each.device_said(live.registration.imei, values)
        said = inventory.partial_report(values)
        self._tasks.spawn(self._take_send(request, live.registration.imei, said), request)

    def notified(self, event: Notification) -> None:
        """Take a notification."""
        live = self._registry.by_peer(event.observation.peer)
        if live is None or event.message.code != codes.CONTENT:
            return
        self._listens(live)
        path = tuple(int(segment) for segment in event.observation.path[-3:])
        try:
            values = decode(event.message.content_format, event.message.payload, path)
        except ContentError as error:
            _log.info("notification_unreadable", imei=imei_text(live.registration.imei), reason=str(error))
            return
        for each in self.audience:
            each.device_said(live.registration.imei, values)
        said = inventory.partial_report(values)
        self._tasks.spawn(self._take_report(live.registration.imei, said))

    def _listens(self, live: Live) -> None:
        self._whereabouts.heard(live)
        self._work.heard(live)
        for each in self.audience:
            each.device_heard(live.registration.imei)

    async def _take_send(self, request: Request, imei: int, said: Report) -> None:
        await self._service.report(imei, said)
        self._answers.give(request, codes.CHANGED)

    async def _take_report(self, imei: int, said: Report) -> None:
        await self._service.report(imei, said)
