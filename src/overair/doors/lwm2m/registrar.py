"""Requests at /rd: Register, Update and De-register (spec lwm2m.md, section 3).

Every answer that promises something goes out after the commit that keeps the promise.
"""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from functools import partial

import structlog

from overair.devices.changes import Move
from overair.devices.model import Admitted, Outcome, Registration, imei_text
from overair.devices.service import DeviceService
from overair.doors.lwm2m.admission import RegisterRate
from overair.doors.lwm2m.answers import Answers
from overair.doors.lwm2m.audience import Audience
from overair.doors.lwm2m.conversation import settle
from overair.doors.lwm2m.registering import (
    check_profile,
    counts_only_if_known,
    device_name,
    registration_of,
    updated,
)
from overair.doors.lwm2m.registry import Live, Registry
from overair.doors.lwm2m.security import HasKey, Owner, address_of, identity_of, may_speak_for
from overair.doors.lwm2m.settling import Settling
from overair.doors.lwm2m.whereabouts import Whereabouts
from overair.doors.lwm2m.work import Work
from overair.platform.clock import Clock
from overair.platform.limits import Limits
from overair.platform.secrets import RandomPool
from overair.protocols.coap import Endpoint, Peer, Request, codes
from overair.protocols.lwm2m import RegistrationError, parse_links, parse_register, parse_update

_log = structlog.get_logger()

# 8 letters: not to be guessed, and short enough for stacks with a small buffer (spec lwm2m.md, 3.3).
LOCATION_BYTES = 6
FULL_WAIT_SECONDS = 60  # what a device is told that finds no room

_LOCATION_RD = (codes.LOCATION_PATH, b"rd")


