"""The LwM2M server: what devices send, and what becomes of it (spec lwm2m.md, section 3).

Every answer that promises something goes out after the commit that keeps the promise.
"""

import asyncio
import math
from base64 import urlsafe_b64encode
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any

import structlog

from overair.devices.changes import Move
from overair.devices.model import Admitted, DeviceError, Outcome, Registration, Report, imei_text
from overair.devices.service import DeviceService
from overair.doors.lwm2m import inventory
from overair.doors.lwm2m.admission import RegisterRate
from overair.doors.lwm2m.conversation import settle
from overair.doors.lwm2m.registering import (
    check_profile,
    counts_only_if_known,
    device_name,
    is_registered,
    registration_of,
    updated,
)
from overair.doors.lwm2m.registry import SWEEP_SECONDS, Live, Registry
from overair.doors.lwm2m.security import Nowhere, Owner, address_of, identity_of, may_speak_for
from overair.doors.lwm2m.settling import Settling
from overair.doors.lwm2m.work import Work
from overair.platform.clock import Clock
from overair.platform.limits import Limits
from overair.platform.secrets import RandomPool
from overair.protocols import dtls
from overair.protocols.coap import (
    Endpoint,
    Event,
    Failure,
    Notification,
    Options,
    Peer,
    Request,
    Response,
    codes,
    encode_uint,
)
from overair.protocols.lwm2m import (
    ContentError,
    RegistrationError,
    decode,
    parse_links,
    parse_register,
    parse_update,
)

_log = structlog.get_logger()

# 8 letters: not to be guessed, and short enough for stacks with a small buffer (spec lwm2m.md, 3.3).
LOCATION_BYTES = 6
UPLINK_FLUSH_SECONDS = 60
FULL_WAIT_SECONDS = 60  # what a device is told that finds no room

_LOCATION_RD = (codes.LOCATION_PATH, b"rd")


