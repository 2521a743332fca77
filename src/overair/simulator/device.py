"""One simulated LwM2M device, without socket and clock (spec lwm2m.md 3-6).

The driver hands in datagrams of the server and the time, calls `advance` when `next_due` has come, and
after each call sends what is in `outbox`. What the device does when is in `lifecycle`, what it answers in
`operations`.
"""

from __future__ import annotations

import math
import random as random_module
from typing import Final

from msgspec import Struct

from overair.protocols.coap import (
    Endpoint,
    Event,
    Exchange,
    Failure,
    Message,
    ObservationCancelled,
    Peer,
    Request,
    Response,
    codes,
    encode_uint,
)
from overair.protocols.lwm2m.awake import AwakeWindow
from overair.protocols.lwm2m.content import LINK_FORMAT
from overair.protocols.lwm2m.lifetime import update_after_seconds
from overair.protocols.lwm2m.paths import Path, parse_path
from overair.protocols.lwm2m.registration import register_queries, update_queries
from overair.protocols.lwm2m.values import Value
from overair.simulator import operations
from overair.simulator.lifecycle import Cause, Effect, State, next_state
from overair.simulator.operations import Action
from overair.simulator.profile import Identity
from overair.simulator.tree import LIFETIME, tree_of

REBOOT_SECONDS: Final = 2.0
FIRST_WAIT_SECONDS: Final = 5.0
"""After the first Register without answer. Real devices take a minute (/1/x/18); nobody waits for them."""
LONGEST_WAIT_SECONDS: Final = 300.0
MAX_AGE_SECONDS_MAX: Final = 86_400
"""As long as this a server may put a device off."""
OBSERVATIONS_MAX: Final = 16
"""Fewer than the endpoint's queue for one peer, so that a notification always finds room."""

DEAF: Final = (State.OFF, State.REFUSED, State.REBOOTING)
"""Where a device hears nothing and repeats nothing."""

_OBSERVE_NUMBERS: Final = 1 << 24
_ASKING_PATIENCE: Final = (codes.TOO_MANY_REQUESTS,)


class Tally(Struct, gc=False):
    """What a device has done so far; every field only grows."""

    registrations: int = 0
    updates: int = 0
    answered: int = 0
    """Requests of the server."""
    notifications: int = 0
    slept_through: int = 0
    """Datagrams that came while it was asleep, or off."""
    timeouts: int = 0
    handshakes: int = 0
    """DTLS associations, those that took up an older session included."""
    resumed: int = 0


class _Observation(Struct, gc=False):
    path: Path
    accept: int | None
    number: int = 0