class Registrar:
    """Lets devices come and go; *owner* tells whose an identity is, *has_key* who must prove one."""

    def __init__(
        self,
        endpoint: Endpoint,
        registry: Registry,
        service: DeviceService,
        clock: Clock,
        limits: Limits,
        owner: Owner,
        has_key: HasKey,
        *,
        answers: Answers,
        work: Work,
        settling: Settling,
        whereabouts: Whereabouts,
    ) -> None:
        self._endpoint = endpoint
        self._registry = registry
        self._service = service
        self._clock = clock
        self._limits = limits
        self._owner = owner
        self._has_key = has_key
        self._answers = answers
        self._work = work
        self._settling = settling
        self._whereabouts = whereabouts
        self.audience: tuple[Audience, ...] = ()
        self._loop = asyncio.get_running_loop()
        self._random = RandomPool()
        self._rate = RegisterRate()

    def register(self, request: Request, queries: Sequence[str], content_format: int | None) -> None:
        """Take a Register."""
        message = request.message
        identity = identity_of(request.peer)
        if not identity:
            host, _ = address_of(request.peer)
            wait_seconds = self._rate.wait_seconds(host, self._loop.time())
            if wait_seconds:
                self._answers.postpone(request, wait_seconds)
                return
        try:
            asked = parse_register(queries, message.payload, content_format)
            name = device_name(asked, identity, self._owner)
            check_profile(asked)
        except RegistrationError as refusal:
            self._answers.refuse(request, refusal)
            return
        location = urlsafe_b64encode(self._random.take(LOCATION_BYTES)).decode()
        now_ms = self._clock.now_ms()
        registration = registration_of(asked, name, request.peer, message.payload, location, now_ms)
        standing = self._registry.by_imei(registration.imei)
        if not identity and self._must_prove(registration.imei, standing):
            # Without a word of why: whether a device has a key is nobody's business.
            _log.info("key_not_used", peer=request.peer, imei=imei_text(registration.imei))
            self._answers.give(request, codes.FORBIDDEN)
            return
        full = len(self._registry) >= self._limits.registrations
        if full and standing is None:
            self._answers.postpone(request, FULL_WAIT_SECONDS)
            return
        done = partial(self._registered, request)
        self._service.register(registration, done, enrol=not counts_only_if_known(name))

    def at_location(
        self, request: Request, location: str, queries: Sequence[str], content_format: int | None
    ) -> None:
        """Take an Update or De-register."""
        live = self._registry.by_location(location)
        if live is None or not may_speak_for(live.registration, request.peer):
            self._answers.give(request, codes.NOT_FOUND)
        elif request.message.code in (codes.POST, codes.PUT):
            self._update(request, live, queries, content_format)
        elif request.message.code == codes.DELETE:
            self._service.end_registration(live.registration, partial(self._deregistered, request, live))
        else:
            self._answers.give(request, codes.METHOD_NOT_ALLOWED)

    def move(self, live: Live, peer: Peer) -> None:
        """The device speaks from *peer*; another one that had this address before has it no more."""
        other = self._registry.by_peer(peer)
        if other is live:
            return
        if other is not None:
            self._forget(peer)
        if self._registry.reaches(live):
            for failure in self._endpoint.move_peer(live.peer, peer):
                settle(failure)
        self._registry.move(live, peer)

    def live(self, registration: Registration, peer: Peer) -> Live:
        """Return what the registry keeps of a registration."""
        return Live(
            queue_mode=registration.queue_mode,
            window_seconds=self._limits.awake_seconds,
            registration=registration,
            peer=peer,
            objects=parse_links(registration.links),
            updated_ms=registration.updated_ms,
        )

    def end(self, live: Live) -> None:
        """End a registration that its device did not end."""
        self._gone(live)
        self._service.end_registration(live.registration, _log_failure)

    def _must_prove(self, imei: int, standing: Live | None) -> bool:
        return (standing is not None and bool(standing.registration.identity)) or self._has_key(imei)

    def _registered(self, request: Request, admitted: Admitted | Exception) -> None:
        if not isinstance(admitted, Admitted):
            self._answers.fail(request, admitted)
            return
        live = self.live(admitted.registration, request.peer)
        live.touched(self._loop.time())
        # The device has forgotten what it was asked to observe, and what it was being asked;
        # so has one that had its address before.
        self._forget(live.peer)
        old = self._registry.put(live)
        if old is not None:
            self._leave(old)
        location = (codes.LOCATION_PATH, admitted.registration.location.encode())
        self._answers.give(request, codes.CREATED, (_LOCATION_RD, location))
        changed = old is not None and old.objects != live.objects
        self._work.registered(live, admitted.inventoried_ms, objects_changed=changed)
        self._settling.registered(live.registration.imei, settled=admitted.settled)
        for each in self.audience:
            each.device_registered(live.registration.imei)

    def _update(
        self, request: Request, live: Live, queries: Sequence[str], content_format: int | None
    ) -> None:
        message = request.message
        now_ms = self._clock.now_ms()
        unmoved = self._registry.by_peer(request.peer) is live
        if unmoved and not queries and not message.payload:
            # Nothing new: by far the most frequent message.
            self._service.touch(live.registration.imei, now_ms, partial(self._touched, request, live, now_ms))
            return
        try:
            said = parse_update(queries, message.payload, content_format)
        except RegistrationError as refusal:
            self._answers.refuse(request, refusal)
            return
        moved = updated(live.registration, said, request.peer, message.payload, now_ms)
        self._service.move(Move(moved, said.sms), partial(self._updated, request, live))

    def _touched(self, request: Request, live: Live, now_ms: int, failure: Exception | None) -> None:
        if failure is not None:
            self._answers.fail(request, failure)
            return
        if not self._is_current(request, live):
            return
        live.updated_ms = now_ms
        live.touched(self._loop.time())
        self._answers.give(request, codes.CHANGED)
        self._listens(live)

    def _updated(self, request: Request, live: Live, outcome: Outcome | Exception) -> None:
        if not isinstance(outcome, Outcome) or outcome.registration is None:
            self._answers.fail(request, outcome)
            return
        if not self._is_current(request, live):
            return
        objects = parse_links(outcome.registration.links)
        changed = objects != live.objects
        live.take(outcome.registration, objects)
        live.touched(self._loop.time())
        self.move(live, request.peer)
        self._registry.expect_expiry(live)
        self._answers.give(request, codes.CHANGED)
        if changed:
            self._work.objects_changed(live)
        self._listens(live)

    def _deregistered(self, request: Request, live: Live, failure: Exception | None) -> None:
        if failure is not None:
            self._answers.fail(request, failure)
            return
        if self._registry.by_location(live.registration.location) is live:
            self._gone(live)
        self._answers.give(request, codes.DELETED)

    def _listens(self, live: Live) -> None:
        self._work.heard(live)
        for each in self.audience:
            each.device_heard(live.registration.imei)

    def _is_current(self, request: Request, live: Live) -> bool:
        """Whether the registration is still there after the commit; if not, the device is told so."""
        if self._registry.by_location(live.registration.location) is live:
            return True
        self._answers.give(request, codes.NOT_FOUND)
        return False

    def _gone(self, live: Live) -> None:
        self._registry.remove(live)
        self._leave(live)
        self._work.forget(live.registration.imei)

    def _leave(self, gone: Live) -> None:
        """Nothing more goes to where a device was, unless that is another's address by now."""
        if self._registry.by_peer(gone.peer) is None:
            self._forget(gone.peer)

    def _forget(self, peer: Peer) -> None:
        for failure in self._endpoint.forget_peer(peer):
            settle(failure)


def _log_failure(failure: Exception | None) -> None:
    if failure is not None:
        _log.error("registration_not_ended", error=repr(failure))
