"""A simulated device that speaks CoAP over DTLS (spec lwm2m.md 10; RFC 6347, RFC 9146).

It shakes hands before it registers, and again before the next thing it has to say when the association
ended or the server fell silent: it takes up the session it had, a full handshake follows where there is none.
A server that goes away with a word (close_notify, alert) gets an Update over a new association soon after,
so that it can reach the device again. What a failed handshake means:

    no answer in HANDSHAKE_SECONDS     as with a Register without answer: wait, try again
    refused, or not to be trusted      try once more, in full; the second time running it is meant
"""

from __future__ import annotations

import random as random_module
from collections.abc import Iterable
from typing import Final, NamedTuple

from overair.protocols import coap, dtls
from overair.protocols.coap import Peer
from overair.simulator.device import FIRST_WAIT_SECONDS, SimulatedDevice
from overair.simulator.keys import Psk
from overair.simulator.lifecycle import Cause, State
from overair.simulator.mainboard import DEAF
from overair.simulator.misbehaviour import NONE, Misbehaviour
from overair.simulator.profile import Identity
from overair.simulator.transfer import Fetcher

HANDSHAKE_SECONDS: Final = 93.0
"""As long as CoAP waits for an answer (MAX_TRANSMIT_WAIT, RFC 7252 section 4.8.2)."""
REFUSALS_MEANT: Final = 2
"""One alone may have been caused by a late datagram of the handshake before, or by a stale session."""
PARAMETERS: Final = dtls.DtlsParameters(handshake_seconds=HANDSHAKE_SECONDS)


class _Held(NamedTuple):
    """A request that waits for the handshake."""

    code: int
    path: tuple[str, ...]
    queries: tuple[str, ...]
    payload: bytes


class SecureDevice(SimulatedDevice):
    """One device behind DTLS; for its driver the same as a SimulatedDevice.

    With a Connection ID, as `parameters` have it by default, its address may change without its knowing.
    """

    __slots__ = ("_client", "_distrusted", "_held", "_refusals", "_sealed")

    def __init__(
        self,
        identity: Identity,
        server: Peer,
        psk: Psk,
        *,
        random: random_module.Random,
        parameters: dtls.DtlsParameters = PARAMETERS,
        misbehaviour: Misbehaviour = NONE,
        fetcher: Fetcher | None = None,
        homes: frozenset[tuple[str, int]] = frozenset(),
    ) -> None:
        super().__init__(
            identity, server, random=random, misbehaviour=misbehaviour, fetcher=fetcher, homes=homes
        )
        self._client = dtls.Client(
            identity=psk.identity, key=psk.key, random=random.randbytes, parameters=parameters
        )
        self._sealed: list[tuple[bytes, Peer]] = []
        self._held: _Held | None = None
        """There is one as long as a handshake is in progress."""
        self._distrusted = False
        """Whether the next request needs a new association though there is one: the server fell silent."""
        self._refusals = 0

    @property
    def outbox(self) -> list[tuple[bytes, Peer]]:
        """Records to send now, oldest first; the driver sends and clears them."""
        self._seal()
        return self._sealed

    @property
    def _connected(self) -> bool:
        association = self._client.association
        return association is not None and association.established

    def _seal(self) -> None:
        plain, connected = self._endpoint.outbox, self._connected
        for datagram, peer in plain:
            # Whoever else has a package speaks without security.
            if peer != self._server:
                self._sealed.append((datagram, peer))
            # Without an association it is lost, as on any network; what matters is repeated.
            elif connected:
                self._client.send(datagram)
        plain.clear()
        self._sealed += [(record, self._server) for record in self._client.outbox]
        self._client.outbox.clear()

    # -- what the driver does, below SimulatedDevice -----------------------------------------------

    def _take(self, datagram: bytes, now: float) -> None:
        self._follow(self._client.receive(datagram, now), now)

    def _repeat(self, now: float) -> None:
        self._follow(self._client.advance(now), now)
        if self.state not in DEAF:
            super()._repeat(now)

    def _repeat_due(self) -> float | None:
        times = (super()._repeat_due(), self._client.next_due())
        return min((time for time in times if time is not None), default=None)

    def _hang_up(self) -> None:
        self._held = None
        self._refusals = 0
        self._distrusted = True
        # A reboot is a power cut: nobody says good-bye.
        if self.state in (State.OFF, State.REFUSED):
            self._seal()
            self._client.close()

    def _ask(
        self, code: int, path: tuple[str, ...], queries: tuple[str, ...], payload: bytes, now: float
    ) -> None:
        if self._connected and not self._distrusted:
            super()._ask(code, path, queries, payload, now)
            return
        if self._held is None:
            self._client.resume(now)
        self._held = _Held(code, path, queries, payload)

    @property
    def _is_secure(self) -> bool:
        return True

    def reaches(self, peer: Peer) -> bool:
        """Whether a request may be sent there: to the server, only over an association."""
        return super().reaches(peer) and (peer != self._server or self._connected)

    def _handle(self, event: coap.Event | None, now: float, block: coap.Block | None = None) -> None:
        silent = isinstance(event, coap.Failure) and event.reason is coap.FailureReason.TIMEOUT
        if silent and isinstance(event, coap.Failure) and event.exchange.peer == self._server:
            self._distrusted = True
        super()._handle(event, now, block)

    # -- events of the association -----------------------------------------------------------------

    def _follow(self, events: Iterable[dtls.Event], now: float) -> None:
        for event in events:
            if self.state in DEAF:
                return
            if isinstance(event, dtls.Data):
                super()._take(event.data, now)
            elif isinstance(event, dtls.Established):
                self._begin(event, now)
            elif isinstance(event, dtls.HandshakeFailed):
                self._shake_again(event, now)
            elif isinstance(event, dtls.Closed):
                self._ended(event, now)

    def _begin(self, event: dtls.Established, now: float) -> None:
        self.tally.handshakes += 1
        self.tally.resumed += event.resumed
        self._distrusted = False
        self._refusals = 0
        held, self._held = self._held, None
        if held is not None:
            super()._ask(*held, now)

    def _shake_again(self, event: dtls.HandshakeFailed, now: float) -> None:
        if event.reason is dtls.FailureReason.TIMEOUT:
            self.tally.timeouts += 1
            self._fail(Cause.FAILED, "no answer (DTLS handshake)", now)
            return
        self._refusals += 1
        if self._refusals < REFUSALS_MEANT:
            self._client.start(now)
            return
        self._fail(Cause.REJECTED, f"DTLS handshake: {_why(event)}", now)

    def _ended(self, event: dtls.Closed, now: float) -> None:
        if self._exchange is not None:
            self._endpoint.cancel(self._exchange)
            self._exchange = None
            self._fail(Cause.FAILED, f"DTLS association ended ({event.reason})", now)
        elif self.state is State.REGISTERED:
            # Not at once: the server may be on its way down, and a whole fleet hears of it.
            soon = now + FIRST_WAIT_SECONDS * (1 + self._random.random()) / 2
            self._due = soon if self._due is None else min(self._due, soon)

    def _fail(self, cause: Cause, refusal: str, now: float) -> None:
        self._held = None
        self._max_age = None
        self.refusal = refusal
        self._change_state(cause, now)


def _why(event: dtls.HandshakeFailed) -> str:
    if event.alert is None:
        return str(event.reason)
    known = {alert.value: alert.name.lower() for alert in dtls.codes.Alert}
    return f"alert {known.get(event.alert, event.alert)}"