class SimulatedDevice:
    """One device, which knows one server. Times are seconds of any clock that only goes forward.

    `refusal` says why the state is REFUSED, or what was wrong with the last attempt while it is WAITING.
    """

    __slots__ = (
        "_announced_lifetime",
        "_awake",
        "_due",
        "_endpoint",
        "_exchange",
        "_failures",
        "_location",
        "_max_age",
        "_observations",
        "_random",
        "_server",
        "_update_wanted",
        "identity",
        "refusal",
        "state",
        "tally",
        "tree",
    )

    def __init__(self, identity: Identity, server: Peer, *, random: random_module.Random) -> None:
        self.identity: Final = identity
        self.tree: Final = tree_of(identity)
        self.tally: Final = Tally()
        self.state = State.OFF
        self.refusal: str | None = None
        profile = identity.profile
        self._server = server
        self._random = random
        self._endpoint = Endpoint(random=random)
        self._awake = AwakeWindow(profile.queue_mode, profile.awake_seconds)
        self._observations: dict[bytes, _Observation] = {}
        self._exchange: Exchange | None = None
        self._location: tuple[str, ...] = ()
        self._announced_lifetime = 0
        self._update_wanted = False
        self._failures = 0
        self._max_age: int | None = None
        self._due: float | None = None

    @property
    def outbox(self) -> list[tuple[bytes, Peer]]:
        """Datagrams to send now, oldest first; the driver sends and clears them."""
        return self._endpoint.outbox

    @property
    def observed(self) -> tuple[Path, ...]:
        """Paths that the server observes."""
        return tuple([observation.path for observation in self._observations.values()])

    def is_asleep(self, now: float) -> bool:
        """Whether a queue-mode device has its radio off; it never has while it expects something."""
        idle = self.state is State.REGISTERED and self._endpoint.next_due() is None
        return idle and not self._awake.is_awake(now)

    # -- what the driver does ----------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Switch on and register. UnexpectedEventError if it is on already."""
        self._change_state(Cause.START, now)

    def stop(self, now: float) -> None:
        """De-register if need be: the state is OFF once that is answered or given up, or at a second call."""
        self._change_state(Cause.STOP, now)

    def reboot(self, now: float, seconds: float = REBOOT_SECONDS) -> None:
        """Be off for a while, forget the registration and what was being observed, register again.

        UnexpectedEventError if it is off or refused.
        """
        self._change_state(Cause.REBOOT, now)
        self._due = now + seconds if self.state is State.REBOOTING else None

    def set_value(self, path: Path, value: Value, now: float) -> None:
        """Change a value of the object tree as the device's own doing, and notify who observes it.

        KeyError if the tree has no such value.
        """
        if self.tree.set(path, value):
            self._notify((path,), now)

    def receive(self, datagram: bytes, now: float) -> None:
        """Take a datagram of the server; one that comes while the radio is off is lost."""
        if self.state in DEAF or self.is_asleep(now):
            self.tally.slept_through += 1
            return
        self._awake.touched(now)
        self._take(datagram, now)

    def advance(self, now: float) -> None:
        """Do what is due: Updates, the next attempt to register, retransmissions."""
        if self.state not in DEAF:
            self._repeat(now)
        if self._due is not None and self._due <= now:
            self._due = None
            self._change_state(Cause.DUE, now)

    def next_due(self) -> float | None:
        """When `advance` must be called next, None if nothing waits."""
        messages = None if self.state in DEAF else self._repeat_due()
        if messages is None or self._due is None:
            return self._due if messages is None else messages
        return min(messages, self._due)

    # -- what lies below, of which `SecureDevice` has more -----------------------------------------

    def _take(self, datagram: bytes, now: float) -> None:
        self._handle(self._endpoint.receive(datagram, self._server, now), now)

    def _repeat(self, now: float) -> None:
        for event in self._endpoint.advance(now):
            self._handle(event, now)

    def _repeat_due(self) -> float | None:
        return self._endpoint.next_due()

    def _hang_up(self) -> None:
        """There is nothing to end: CoAP alone knows no association."""

    # -- registration ------------------------------------------------------------------------------

    def _change_state(self, cause: Cause, now: float) -> None:
        self.state, effect = next_state(self.state, cause)
        _EFFECTS[effect](self, now)

    def _register(self, now: float) -> None:
        identity, profile = self.identity, self.identity.profile
        self._announced_lifetime = self._lifetime
        self._update_wanted = False
        self._observations.clear()
        queries = register_queries(
            identity.endpoint,
            lifetime_seconds=self._announced_lifetime,
            version=profile.version,
            binding=profile.binding,
            queue_mode=profile.queue_mode,
            sms=identity.mdn if "S" in profile.binding else None,
        )
        self._ask(codes.POST, ("rd",), queries, self.tree.shared.links, now)

    def _update(self, now: float) -> None:
        lifetime = self._lifetime
        said = None if lifetime == self._announced_lifetime else lifetime
        self._announced_lifetime = lifetime
        self._update_wanted = False
        self._ask(codes.POST, self._location, update_queries(lifetime_seconds=said), b"", now)

    def _deregister(self, now: float) -> None:
        self._due = None
        self._observations.clear()
        self._ask(codes.DELETE, self._location, (), b"", now)

    def _ask(
        self, code: int, path: tuple[str, ...], queries: tuple[str, ...], payload: bytes, now: float
    ) -> None:
        if self._exchange is not None:
            self._endpoint.cancel(self._exchange)
        options = ((codes.CONTENT_FORMAT, encode_uint(LINK_FORMAT)),) if payload else ()
        self._awake.touched(now)
        self._exchange = self._endpoint.request(
            self._server, code, path=path, queries=queries, options=options, payload=payload, now=now
        )

    def _plan_update(self, now: float) -> None:
        self._failures = 0
        self.refusal = None
        after = 0.0 if self._update_wanted else update_after_seconds(self._announced_lifetime)
        self._due = now + after if math.isfinite(after) else None

    def _back_off(self, now: float) -> None:
        if self._max_age is not None:
            wait = float(min(self._max_age, MAX_AGE_SECONDS_MAX))
        else:
            longest = min(FIRST_WAIT_SECONDS * 2**self._failures, LONGEST_WAIT_SECONDS)
            # Half of it by chance, or a fleet that lost its server would come back all at once.
            wait = longest * (1 + self._random.random()) / 2
        # The power of two stays small, however long the server is away.
        self._failures = min(self._failures + 1, 16)
        self._due = now + wait

    def _shut_down(self, _now: float) -> None:
        self._due = None
        self._exchange = None
        self._location = ()
        self._observations.clear()
        self._hang_up()

    def _power_up(self, now: float) -> None:
        # A new endpoint: message ids, tokens and everything in flight are gone with the power.
        self._shut_down(now)
        self._endpoint = Endpoint(random=self._random)
        self._failures = 0
        self.refusal = None
        self._register(now)

    @property
    def _lifetime(self) -> int:
        value = self.tree.value(LIFETIME)
        return value if isinstance(value, int) else 0

    # -- events ------------------------------------------------------------------------------------

    def _handle(self, event: Event | None, now: float) -> None:
        if isinstance(event, Request):
            self._answer(event, now)
        elif isinstance(event, Response) and event.exchange is self._exchange:
            self._exchange = None
            self._change_state(self._judge(event.message), now)
        elif isinstance(event, Failure) and event.exchange is self._exchange:
            self._exchange = None
            self._max_age = None
            self.tally.timeouts += 1
            self.refusal = f"no answer ({event.reason})"
            self._change_state(Cause.FAILED, now)
        elif isinstance(event, ObservationCancelled):
            self._observations.pop(event.token, None)

    def _judge(self, message: Message) -> Cause:
        """Say what an answer to Register, Update or De-register means."""
        code = message.code
        self._max_age = message.uint_option(codes.MAX_AGE)
        if codes.is_success(code):
            return self._accept(message)
        text = message.payload.decode("utf-8", "replace")[:200]
        self.refusal = f"{codes.code_name(code)}: {text}" if text else codes.code_name(code)
        patient = code >> 5 != 4 or code in _ASKING_PATIENCE
        return Cause.FAILED if patient else Cause.REJECTED

    def _accept(self, message: Message) -> Cause:
        if self.state is State.REGISTERING:
            if not message.location_path:
                self.refusal = f"{codes.code_name(message.code)} without Location-Path"
                return Cause.FAILED
            self._location = message.location_path
            self.tally.registrations += 1
        elif self.state is State.UPDATING:
            self.tally.updates += 1
        return Cause.ACCEPTED

    def _answer(self, request: Request, now: float) -> None:
        message = request.message
        formats = self.identity.profile.formats
        answer = operations.answer(message, self.tree, formats)
        options: tuple[tuple[int, bytes], ...] = ()
        if answer.content_format is not None:
            options = ((codes.CONTENT_FORMAT, encode_uint(answer.content_format)),)
        if answer.code == codes.CONTENT and message.code == codes.GET:
            options += self._observe(message)
        self._endpoint.respond(request, answer.code, options, answer.payload, now=now)
        self.tally.answered += 1
        self._notify(answer.changed, now)
        if answer.action is Action.UPDATE:
            self._want_update(now)
        elif answer.action is Action.REBOOT:
            self.reboot(now)

    def _want_update(self, now: float) -> None:
        """Send an Update now, or after what is under way."""
        self._update_wanted = True
        if self.state is State.REGISTERED:
            self._due = now

    # -- observations ------------------------------------------------------------------------------

    def _observe(self, message: Message) -> tuple[tuple[int, bytes], ...]:
        """Begin or end an observation; returns the option that says which of both came true."""
        if message.observe is None or message.accept == LINK_FORMAT:
            return ()
        self._observations.pop(message.token, None)
        if message.observe != 0 or len(self._observations) >= OBSERVATIONS_MAX:
            return ()
        path = parse_path("/".join(message.uri_path))
        self._observations[message.token] = _Observation(path, message.accept)
        return ((codes.OBSERVE, b""),)

    def _notify(self, changed: tuple[Path, ...], now: float) -> None:
        for token, observation in self._observations.items():
            path = observation.path
            if not any(leaf[: len(path)] == path for leaf in changed):
                continue
            answer = operations.read(path, observation.accept, self.tree, self.identity.profile.formats)
            observation.number = (observation.number + 1) % _OBSERVE_NUMBERS
            options = ((codes.CONTENT_FORMAT, encode_uint(answer.content_format or 0)),)
            self._awake.touched(now)
            self._endpoint.notify(
                self._server, token, observation.number, options=options, payload=answer.payload, now=now
            )
            self.tally.notifications += 1


_EFFECTS: Final = {
    Effect.REGISTER: SimulatedDevice._register,
    Effect.UPDATE: SimulatedDevice._update,
    Effect.DEREGISTER: SimulatedDevice._deregister,
    Effect.PLAN_UPDATE: SimulatedDevice._plan_update,
    Effect.BACK_OFF: SimulatedDevice._back_off,
    Effect.SHUT_DOWN: SimulatedDevice._shut_down,
    Effect.POWER_UP: SimulatedDevice._power_up,
}