class Gateway:
    """The registrations of this process, and the handlers of what devices send.

    *flush* has the face send what the endpoint put out; *owner* tells whose a security identity is.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        service: DeviceService,
        clock: Clock,
        limits: Limits,
        flush: Callable[[], None],
        owner: Owner = lambda _: None,
    ) -> None:
        self._endpoint = endpoint
        self._service = service
        self._clock = clock
        self._limits = limits
        self._flush = flush
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._random = RandomPool()
        self._heard: dict[int, int] = {}
        self._rate = RegisterRate()
        self.registry = Registry()
        self.settling = Settling(service)
        self.work = Work(endpoint, self.registry, service, clock, limits, flush)

    async def start(self) -> None:
        """Take up what was registered before a restart, and what devices are still to be asked."""
        now_ms = self._clock.now_ms()
        # Where two devices had the same address one after the other, the later one has it.
        for registration in sorted(await self._service.registrations(), key=lambda each: each.updated_ms):
            peer = Nowhere() if registration.identity else (registration.host, registration.port)
            live = self._live(registration, peer)
            if live.expires_ms() > now_ms:
                self.registry.put(live)
            else:
                self._end(live)
        await self._restore_observations()
        for imei in await self._service.not_inventoried():
            cut_short = self.registry.by_imei(imei)
            if cut_short is not None:
                self.work.resume(cut_short)
        for operation in await self._service.open_operations():
            self.work.ask(operation)
        self._service.on_operation(self.work.ask)
        self._spawn(self.settling.run())
        self._repeat(SWEEP_SECONDS, self._sweep)
        self._repeat(UPLINK_FLUSH_SECONDS, self.store_uplinks)

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
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store_uplinks()

    def handle(self, event: Event) -> None:
        """Take one event of the endpoint."""
        if isinstance(event, Request):
            self._request(event)
        elif isinstance(event, Response | Failure):
            if isinstance(event, Response):
                self._uplink(self.registry.by_peer(event.exchange.peer))
            settle(event)
        elif isinstance(event, Notification):
            self._notified(event)

    async def store_uplinks(self) -> None:
        """Store when devices were last heard, where no Register or Update did already."""
        heard, self._heard = self._heard, {}
        if heard:
            await self._service.heard(list(heard.items()))

    # Requests of devices.

    def _request(self, request: Request) -> None:
        message = request.message
        path, queries, content_format = message.request_parts()
        if path == ("rd",) and message.code == codes.POST:
            self._register(request, queries, content_format)
        elif len(path) == 2 and path[0] == "rd":
            self._at_location(request, path[1], queries, content_format)
        elif path == ("dp",) and message.code == codes.POST:
            self._send(request)
        elif path in (("rd",), ("dp",)):
            self._answer(request, codes.METHOD_NOT_ALLOWED)
        else:
            self._answer(request, codes.NOT_FOUND)

    def _register(self, request: Request, queries: Sequence[str], content_format: int | None) -> None:
        message = request.message
        identity = identity_of(request.peer)
        if not identity:
            host, _ = address_of(request.peer)
            wait_seconds = self._rate.wait_seconds(host, self._loop.time())
            if wait_seconds:
                self._postpone(request, wait_seconds)
                return
        try:
            asked = parse_register(queries, message.payload, content_format)
            name = device_name(asked, identity, self._owner)
            check_profile(asked)
        except RegistrationError as refusal:
            self._refuse(request, refusal)
            return
        location = urlsafe_b64encode(self._random.take(LOCATION_BYTES)).decode()
        now_ms = self._clock.now_ms()
        registration = registration_of(asked, name, request.peer, message.payload, location, now_ms)
        standing = self.registry.by_imei(registration.imei)
        if standing is not None and standing.registration.identity and not identity:
            self._answer(request, codes.FORBIDDEN)  # it registered with a key, and has it still
            return
        full = len(self.registry) >= self._limits.registrations
        if full and standing is None:
            self._postpone(request, FULL_WAIT_SECONDS)
            return
        done = partial(self._registered, request)
        self._service.register(registration, done, enrol=not counts_only_if_known(name))

    def _registered(self, request: Request, admitted: Admitted | Exception) -> None:
        if not isinstance(admitted, Admitted):
            self._failed(request, admitted)
            return
        live = self._live(admitted.registration, request.peer)
        live.touched(self._loop.time())
        # The device has forgotten what it was asked to observe, and what it was being asked;
        # so has one that had its address before.
        self._forget(live.peer)
        old = self.registry.put(live)
        if old is not None:
            self._leave(old)
        location = (codes.LOCATION_PATH, admitted.registration.location.encode())
        self._answer(request, codes.CREATED, (_LOCATION_RD, location))
        changed = old is not None and old.objects != live.objects
        self.work.registered(live, admitted.inventoried_ms, objects_changed=changed)
        self.settling.registered(live.registration.imei, settled=admitted.settled)

    def _at_location(
        self, request: Request, location: str, queries: Sequence[str], content_format: int | None
    ) -> None:
        live = self.registry.by_location(location)
        if live is None or not may_speak_for(live.registration, request.peer):
            self._answer(request, codes.NOT_FOUND)
        elif request.message.code in (codes.POST, codes.PUT):
            self._update(request, live, queries, content_format)
        elif request.message.code == codes.DELETE:
            self._service.end_registration(live.registration, partial(self._deregistered, request, live))
        else:
            self._answer(request, codes.METHOD_NOT_ALLOWED)

    def _update(
        self, request: Request, live: Live, queries: Sequence[str], content_format: int | None
    ) -> None:
        message = request.message
        now_ms = self._clock.now_ms()
        unmoved = self.registry.by_peer(request.peer) is live
        if unmoved and not queries and not message.payload:
            # Nothing new: by far the most frequent message.
            self._service.touch(live.registration.imei, now_ms, partial(self._touched, request, live, now_ms))
            return
        try:
            said = parse_update(queries, message.payload, content_format)
        except RegistrationError as refusal:
            self._refuse(request, refusal)
            return
        moved = updated(live.registration, said, request.peer, message.payload, now_ms)
        self._service.move(Move(moved, said.sms), partial(self._moved, request, live))

    def _touched(self, request: Request, live: Live, now_ms: int, failure: Exception | None) -> None:
        if failure is not None:
            self._failed(request, failure)
            return
        if not self._is_current(request, live):
            return
        live.updated_ms = now_ms
        live.touched(self._loop.time())
        self._answer(request, codes.CHANGED)
        self.work.heard(live)

    def _moved(self, request: Request, live: Live, outcome: Outcome | Exception) -> None:
        if not isinstance(outcome, Outcome) or outcome.registration is None:
            self._failed(request, outcome)
            return
        if not self._is_current(request, live):
            return
        objects = parse_links(outcome.registration.links)
        changed = objects != live.objects
        live.take(outcome.registration, objects)
        live.touched(self._loop.time())
        self._move(live, request.peer)
        self.registry.expect_expiry(live)
        self._answer(request, codes.CHANGED)
        if changed:
            self.work.objects_changed(live)
        self.work.heard(live)

    def _move(self, live: Live, peer: Peer) -> None:
        """The device speaks from *peer*; another one that had this address before has it no more."""
        other = self.registry.by_peer(peer)
        if other is live:
            return
        if other is not None:
            self._forget(peer)
        if self.registry.reaches(live):
            for failure in self._endpoint.move_peer(live.peer, peer):
                settle(failure)
        self.registry.move(live, peer)

    def _deregistered(self, request: Request, live: Live, failure: Exception | None) -> None:
        if failure is None and self.registry.by_location(live.registration.location) is live:
            self.registry.remove(live)
            self._leave(live)
            self.work.forget(live.registration.imei)
        self._committed(request, codes.DELETED, failure)

    def _is_current(self, request: Request, live: Live) -> bool:
        """Whether the registration is still there after the commit; if not, the device is told so."""
        if self.registry.by_location(live.registration.location) is live:
            return True
        self._answer(request, codes.NOT_FOUND)
        return False

    def _send(self, request: Request) -> None:
        live = self.registry.by_peer(request.peer)
        message = request.message
        if live is None:
            self._answer(request, codes.NOT_FOUND)
            return
        self._uplink(live)
        self.work.heard(live)
        try:
            values = decode(message.content_format, message.payload, ())
        except ContentError as error:
            self._answer(request, codes.BAD_REQUEST, payload=str(error).encode())
            return
        if not all(is_registered(path, live.objects) for path in values):
            self._answer(request, codes.NOT_FOUND)
            return
        said = inventory.partial_report(values)
        self._spawn(self._take_send(request, live.registration.imei, said), request)

    async def _take_send(self, request: Request, imei: int, said: Report) -> None:
        await self._service.report(imei, said)
        self._answer(request, codes.CHANGED)

    def _notified(self, event: Notification) -> None:
        live = self.registry.by_peer(event.observation.peer)
        if live is None or event.message.code != codes.CONTENT:
            return
        self._uplink(live)
        self.work.heard(live)
        path = tuple(int(segment) for segment in event.observation.path[-3:])
        try:
            values = decode(event.message.content_format, event.message.payload, path)
        except ContentError as error:
            _log.info("notification_unreadable", imei=imei_text(live.registration.imei), reason=str(error))
            return
        self._spawn(self._take_report(live.registration.imei, inventory.partial_report(values)))

    async def _take_report(self, imei: int, said: Report) -> None:
        await self._service.report(imei, said)

    # Answers.

    def _committed(self, request: Request, code: int, failure: Exception | None) -> None:
        if failure is None:
            self._answer(request, code)
        else:
            self._failed(request, failure)

    def _failed(self, request: Request, failure: object) -> None:
        if isinstance(failure, DeviceError):
            _log.info("device_refused", peer=request.peer, reason=str(failure))
            self._answer(request, codes.FORBIDDEN)
        else:
            _log.error("device_request_failed", peer=request.peer, error=repr(failure))
            self._answer(request, codes.INTERNAL_SERVER_ERROR)

    def _refuse(self, request: Request, refusal: RegistrationError) -> None:
        _log.info("registration_refused", peer=request.peer, reason=str(refusal))
        self._answer(request, refusal.code, payload=refusal.reason.encode())

    def _postpone(self, request: Request, seconds: float) -> None:
        max_age = (codes.MAX_AGE, encode_uint(math.ceil(seconds)))
        self._answer(request, codes.SERVICE_UNAVAILABLE, (max_age,))

    def _answer(self, request: Request, code: int, options: Options = (), payload: bytes = b"") -> None:
        self._endpoint.respond(request, code, options, payload, now=self._loop.time())
        self._flush()

    # Housekeeping.

    def _uplink(self, live: Live | None) -> None:
        """The device was heard; stored later, since every message of every device is one of these."""
        if live is not None:
            live.touched(self._loop.time())
            self._heard[live.registration.imei] = self._clock.now_ms()

    def _leave(self, gone: Live) -> None:
        """Nothing more goes to where a device was, unless that is another's address by now."""
        if self.registry.by_peer(gone.peer) is None:
            self._forget(gone.peer)

    def secured(self, event: dtls.Event) -> None:
        """Take what became of an association. The newest of an identity is where its device is."""
        if isinstance(event, dtls.Established):
            imei = self._owner(event.association.identity)
            live = None if imei is None else self.registry.by_imei(imei)
            if live is not None and may_speak_for(live.registration, event.association):
                self._move(live, event.association)
        elif isinstance(event, dtls.HandshakeFailed):
            _log.info("handshake_failed", address=event.address, reason=event.reason)

    def associations(self, restored: Iterable[dtls.Association]) -> None:
        """Take up associations that outlived a restart."""
        for association in restored:
            self.secured(dtls.Established(association, resumed=True))

    def _forget(self, peer: Peer) -> None:
        for failure in self._endpoint.forget_peer(peer):
            settle(failure)

    async def _sweep(self) -> None:
        for live in self.registry.expired(self._clock.now_ms()):
            self._leave(live)
            self.work.forget(live.registration.imei)
            self._end(live)
        self.work.expire()

    def _end(self, live: Live) -> None:
        self._service.end_registration(live.registration, _log_failure)

    def _live(self, registration: Registration, peer: Peer) -> Live:
        return Live(
            queue_mode=registration.queue_mode,
            window_seconds=self._limits.awake_seconds,
            registration=registration,
            peer=peer,
            objects=parse_links(registration.links),
            updated_ms=registration.updated_ms,
        )

    def _repeat(self, seconds: float, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def repeat() -> None:
            while True:
                await asyncio.sleep(seconds)
                self._spawn(job())  # by itself: one that fails must not be the last one

        self._spawn(repeat())

    def _spawn(self, work: Coroutine[Any, Any, None], request: Request | None = None) -> None:
        """Run *work*; if it fails, the device that asked for it is told."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._done, request))

    def _done(self, request: Request | None, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if request is not None and not request.answered:
            self._failed(request, error)
        else:
            _log.error("gateway_task_failed", exc_info=error)


def _log_failure(failure: Exception | None) -> None:
    if failure is not None:
        _log.error("registration_not_ended", error=repr(failure))
