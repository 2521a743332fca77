"""One simulated LwM2M device, without socket and clock (spec lwm2m.md 3-6, 8, 9).

The driver hands in datagrams and the time, calls `advance` when `next_due` has come, and after each call
sends what is in `outbox`. What the device does when is in `lifecycle`, what it answers in `operations`, how
it is updated in `upkeep` and what that stands on.
"""

from __future__ import annotations

import math
import random as random_module
from typing import Final

from overair.protocols.coap import (
    Block,
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
from overair.protocols.lwm2m.content import LINK_FORMAT
from overair.protocols.lwm2m.lifetime import update_after_seconds
from overair.protocols.lwm2m.paths import Path
from overair.protocols.lwm2m.registration import register_queries, update_queries
from overair.protocols.lwm2m.values import Value
from overair.simulator.delivery import Delivery
from overair.simulator.lifecycle import Cause, Effect, State, next_state
from overair.simulator.mainboard import DEAF, LIMITS, Mainboard
from overair.simulator.misbehaviour import NONE, Misbehaviour
from overair.simulator.profile import Identity
from overair.simulator.transfer import Fetcher
from overair.simulator.tree import LIFETIME

REBOOT_SECONDS: Final = 2.0
FIRST_WAIT_SECONDS: Final = 5.0
"""After the first Register without answer. Real devices take a minute (/1/x/18); nobody waits for them."""
LONGEST_WAIT_SECONDS: Final = 300.0
MAX_AGE_SECONDS_MAX: Final = 86_400
"""As long as this a server may put a device off."""

_ASKING_PATIENCE: Final = (codes.TOO_MANY_REQUESTS,)


class SimulatedDevice(Mainboard):
    """One device, which knows one server. Times are seconds of any clock that only goes forward.

    It fetches over HTTP by `fetcher`, if there is one. `homes` are the addresses by which a URI means the
    server itself, if they are more than its own. `refusal` says why the state is REFUSED, or what was wrong
    with the last attempt while it is WAITING.
    """

    __slots__ = (
        "_announced_lifetime",
        "_due",
        "_exchange",
        "_failures",
        "_location",
        "_max_age",
        "_update_wanted",
        "refusal",
    )

    def __init__(
        self,
        identity: Identity,
        server: Peer,
        *,
        random: random_module.Random,
        misbehaviour: Misbehaviour = NONE,
        fetcher: Fetcher | None = None,
        homes: frozenset[tuple[str, int]] = frozenset(),
    ) -> None:
        super().__init__(
            identity, server, random=random, misbehaviour=misbehaviour, fetcher=fetcher, homes=homes
        )
        self.refusal: str | None = None
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

    def is_asleep(self, now: float) -> bool:
        """Whether it has its radio off; in queue mode it never has while it expects something."""
        if now < self._dozes_until:
            return True
        idle = self.state is State.REGISTERED and self._endpoint.next_due() is None and not self._upkeep.busy
        return idle and not self._awake.is_awake(now)

    # -- what the driver does ----------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Switch on and register. UnexpectedEventError if it is on already."""
        self._change_state(Cause.START, now)

    def stop(self, now: float) -> None:
        """De-register if need be: the state is OFF once that is answered or given up, or at a second call."""
        self._change_state(Cause.STOP, now)

    def reboot(self, now: float, seconds: float = REBOOT_SECONDS) -> None:
        """Be off for a while, or for ever; forget all but the object tree and the flash, register again.

        UnexpectedEventError if it is off or refused.
        """
        self._change_state(Cause.REBOOT, now)
        comes_back = self.state is State.REBOOTING and math.isfinite(seconds)
        self._due = now + seconds if comes_back else None

    def set_value(self, path: Path, value: Value, now: float) -> None:
        """Change a value of the object tree as the device's own doing, and notify who observes it.

        KeyError if the tree has no such value.
        """
        if self.tree.set(path, value):
            self._changed[path] = None
            self._tell(now)

    def receive(self, datagram: bytes, now: float, source: Peer | None = None) -> None:
        """Take a datagram, of the server if it is not said whose; while the radio is off it is lost."""
        if self.state in DEAF or self.is_asleep(now):
            self.tally.slept_through += 1
            return
        self._awake.touched(now)
        if source is None or source == self._server:
            self._take(datagram, now)
        else:
            self._take_plain(datagram, source, now)
        self._tell(now)

    def advance(self, now: float) -> None:
        """Do what is due: Updates, the next attempt to register, retransmissions, what parts have to do."""
        if self._dozes_until:
            if now < self._dozes_until:
                return
            self._dozes_until = 0.0
            self._want_update(now)
        if self.state not in DEAF:
            self._repeat(now)
        if self._due is not None and self._due <= now:
            self._due = None
            self._change_state(Cause.DUE, now)
        if self.state not in DEAF:
            self._upkeep.advance(now)
            self._tell(now)

    def next_due(self) -> float | None:
        """When `advance` must be called next, None if nothing waits."""
        if self._dozes_until:
            return self._dozes_until
        times = [self._due]
        if self.state not in DEAF:
            times += [self._repeat_due(), self._upkeep.next_due()]
        return min((time for time in times if time is not None), default=None)

    # -- what lies below, of which `SecureDevice` has more -----------------------------------------

    def _take(self, datagram: bytes, now: float) -> None:
        self._take_plain(datagram, self._server, now)

    def _take_plain(self, datagram: bytes, peer: Peer, now: float) -> None:
        if self._ignores(datagram):
            self.tally.slept_through += 1
            return
        event, block = self._take_datagram(datagram, peer, now)
        self._handle(event, now, block)

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
        self._dozes_until = 0.0
        self._observations.clear()
        self._upkeep.power_off()
        self._hang_up()

    def _power_up(self, now: float) -> None:
        # A new endpoint: message ids, tokens and everything in flight are gone with the power.
        self._shut_down(now)
        self._endpoint = Endpoint(random=self._random, limits=LIMITS)
        self._failures = 0
        self.refusal = None
        self._upkeep.boot(now)
        self._register(now)

    @property
    def _lifetime(self) -> int:
        value = self.tree.value(LIFETIME)
        return value if isinstance(value, int) else 0

    # -- events ------------------------------------------------------------------------------------

    def _handle(self, event: Event | None, now: float, block: Block | None = None) -> None:
        if isinstance(event, Request):
            self._answer(event, block, now)
        elif isinstance(event, Response | Failure) and isinstance(event.exchange.context, Delivery):
            self._handle_download(event, event.exchange.context, now)
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
            self._observations.end(event.token)

    def _handle_download(self, event: Response | Failure, delivery: Delivery, now: float) -> None:
        if isinstance(event, Response):
            delivery.answered(event.exchange, event.message, now)
        else:
            self.tally.timeouts += 1
            delivery.failed(event.exchange, now)

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

    def _want_update(self, now: float) -> None:
        """Send an Update now, or after what is under way."""
        self._update_wanted = True
        if self.state is State.REGISTERED:
            self._due = now


_EFFECTS: Final = {
    Effect.REGISTER: SimulatedDevice._register,
    Effect.UPDATE: SimulatedDevice._update,
    Effect.DEREGISTER: SimulatedDevice._deregister,
    Effect.PLAN_UPDATE: SimulatedDevice._plan_update,
    Effect.BACK_OFF: SimulatedDevice._back_off,
    Effect.SHUT_DOWN: SimulatedDevice._shut_down,
    Effect.POWER_UP: SimulatedDevice._power_up,
}
